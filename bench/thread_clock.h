#ifndef CM_BENCH_THREAD_CLOCK_H
#define CM_BENCH_THREAD_CLOCK_H

#include "engine/err.h"

#include <sched.h>

/* thread_clock.h - what every floor is measured with: the clocks, and one processor. */
double cm_thread_s(void); /* processor seconds of the calling thread */
double cm_clock_s(void);  /* seconds of a clock that nobody sets */

/* Keeps the calling thread on one processor; *before is for unpin. */
CM_MUST_CHECK cm_err cm_thread_pin(int cpu, cpu_set_t *before, struct cm_error *err);
/* Lets it go where it could before; rc is what was done meanwhile: if that failed, that is returned. */
CM_MUST_CHECK cm_err cm_thread_unpin(const cpu_set_t *before, cm_err rc, struct cm_error *err);

#endif
