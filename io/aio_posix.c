#include "io/aio.h"
#include "io/sys.h"

#include <errno.h>
#include <unistd.h>

/* The blocking twin: a write is done when write returns, and reap hands it back. */
struct posix_aio {
    struct cm_aio base;
    struct cm_aio_req *head, *tail; /* finished, in order */
};

static cm_err posix_open(unsigned depth, const struct cm_span slabs[CM_AIO_SLABS], struct cm_aio **out,
                         struct cm_error *err)
{
    struct posix_aio *a = calloc(1, sizeof *a);

    (void) depth;
    (void) slabs;
    if (a == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the writer");
    a->base.ops = &cm_aio_posix_ops;
    *out = &a->base;
    return CM_OK;
}

static cm_err posix_write(struct cm_aio *base, struct cm_aio_req *req, struct cm_error *err)
{
    struct posix_aio *a = (struct posix_aio *) base;
    cm_err rc = CM_E_END;

    req->done = 0;
    req->tries = 0;
    req->next = NULL;
    while (rc == CM_E_END) {
        const ssize_t n = cm_sys_pwrite(req->fd, req->data + req->done, req->len - req->done,
                                        (off_t) (req->offset + req->done));
        rc = cm_aio_complete(req, n < 0 ? -errno : n, err);
    }
    CM_TRY(rc);
    if (a->tail != NULL)
        a->tail->next = req;
    else
        a->head = req;
    a->tail = req;
    return CM_OK;
}

static cm_err posix_reap(struct cm_aio *base, bool wait, struct cm_aio_req **out, struct cm_error *err)
{
    struct posix_aio *a = (struct posix_aio *) base;

    (void) wait;
    (void) err;
    *out = a->head;
    if (a->head != NULL) {
        a->head = a->head->next;
        if (a->head == NULL)
            a->tail = NULL;
    }
    return CM_OK;
}

static const char *posix_how(const struct cm_aio *a)
{
    (void) a;
    return "blocking writes";
}

static void posix_close(struct cm_aio *a)
{
    free(a);
}

const struct cm_aio_ops cm_aio_posix_ops = { .name = "posix",
                                             .open = posix_open,
                                             .write = posix_write,
                                             .reap = posix_reap,
                                             .how = posix_how,
                                             .close = posix_close };
