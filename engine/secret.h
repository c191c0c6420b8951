#ifndef CM_ENGINE_SECRET_H
#define CM_ENGINE_SECRET_H

#include "engine/err.h"

#include <stddef.h>
#include <stdint.h>

/* secret.h - the only home of private-key bytes.
 *
 * A `struct cm_secret` is a fixed-size region: mapped once between two guard
 * pages, locked in memory, kept out of core dumps, zeroed in forked children,
 * never grown (growing would leave a copy behind).
 *
 *  Ownership  the creator's; pointers into it are borrowed until done.
 *  Threads    no locking inside: parts of it have one owner at a time, and a
 *             hand-over goes through cm_queue, which is the memory barrier.
 *  Units      every length is in bytes; base is page-aligned, cap a multiple
 *             of the page size.
 *  Errors     CM_E_NOMEM when it can't be mapped; CM_E_LIMIT when it can't be
 *             locked (RLIMIT_MEMLOCK), and then nothing is left mapped.
 *             cm_secret_done accepts a zeroed struct.
 */
struct cm_secret {
    uint8_t *base;
    size_t cap;
};

CM_MUST_CHECK cm_err cm_secret_init(struct cm_secret *s, size_t cap, struct cm_error *err);
void cm_secret_done(struct cm_secret *s);    /* wipes and unmaps */
void cm_secret_wipe(void *data, size_t len); /* zeroes, and the compiler may not drop it */
/* Octets that all regions of the process have locked now. */
size_t cm_secret_locked(void);
/* How many regions could not be locked so far; who asked may have done without. */
uint32_t cm_secret_refused(void);

#endif
