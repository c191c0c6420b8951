#ifndef CM_CLI_PROGRESS_H
#define CM_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* progress.h - one line on a terminal: done, rate now and on average, time left.
 *
 *     minted 12345 of 20000 (61 %)  18120/s now, 17900/s mean, 34.2 MB, 0:01 left
 *
 * Goes to stderr when that is a terminal and not under --quiet; otherwise every
 * call does nothing. At most one update a second, however often it is called.
 *
 *  Threads  one: the one that calls init.
 */
struct cm_progress {
    bool shown;       /* there is somebody to look */
    bool dirty;       /* a line stands there */
    const char *verb; /* "minted" */
    uint64_t total;   /* 0: unknown */
    uint64_t start_ns, last_ns;
    uint64_t last_done;
};

void cm_progress_init(struct cm_progress *p, bool quiet, const char *verb, uint64_t total);
/* So many done, so many bytes written or read, so far. */
void cm_progress_update(struct cm_progress *p, uint64_t done, uint64_t bytes);
/* Clears the line: before any message, and at the end. */
void cm_progress_clear(struct cm_progress *p);

#endif
