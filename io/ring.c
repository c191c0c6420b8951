#include "io/ring.h"

#include "io/aio.h"
#include "io/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <unistd.h>

enum { ENTER_TRIES = 1000 };

struct ring_aio {
    struct cm_aio base;
    struct io_uring ring;
    unsigned inflight;
    bool registered; /* the slabs are registered buffers 0 and 1 */
};

/* The value of kernel.io_uring_disabled, or -1 where there is no such setting. */
static int disabled_setting(void)
{
    char c = 0;
    const int fd = open("/proc/sys/kernel/io_uring_disabled", O_RDONLY | O_CLOEXEC);
    const ssize_t n = fd >= 0 ? read(fd, &c, 1) : 0;

    if (fd >= 0)
        (void) close(fd);
    return n == 1 && c >= '0' && c <= '2' ? c - '0' : -1;
}

static cm_err explain(int res, struct cm_error *err)
{
    const int setting = disabled_setting();

    errno = -res;
    if (res == -EPERM && setting > 0)
        CM_FAIL(err, CM_E_IO, "io_uring is switched off (sysctl kernel.io_uring_disabled = %d; 0 allows it)",
                setting);
    if (res == -EPERM)
        CM_FAIL(err, CM_E_IO,
                "io_uring is refused, probably by a seccomp filter (container runtimes do that; allow "
                "io_uring_setup, io_uring_enter, io_uring_register)");
    if (res == -ENOSYS)
        CM_FAIL(err, CM_E_IO, "this kernel has no io_uring (Linux 5.18 or later is needed)");
    if (res == -EMFILE || res == -ENFILE)
        CM_FAIL(err, CM_E_IO, "io_uring needs a descriptor (raise RLIMIT_NOFILE: ulimit -n)");
    CM_FAIL(err, CM_E_IO, "io_uring can't be set up");
}

static cm_err setup(unsigned depth, struct io_uring *ring, struct cm_error *err)
{
    /* SUBMIT_ALL: a bad entry does not stop those behind it. CLAMP: a depth over
     * the kernel's limit is cut. Both since 5.18 at the latest. */
    struct io_uring_params params = { .flags = IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CLAMP };
    const int res = io_uring_queue_init_params(depth, ring, &params);

    if (res < 0)
        return explain(res, err);
    /* Without NODROP a full completion queue would lose results. */
    if ((params.features & IORING_FEAT_NODROP) == 0) {
        io_uring_queue_exit(ring);
        errno = ENOSYS;
        CM_FAIL(err, CM_E_IO, "this kernel's io_uring may drop completions (Linux 5.5 or later does not)");
    }
    return CM_OK;
}

cm_err cm_ring_probe(struct cm_error *err)
{
    struct io_uring ring;

    CM_TRY(setup(8, &ring, err));
    io_uring_queue_exit(&ring);
    return CM_OK;
}

static cm_err ring_open(unsigned depth, const struct cm_span slabs[CM_AIO_SLABS], struct cm_aio **out,
                        struct cm_error *err)
{
    struct ring_aio *a = calloc(1, sizeof *a);
    struct iovec iov[CM_AIO_SLABS];
    cm_err rc = CM_OK;

    if (a == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the writer");
    rc = setup(depth, &a->ring, err);
    if (rc != CM_OK) {
        free(a);
        return rc;
    }
    for (int i = 0; i < CM_AIO_SLABS; i++) {
        /* The interface is const-less; the kernel only reads what it writes out. */
        const union {
            const uint8_t *in;
            void *out;
        } base = { .in = slabs[i].data };
        iov[i] = (struct iovec) { .iov_base = base.out, .iov_len = slabs[i].len };
    }
    /* Registration counts against RLIMIT_MEMLOCK for ordinary users and may be
     * refused; writes from unregistered memory cost a little more, nothing else. */
    a->registered = io_uring_register_buffers(&a->ring, iov, CM_AIO_SLABS) == 0;
    a->base.ops = &cm_aio_uring_ops;
    *out = &a->base;
    return CM_OK;
}

/* Submits what is queued. The kernel may take less at a time, be out of memory
 * for a moment, or be interrupted. */
static cm_err submit(struct ring_aio *a, struct cm_error *err)
{
    for (unsigned tries = 0; io_uring_sq_ready(&a->ring) > 0; tries++) {
        const int res = io_uring_submit(&a->ring);
        if (res >= 0)
            continue;
        if ((res != -EINTR && res != -EAGAIN && res != -EBUSY) || tries >= ENTER_TRIES) {
            errno = -res;
            CM_FAIL(err, CM_E_IO, "io_uring did not take a write");
        }
        if (res != -EINTR)
            (void) usleep(1000);
    }
    return CM_OK;
}

static cm_err queue(struct ring_aio *a, struct cm_aio_req *req, struct cm_error *err)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&a->ring);
    const uint8_t *data = req->data + req->done;
    const unsigned len = (unsigned) (req->len - req->done);

    CM_ASSERT(sqe != NULL); /* every queue call submits, and depth bounds what is lent */
    if (a->registered)
        io_uring_prep_write_fixed(sqe, req->fd, data, len, req->offset + req->done, req->buffer);
    else
        io_uring_prep_write(sqe, req->fd, data, len, req->offset + req->done);
    io_uring_sqe_set_data(sqe, req);
    return submit(a, err);
}

static cm_err ring_write(struct cm_aio *base, struct cm_aio_req *req, struct cm_error *err)
{
    struct ring_aio *a = (struct ring_aio *) base;

    CM_ASSERT(req->len > 0 && req->len <= INT32_MAX);
    req->done = 0;
    req->tries = 0;
    CM_TRY(queue(a, req, err)); /* not taken: not lent, and reap won't wait for it */
    a->inflight++;
    return CM_OK;
}

/* The next completion's request and result; NULL: none. */
static cm_err take(struct ring_aio *a, bool wait, struct cm_aio_req **req, int *res, struct cm_error *err)
{
    struct io_uring_cqe *cqe = NULL;
    int rc = 0;

    do {
        *req = NULL;
        if (cm_sys_unhold(a->inflight, req, res))
            return CM_OK;
        do
            rc = wait ? io_uring_wait_cqe(&a->ring, &cqe) : io_uring_peek_cqe(&a->ring, &cqe);
        while (rc == -EINTR);
        if (rc == -EAGAIN && !wait)
            return CM_OK;
        if (rc < 0 || *a->ring.cq.koverflow != 0) {
            errno = rc < 0 ? -rc : EIO;
            CM_FAIL(err, CM_E_IO, "io_uring lost track of its completions");
        }
        *req = io_uring_cqe_get_data(cqe);
        *res = cqe->res;
        io_uring_cqe_seen(&a->ring, cqe);
    } while (cm_sys_hold(*req, *res));
    return CM_OK;
}

static cm_err ring_reap(struct cm_aio *base, bool wait, struct cm_aio_req **out, struct cm_error *err)
{
    struct ring_aio *a = (struct ring_aio *) base;
    struct cm_aio_req *req = NULL;
    int res = 0;
    cm_err rc = CM_E_END;

    *out = NULL;
    while (rc == CM_E_END && a->inflight > 0) {
        CM_TRY(take(a, wait, &req, &res, err));
        if (req == NULL)
            return CM_OK;
        rc = cm_aio_complete(req, res, err);
        if (rc != CM_E_END)
            break;
        rc = queue(a, req, err); /* the rest of it; a failure ends the request */
        if (rc == CM_OK)
            rc = CM_E_END;
    }
    if (req == NULL)
        return CM_OK;
    a->inflight--;
    *out = req;
    return rc;
}

static const char *ring_how(const struct cm_aio *base)
{
    const struct ring_aio *a = (const struct ring_aio *) base;

    return a->registered ? "io_uring, registered buffers" : "io_uring, unregistered buffers (RLIMIT_MEMLOCK)";
}

static void ring_close(struct cm_aio *base)
{
    struct ring_aio *a = (struct ring_aio *) base;

    if (a == NULL)
        return;
    io_uring_queue_exit(&a->ring);
    free(a);
}

const struct cm_aio_ops cm_aio_uring_ops = { .name = "uring",
                                             .open = ring_open,
                                             .write = ring_write,
                                             .reap = ring_reap,
                                             .how = ring_how,
                                             .close = ring_close };
