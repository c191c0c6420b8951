#ifndef CM_BENCH_CHILD_H
#define CM_BENCH_CHILD_H

#include "engine/err.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

struct json_t;

/* child.h - runs this program once more, or another, and learns what the whole process cost.
 *
 * user and system are the kernel's sum over all threads of the process, the io_uring
 * helpers too, from exec to exit: start-up and the last sync are in it. The child dies
 * with its parent; it gets /dev/null as stdin and the files "out" and "err" in dir_fd
 * as the two others.
 */
struct cm_child {
    int exe_fd; /* of the program: the same one throughout, whatever make does meanwhile; -1: as PATH says */
    int dir_fd; /* its working directory */
    const int *cpus;         /* the only processors that it may use, as with taskset; */
    size_t cpu_count;        /* 0: those that this process may */
    const char *const *argv; /* NULL-terminated; argv[0] is the program */
    volatile sig_atomic_t *stop;
};

struct cm_child_use {
    double user_s, system_s, wall_s;
    long rss_kib; /* peak, but never less than the parent's at the fork: exec hands that on */
};

/* CM_E_CLOSED: *stop was set and the child killed. A child that fails: its own class
 * (by its exit code) and its own words. */
CM_MUST_CHECK cm_err cm_child_run(const struct cm_child *c, struct cm_child_use *use, struct cm_error *err);
/* The JSON object that the child just printed; the caller's reference. */
CM_MUST_CHECK cm_err cm_child_json(const struct cm_child *c, struct json_t **out, struct cm_error *err);

#endif
