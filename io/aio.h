#ifndef CM_IO_AIO_H
#define CM_IO_AIO_H

#include "engine/bytes.h"
#include "engine/err.h"

/* aio.h - writes that may be under way while the caller goes on: over io_uring
 * (ring.c), or by its blocking twin (aio_posix.c), with the same meaning.
 *
 *  Ownership  a request and its buffer are lent until reap gives the request
 *             back; the kernel reads the buffer when it runs the write, not when
 *             it is submitted.
 *  Success    all of len has been taken by the kernel, nothing else. A short
 *             write is completed, EINTR and EAGAIN are tried again, a bounded
 *             number of times; every result goes through cm_aio_complete.
 *  Durability none: that is fdatasync's, after the request came back.
 *  Threads    one thread uses an aio, from open to close.
 */
struct cm_aio_req {
    /* the caller's, constant while lent */
    int fd;
    const char *path; /* for messages; lives as long as the request */
    const uint8_t *data;
    size_t len;
    uint64_t offset;
    int buffer; /* index of the registered slab that data lies in */
    void *owner;
    /* the aio's */
    size_t done;
    unsigned tries;
    struct cm_aio_req *next;
};

enum { CM_AIO_SLABS = 2, CM_AIO_TRIES = 100 };

struct cm_aio;

struct cm_aio_ops {
    const char *name; /* as in --io */
    cm_err (*open)(unsigned depth, const struct cm_span slabs[CM_AIO_SLABS], struct cm_aio **out,
                   struct cm_error *err);
    /* At most depth requests may be lent at a time. */
    cm_err (*write)(struct cm_aio *a, struct cm_aio_req *req, struct cm_error *err);
    /* One finished request in *out; NULL when there is none and `wait` is false
     * or nothing is under way. On an error *out is the request that failed, or
     * NULL when the ring itself did. */
    cm_err (*reap)(struct cm_aio *a, bool wait, struct cm_aio_req **out, struct cm_error *err);
    /* "io_uring, registered buffers": how it works here, for the run's summary. */
    const char *(*how)(const struct cm_aio *a);
    void (*close)(struct cm_aio *a);
};

/* First field of both. */
struct cm_aio {
    const struct cm_aio_ops *ops;
};

enum cm_io_kind { CM_IO_AUTO, CM_IO_URING, CM_IO_POSIX };

extern const struct cm_aio_ops cm_aio_uring_ops, cm_aio_posix_ops;

/* Opens the kind asked for; AUTO takes io_uring where it can be had, and says in
 * `why` (at least 200 octets) why not where it can't. */
CM_MUST_CHECK cm_err cm_aio_open(enum cm_io_kind kind, unsigned depth,
                                 const struct cm_span slabs[CM_AIO_SLABS], struct cm_aio **out, char *why,
                                 size_t why_cap, struct cm_error *err);

/* The one place where the result of a write (octets, or a negative errno) is
 * judged. CM_OK: the request is finished. CM_E_END: submit what is left of it
 * again (done moved). Else it failed. */
CM_MUST_CHECK cm_err cm_aio_complete(struct cm_aio_req *req, int64_t res, struct cm_error *err);

#endif
