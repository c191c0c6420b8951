#ifndef CM_IO_RING_H
#define CM_IO_RING_H

#include "engine/err.h"

/* ring.h - io_uring: whether it can be had. The writer uses it through aio.h;
 * ring.c is the only file that knows liburing. */

/* CM_OK, or an error that says why not (sysctl, seccomp, an old kernel) and what
 * would change that. */
CM_MUST_CHECK cm_err cm_ring_probe(struct cm_error *err);

#endif
