#include "io/aio.h"

#include "io/file.h"
#include "io/sys.h"

#include <errno.h>

cm_err cm_aio_complete(struct cm_aio_req *req, int64_t res, struct cm_error *err)
{
    const size_t left = req->len - req->done;

    res = cm_sys_result(req, res);
    CM_ASSERT(res <= (int64_t) left);
    if (res == -EINTR || res == -EAGAIN) {
        if (++req->tries <= CM_AIO_TRIES)
            return CM_E_END;
    }
    if (res == 0) /* no progress and no reason: a full device */
        res = -ENOSPC;
    if (res < 0) {
        res = -cm_write_errno((int) -res, req->offset + req->len);
        errno = (int) -res;
        CM_FAIL(err, CM_E_IO, "can't write %zu octets at %llu of %s%s", left,
                (unsigned long long) (req->offset + req->done), req->path,
                res == -ENOSPC   ? " (the disk is full: free space)"
                : res == -EDQUOT ? " (the disk quota is used up)"
                : res == -EFBIG  ? " (raise RLIMIT_FSIZE: ulimit -f)"
                                 : "");
    }
    req->done += (size_t) res;
    return req->done == req->len ? CM_OK : CM_E_END;
}

cm_err cm_aio_open(enum cm_io_kind kind, unsigned depth, const struct cm_span slabs[CM_AIO_SLABS],
                   struct cm_aio **out, char *why, size_t why_cap, struct cm_error *err)
{
    struct cm_error ring_err = { 0 };
    cm_err rc = CM_OK;

    why[0] = '\0';
    if (kind == CM_IO_POSIX)
        return cm_aio_posix_ops.open(depth, slabs, out, err);
    rc = cm_aio_uring_ops.open(depth, slabs, out, &ring_err);
    if (rc == CM_OK)
        return CM_OK;
    if (kind == CM_IO_URING) {
        if (err != NULL)
            *err = ring_err;
        return rc;
    }
    (void) snprintf(why, why_cap, "%s", ring_err.what);
    return cm_aio_posix_ops.open(depth, slabs, out, err);
}
