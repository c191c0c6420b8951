#include "bench/thread_clock.h"

#include <time.h>

static double clock_s(clockid_t id)
{
    struct timespec t = { 0 };

    (void) clock_gettime(id, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

double cm_thread_s(void)
{
    return clock_s(CLOCK_THREAD_CPUTIME_ID);
}

double cm_clock_s(void)
{
    return clock_s(CLOCK_MONOTONIC);
}

cm_err cm_thread_pin(int cpu, cpu_set_t *before, struct cm_error *err)
{
    cpu_set_t one;

    CPU_ZERO(&one);
    CPU_SET((size_t) cpu, &one);
    if (sched_getaffinity(0, sizeof *before, before) != 0 || sched_setaffinity(0, sizeof one, &one) != 0)
        CM_FAIL(err, CM_E_IO, "can't stay on processor %d to measure libcrypto there", cpu);
    return CM_OK;
}

cm_err cm_thread_unpin(const cpu_set_t *before, cm_err rc, struct cm_error *err)
{
    if (sched_setaffinity(0, sizeof *before, before) != 0 && rc == CM_OK)
        CM_FAIL(err, CM_E_IO, "can't leave the processor again that libcrypto was measured on");
    return rc;
}
