/* Goal: a request that comes back finished has all its octets in the file, whatever the kernel did in
 * between; one that failed says why. Method: cm_aio_complete is given every kind of result; both kinds of aio
 * write real files, in disorder, and fail against a limit on the size of files. */
#include "io/aio.h"
#include "io/ring.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- judging results ---- */

static struct cm_aio_req request(void)
{
    return (struct cm_aio_req) { .path = "keys/000007.tar.part", .len = 4096, .offset = 8192 };
}

Test(aio, a_whole_write_is_finished)
{
    struct cm_aio_req r = request();

    cr_expect_eq(cm_aio_complete(&r, 4096, NULL), CM_OK);
    cr_expect_eq(r.done, 4096);
}

Test(aio, a_short_write_goes_on_where_it_stopped)
{
    struct cm_aio_req r = request();

    cr_expect_eq(cm_aio_complete(&r, 1, NULL), CM_E_END);
    cr_expect_eq(r.done, 1);
    cr_expect_eq(cm_aio_complete(&r, 4094, NULL), CM_E_END);
    cr_expect_eq(r.done, 4095);
    cr_expect_eq(cm_aio_complete(&r, 1, NULL), CM_OK);
    cr_expect_eq(r.done, 4096);
}

Test(aio, interruptions_are_tried_again_a_bounded_number_of_times)
{
    static const int transient[] = { EINTR, EAGAIN };

    for (size_t i = 0; i < CM_COUNT(transient); i++) {
        struct cm_aio_req r = request();
        struct cm_error err = { 0 };
        cr_expect_eq(cm_aio_complete(&r, 1000, NULL), CM_E_END);
        for (int n = 0; n < CM_AIO_TRIES; n++)
            cr_assert_eq(cm_aio_complete(&r, -transient[i], &err), CM_E_END, "try %d", n);
        cr_expect_eq(r.done, 1000, "nothing moved");
        cr_expect_eq(cm_aio_complete(&r, -transient[i], &err), CM_E_IO, "for ever");
        cr_expect_eq(err.os, transient[i]);
    }
}

Test(aio, failures_name_file_place_and_remedy)
{
    static const struct {
        int res, os;
        const char *words;
    } cases[] = {
        { 0, ENOSPC, "the disk is full: free space" },
        { -ENOSPC, ENOSPC, "the disk is full: free space" },
        { -EDQUOT, EDQUOT, "the disk quota is used up" },
        { -EFBIG, EFBIG, "ulimit -f" },
        { -EIO, EIO, "3096 octets at 9192 of keys/000007.tar.part: Input/output error" },
        { -EBADF, EBADF, "Bad file descriptor" },
        { -EINVAL, EINVAL, "Invalid argument" },
    };

    for (size_t i = 0; i < CM_COUNT(cases); i++) {
        struct cm_aio_req r = request();
        struct cm_error err = { 0 };
        cr_assert_eq(cm_aio_complete(&r, 1000, NULL), CM_E_END);
        cr_expect_eq(cm_aio_complete(&r, cases[i].res, &err), CM_E_IO);
        cr_expect_eq(err.os, cases[i].os);
        cr_expect_eq(r.done, 1000);
        cr_expect(strstr(err.what, "3096 octets at 9192 of keys/000007.tar.part") != NULL &&
                      strstr(err.what, cases[i].words) != NULL,
                  "%s", err.what);
        cr_expect((cases[i].os == EIO) <= (strchr(err.what, '(') == NULL), "no advice where there is none");
    }
}

/* ---- both kinds on files ---- */

enum { DEPTH = 16, SLAB = 1 << 20, FILE_LEN = 3 << 20 };

struct rig {
    struct cm_aio *a;
    uint8_t *slab[2];
    int fd;
    char path[32], why[200];
};

static const enum cm_io_kind kinds[] = { CM_IO_URING, CM_IO_POSIX };

/* false: this kernel has no io_uring, which is said. */
static bool rig_open(struct rig *g, enum cm_io_kind kind)
{
    struct cm_error err = { 0 };

    *g = (struct rig) { .path = "/tmp/certmill-aio-XXXXXX" };
    for (int i = 0; i < 2; i++)
        cr_assert_not_null(g->slab[i] = aligned_alloc(4096, SLAB));
    const struct cm_span slabs[2] = { cm_span(g->slab[0], SLAB), cm_span(g->slab[1], SLAB) };
    const cm_err rc = cm_aio_open(kind, DEPTH, slabs, &g->a, g->why, sizeof g->why, &err);
    if (rc != CM_OK) {
        cr_log_warn("NOT TESTED, io_uring can't be had: %s", err.what);
        cr_assert_neq(kind, CM_IO_POSIX);
        free(g->slab[0]);
        free(g->slab[1]);
        return false;
    }
    g->fd = mkstemp(g->path);
    cr_assert_geq(g->fd, 0);
    return true;
}

static void rig_close(struct rig *g)
{
    g->a->ops->close(g->a);
    (void) close(g->fd);
    (void) unlink(g->path);
    free(g->slab[0]);
    free(g->slab[1]);
}

static struct cm_aio_req piece(const struct rig *g, int buffer, size_t at, size_t len, uint64_t offset)
{
    return (struct cm_aio_req) { .fd = g->fd,
                                 .path = g->path,
                                 .data = g->slab[buffer] + at,
                                 .len = len,
                                 .offset = offset,
                                 .buffer = buffer };
}

static void write_and_compare(struct rig *g, uint64_t *random)
{
    static uint8_t expected[FILE_LEN], found[FILE_LEN];
    struct cm_aio_req req[DEPTH];
    struct cm_aio_req *free_req[DEPTH], *done = NULL;
    size_t free_count = DEPTH, lent = 0, came = 0;
    uint64_t at = 0;

    for (size_t i = 0; i < SLAB; i++) {
        g->slab[0][i] = (uint8_t) (i * 7 + i / 255);
        g->slab[1][i] = (uint8_t) (i * 13 + i / 251 + 1);
    }
    for (size_t i = 0; i < DEPTH; i++)
        free_req[i] = &req[i];
    while (at < FILE_LEN || lent > came) {
        if (at < FILE_LEN && free_count > 0) {
            const size_t most = FILE_LEN - at < 150000 ? FILE_LEN - at : 150000;
            const size_t len = 1 + (size_t) t_random(random, most),
                         from = (size_t) t_random(random, SLAB - len);
            const int buffer = (int) t_random(random, 2);
            struct cm_aio_req *r = free_req[--free_count];
            *r = piece(g, buffer, from, len, at);
            r->owner = r;
            memcpy(expected + at, g->slab[buffer] + from, len);
            cr_assert_eq(g->a->ops->write(g->a, r, NULL), CM_OK);
            at += len;
            lent++;
        }
        cr_assert_eq(g->a->ops->reap(g->a, free_count == 0 || at == FILE_LEN, &done, NULL), CM_OK);
        if (done != NULL) {
            cr_assert(done->owner == done && done->done == done->len);
            done->owner = NULL; /* given back twice would show */
            free_req[free_count++] = done;
            came++;
        }
    }
    cr_expect_eq(g->a->ops->reap(g->a, true, &done, NULL), CM_OK, "nothing is under way: it must not wait");
    cr_expect_null(done);
    cr_assert_eq(pread(g->fd, found, FILE_LEN, 0), FILE_LEN);
    cr_expect(memcmp(expected, found, FILE_LEN) == 0, "other octets are in the file");
    cr_expect_eq(lseek(g->fd, 0, SEEK_END), FILE_LEN);
}

Test(aio, every_octet_reaches_its_place, .timeout = 60)
{
    uint64_t random = t_seed();
    struct rig g;

    for (size_t k = 0; k < CM_COUNT(kinds); k++) {
        if (!rig_open(&g, kinds[k]))
            continue;
        cr_expect_not_null(strstr(g.a->ops->how(g.a), kinds[k] == CM_IO_POSIX ? "blocking" : "io_uring"));
        cr_expect_str_eq(g.why, "");
        write_and_compare(&g, &random);
        rig_close(&g);
    }
}

/* The limit cuts the first write short; the rest of it is refused, and the same request comes back as failed.
 */
Test(aio, a_limit_in_the_middle_of_a_write_is_told, .timeout = 60)
{
    struct rig g;

    (void) signal(SIGXFSZ, SIG_IGN);
    for (size_t k = 0; k < CM_COUNT(kinds); k++) {
        struct cm_aio_req r, *done = NULL;
        struct cm_error err = { 0 };
        struct rlimit old;
        if (!rig_open(&g, kinds[k]))
            continue;
        cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit) { 10000, old.rlim_max }), 0);
        r = piece(&g, 0, 0, 65536, 4096);
        cm_err rc = g.a->ops->write(g.a, &r, &err);
        if (rc == CM_OK) {
            rc = g.a->ops->reap(g.a, true, &done, &err);
            cr_expect_eq(done, &r);
        }
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
        cr_expect_eq(rc, CM_E_IO);
        cr_expect_eq(err.os, EFBIG);
        cr_expect_not_null(strstr(err.what, "ulimit -f"), "%s", err.what);
        cr_expect_eq(r.done, 10000 - 4096);
        /* And the next request is served. */
        r = piece(&g, 1, 0, 4096, 0);
        cr_expect_eq(g.a->ops->write(g.a, &r, &err), CM_OK);
        cr_expect_eq(g.a->ops->reap(g.a, true, &done, &err), CM_OK);
        cr_expect_eq(done, &r);
        rig_close(&g);
    }
}

Test(aio, a_bad_descriptor_is_told)
{
    struct rig g;

    for (size_t k = 0; k < CM_COUNT(kinds); k++) {
        struct cm_aio_req r, *done = NULL;
        struct cm_error err = { 0 };
        if (!rig_open(&g, kinds[k]))
            continue;
        r = piece(&g, 0, 0, 4096, 0);
        r.fd = open("/dev/null", O_RDONLY);
        cm_err rc = g.a->ops->write(g.a, &r, &err);
        if (rc == CM_OK)
            rc = g.a->ops->reap(g.a, true, &done, &err);
        cr_expect(rc == CM_E_IO && err.os == EBADF, "%s", err.what);
        (void) close(r.fd);
        rig_close(&g);
    }
}

/* ---- choosing ---- */

Test(aio, without_a_ring_auto_falls_back_and_says_why)
{
    static uint8_t memory[2][4096];
    const struct cm_span slabs[2] = { cm_span(memory[0], 4096), cm_span(memory[1], 4096) };
    struct cm_aio *a = NULL;
    struct cm_error err = { 0 };
    struct rlimit old;
    char why[200] = "";

    /* No descriptor is left for a ring. */
    const int next = dup(0);
    cr_assert_geq(next, 0);
    (void) close(next);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &(struct rlimit) { (rlim_t) next, old.rlim_max }), 0);
    struct cm_error probe_err = { 0 };
    const cm_err probe = cm_ring_probe(&probe_err);
    const cm_err uring = cm_aio_open(CM_IO_URING, 4, slabs, &a, why, sizeof why, &err);
    const cm_err automatic = cm_aio_open(CM_IO_AUTO, 4, slabs, &a, why, sizeof why, NULL);
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
    cr_expect_eq(probe, CM_E_IO);
    cr_expect_str_eq(probe_err.what, err.what, "what the probe says is what a run would say");
    cr_expect_eq(uring, CM_E_IO);
    cr_expect_not_null(strstr(err.what, "io_uring"), "%s", err.what);
    cr_assert_eq(automatic, CM_OK);
    cr_expect_eq(a->ops, &cm_aio_posix_ops);
    cr_expect_not_null(strstr(why, "io_uring"), "%s", why);
    a->ops->close(a);
}
