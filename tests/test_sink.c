/* Goal: the contract of engine/sink.h, for every bundle sink: what was put is on disk at the place that was
 * told, bit for bit; names are .part until a sync covers them; after a failure every batch comes back and
 * only what was synced is left, under final names. Method: a table of ways (sink and kind of aio), each
 * driven as the pipeline does, with copies of all images to compare with; a limit on the size of files and a
 * tiny file system stand for the disk that fails. */
#include "io/sinks.h"
#include "tests/t_sinkrig.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct t_rig rig;

/* BEGIN: for each way that can be had, with segments of so many octets. */
#define EACH_WAY(segment_bytes)                                                                              \
    for (size_t way_ = 0; way_ < t_ways_count; way_++)                                                       \
        if (t_rig_open(&rig, &t_ways[way_], (segment_bytes)))

static void sync_ok(void)
{
    struct cm_error err = { 0 };

    cr_assert_eq(rig.sink->ops->sync(rig.sink, &err), CM_OK, "%s: %s", rig.way->name, err.what);
    if (rig.sink->ops->settle != NULL)
        cr_assert_eq(rig.sink->ops->settle(rig.sink, &err), CM_OK, "%s: %s", rig.way->name, err.what);
}

static void finish_ok(void)
{
    struct cm_error err = { 0 };

    cr_assert_eq(rig.sink->ops->finish(rig.sink, &err), CM_OK, "%s: %s", rig.way->name, err.what);
}

static void expect_names(unsigned unfinished, unsigned finished, const char *when)
{
    unsigned part = 0, whole = 0;

    t_rig_names(&rig, &part, &whole);
    cr_expect(part == unfinished && whole == finished, "%s, %s: %u unfinished (%u), %u finished (%u)",
              rig.way->name, when, part, unfinished, whole, finished);
}

/* A segment's octets behind its batches: zeros, to the end of the file. */
static void expect_end(const char *side, uint32_t unit, uint64_t from)
{
    uint8_t end[8192];
    char path[300];

    (void) snprintf(path, sizeof path, "%s/%s/%06u.tar", rig.place.out, side, unit);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    cr_assert_geq(fd, 0, "%s", path);
    cr_expect_eq(pread(fd, end, sizeof end, (off_t) from), 4096, "%s", path);
    for (size_t i = 0; i < 4096; i++)
        cr_assert_eq(end[i], 0, "%s", path);
    struct stat st;
    cr_assert_eq(fstat(fd, &st), 0);
    cr_expect_eq(st.st_mode & 07777, side[0] == 'k' ? 0600u : 0644u);
    (void) close(fd);
}

static void expect_only_synced(uint32_t synced, const char *why)
{
    finish_ok();
    t_rig_expect(&rig, 0, synced, why);
    unsigned part = 0, whole = 0;
    t_rig_names(&rig, &part, &whole);
    cr_expect_eq(part, 0, "%s, %s: %u unfinished", rig.way->name, why, part);
    const bool tree = rig.way->layout == CM_LAYOUT_TREE;
    const unsigned units = synced == 0 ? 0 : tree ? synced / 2 : rig.copy[synced - 1].unit + 1;
    cr_expect_eq(whole, 2 * units, "%s, %s: %u names for %u synced batches", rig.way->name, why, whole,
                 synced);
    if (!tree && synced > 0) { /* nothing behind what was synced */
        const struct t_copy *last = &rig.copy[synced - 1];
        expect_end("chains", last->unit, last->chain_base + last->chain_len);
        expect_end("keys", last->unit, last->key_base + last->keys_len);
    }
}

Test(sink, what_was_put_is_there, .timeout = 60)
{
    EACH_WAY(0)
    {
        const bool tree = rig.way->layout == CM_LAYOUT_TREE;
        expect_names(tree ? 0 : 2, 0, "opened");
        t_rig_commit(&rig, 3);
        expect_names(2, 0, "put and cut");
        sync_ok();
        expect_names(tree ? 0 : 2, tree ? 2 : 0, "synced");
        t_rig_commit(&rig, 1);
        sync_ok();
        finish_ok();
        expect_names(0, tree ? 4 : 2, "finished");
        t_rig_expect(&rig, 0, rig.put, rig.way->name);
        if (!tree) {
            const struct t_copy *last = &rig.copy[rig.put - 1];
            expect_end("chains", 0, last->chain_base + last->chain_len);
            expect_end("keys", 0, last->key_base + last->keys_len);
        }
        t_rig_close(&rig);
    }
}

/* A segment takes as many batches as fit; one that is larger than the bound alone gets a segment of its own.
 */
Test(sink, segments_roll_at_their_bound, .timeout = 60)
{
    static const uint64_t bounds[] = { 4096, 40 << 10, 60 << 10 };

    for (size_t n = 0; n < CM_COUNT(bounds); n++)
        EACH_WAY(bounds[n])
        {
            for (int i = 0; i < 6; i++) {
                t_rig_commit(&rig, 2);
                sync_ok();
            }
            finish_ok();
            t_rig_expect(&rig, 0, rig.put, rig.way->name);
            uint64_t at = 0;
            for (uint32_t i = 0; i < rig.put && rig.way->layout == CM_LAYOUT_TAR; i++) {
                const struct t_copy *c = &rig.copy[i], *last = i > 0 ? &rig.copy[i - 1] : NULL;
                const bool fits = last != NULL && at + c->chain_len <= bounds[n];
                at = fits ? at : 0;
                cr_expect_eq(c->unit, last == NULL ? 0 : last->unit + !fits, "%u", i);
                cr_expect_eq(c->chain_base, at, "%u", i);
                cr_expect(last == NULL || c->key_base == (fits ? last->key_base + last->keys_len : 0), "%u",
                          i);
                at += c->chain_len;
            }
            if (rig.way->layout == CM_LAYOUT_TAR) {
                expect_names(0, 2 * (rig.copy[rig.put - 1].unit + 1), "finished");
                cr_expect_gt(rig.copy[rig.put - 1].unit, 0, "the bound was not met");
            }
            t_rig_close(&rig);
        }
}

/* Commits are synced oldest first, while the writer goes on with the next. */
Test(sink, a_sync_covers_the_oldest_commit, .timeout = 60)
{
    EACH_WAY(1) /* a segment for each batch */
    {
        const bool tree = rig.way->layout == CM_LAYOUT_TREE;
        t_rig_commit(&rig, 2);
        t_rig_commit(&rig, 2);
        t_rig_commit(&rig, 2);
        sync_ok();
        /* Tar: the first commit's last segment may get more; only the one before it is full. */
        expect_names(tree ? 4 : 10, 2, "one of three synced");
        t_rig_expect(&rig, 0, tree ? 2 : 1, rig.way->name);
        sync_ok();
        expect_names(tree ? 2 : 6, tree ? 4 : 6, "two of three synced");
        finish_ok();
        expect_names(0, tree ? 4 : 8, "finished: the third was never synced");
        t_rig_expect(&rig, 0, 4, rig.way->name);
        t_rig_close(&rig);
    }
}

Test(sink, finish_takes_back_what_no_sync_covered, .timeout = 60)
{
    static const uint64_t bounds[] = { 1 << 20, 1 };

    for (size_t n = 0; n < CM_COUNT(bounds); n++)
        EACH_WAY(bounds[n])
        {
            struct cm_error err = { 0 };
            t_rig_commit(&rig, 2);
            sync_ok();
            const uint32_t synced = rig.put;
            t_rig_commit(&rig, 1);                                      /* cut, not synced */
            cr_assert_eq(t_rig_put(&rig, &err), CM_OK, "%s", err.what); /* not even cut */
            cr_assert_eq(t_rig_reap(&rig, &err), CM_OK, "%s", err.what);
            finish_ok();
            t_rig_expect(&rig, 0, synced, rig.way->name);
            expect_names(0, bounds[n] == 1 && rig.way->layout == CM_LAYOUT_TAR ? 4 : 2, "finished");
            uint64_t expected = 0;
            for (uint32_t i = 0; i < synced; i++)
                for (uint32_t d = 0; rig.way->layout == CM_LAYOUT_TREE && d < rig.copy[i].count; d++)
                    expected += rig.copy[i].rec[d].chain_len + rig.copy[i].rec[d].key_len;
            for (uint32_t i = 0; i < synced && rig.way->layout == CM_LAYOUT_TAR; i++)
                expected += rig.copy[i].chain_len + rig.copy[i].keys_len;
            if (rig.way->layout == CM_LAYOUT_TAR)
                expected += 2 * 4096 * (rig.copy[synced - 1].unit + 1);
            cr_expect_eq(t_rig_octets(&rig), expected, "%s: %llu octets, %llu expected", rig.way->name,
                         (unsigned long long) t_rig_octets(&rig), (unsigned long long) expected);
            t_rig_close(&rig);
        }
}

/* The writer is ahead: the sync of a commit must not cover what was put behind it in the same segment. */
Test(sink, a_sync_covers_no_more_than_its_commit, .timeout = 60)
{
    EACH_WAY(0)
    {
        struct cm_error err = { 0 };
        t_rig_commit(&rig, 2);
        cr_assert_eq(t_rig_put(&rig, &err), CM_OK, "%s", err.what);
        cr_assert_eq(t_rig_reap(&rig, &err), CM_OK, "%s", err.what);
        sync_ok();
        expect_only_synced(2, "ahead");
        t_rig_close(&rig);
    }
}

Test(sink, nothing_put_leaves_nothing)
{
    EACH_WAY(0)
    {
        finish_ok();
        expect_names(0, 0, "finished empty");
        t_rig_close(&rig);
    }
}

/* As after a crash: nothing that was not synced may look complete. */
Test(sink, closed_without_finish, .timeout = 60)
{
    EACH_WAY(0)
    {
        struct cm_error err = { 0 };
        t_rig_commit(&rig, 1);
        cr_assert_eq(t_rig_put(&rig, &err), CM_OK, "%s", err.what);
        cr_assert_eq(t_rig_reap(&rig, &err), CM_OK, "%s", err.what);
        rig.sink->ops->close(rig.sink);
        rig.sink = NULL;
        expect_names(rig.way->layout == CM_LAYOUT_TREE ? 4 : 2, 0, "closed");
        t_rig_close(&rig);
    }
}

/* ---- disks that fail ---- */

/* Puts commits, each synced, until something fails; how many batches had been synced. */
static uint32_t put_until_it_fails(struct cm_error *err)
{
    cm_err rc = CM_OK;

    for (uint32_t synced = 0; rig.put + 2 < T_PUT_MAX; synced = rig.put) {
        for (int i = 0; rc == CM_OK && i < 2; i++)
            rc = t_rig_put(&rig, err);
        const cm_err reaped = t_rig_reap(&rig, rc == CM_OK ? err : NULL);
        rc = rc == CM_OK ? reaped : rc;
        if (rc == CM_OK)
            rc = rig.sink->ops->cut(rig.sink, err);
        if (rc == CM_OK)
            rc = rig.sink->ops->sync(rig.sink, err);
        if (rc == CM_OK && rig.sink->ops->settle != NULL)
            rc = rig.sink->ops->settle(rig.sink, err);
        if (rc != CM_OK)
            return synced;
    }
    cr_assert_fail("%s: nothing failed", rig.way->name);
    return 0;
}

/* Files may grow to so much and no further: in the first batch, in a later one, in the middle of a write. */
Test(sink, a_limit_on_the_size_of_files, .timeout = 120)
{
    static const rlim_t limits[] = { 2048, 8192, 10000, 50000, 90000, 131072 };

    (void) signal(SIGXFSZ, SIG_IGN);
    for (size_t n = 0; n < CM_COUNT(limits); n++)
        EACH_WAY(0)
        {
            struct cm_error err = { 0 };
            struct rlimit old;
            if (rig.way->layout == CM_LAYOUT_TREE && limits[n] > 2048) { /* its files are small */
                t_rig_close(&rig);
                continue;
            }
            cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
            const rlim_t limit = rig.way->layout == CM_LAYOUT_TREE ? 512 : limits[n];
            cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit) { limit, old.rlim_max }), 0);
            const uint32_t synced = put_until_it_fails(&err);
            cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
            cr_expect(err.code == CM_E_IO && err.os == EFBIG, "%s: %s", rig.way->name, err.what);
            cr_expect_not_null(strstr(err.what, "ulimit -f"), "%s", err.what);
            cr_expect(synced == 0 || limit >= 50000, "%u synced under a limit of %llu", synced,
                      (unsigned long long) limit);
            expect_only_synced(synced, "limited");
            t_rig_close(&rig);
        }
}

/* A file system of a few hundred KiB, where this process may mount one. */
static bool mount_tiny(const char *at, const char *size)
{
    if (mkdir(at, 0755) != 0 || unshare(CLONE_NEWNS) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 || mount("tmpfs", at, "tmpfs", 0, size) != 0) {
        const int os = errno;
        (void) rmdir(at);
        cr_log_warn("NOT TESTED: a tiny file system can't be mounted here: %s", strerror(os));
        return false;
    }
    return true;
}

Test(sink, a_full_disk, .timeout = 120)
{
    static const char *const sizes[] = { "size=64k", "size=300k", "size=500k" };
    char at[64];

    (void) snprintf(at, sizeof at, "/tmp/certmill-full-%d", (int) getpid());
    for (size_t n = 0; n < CM_COUNT(sizes); n++) {
        if (!mount_tiny(at, sizes[n]))
            return;
        cr_assert_eq(setenv("TMPDIR", at, 1), 0);
        EACH_WAY(0)
        {
            struct cm_error err = { 0 };
            const uint32_t synced = put_until_it_fails(&err);
            cr_expect(err.code == CM_E_IO && err.os == ENOSPC, "%s: %s", rig.way->name, err.what);
            cr_expect_not_null(strstr(err.what, "free space"), "%s", err.what);
            cr_expect(synced > 0 || n == 0, "%s, %s: nothing fitted", rig.way->name, sizes[n]);
            expect_only_synced(synced, sizes[n]);
            t_rig_close(&rig);
        }
        cr_assert_eq(umount(at), 0);
        cr_assert_eq(rmdir(at), 0);
    }
}

/* ---- the sinks that write nothing, and the table ---- */

Test(sink, the_null_sink_takes_everything)
{
    static const struct t_way none = { "nothing", "none", CM_LAYOUT_NONE, CM_IO_POSIX };

    cr_assert(t_rig_open(&rig, &none, 0));
    t_rig_commit(&rig, 3);
    sync_ok();
    finish_ok();
    cr_expect_eq(rig.pending, 0);
    cr_expect_eq(t_rig_octets(&rig), 0);
    t_rig_close(&rig);
}

Test(sink, the_table_is_whole)
{
    unsigned bundles = 0;

    for (size_t i = 0; i < cm_sink_count(); i++) {
        const struct cm_sink_ops *ops = cm_sink_at(i);
        bool driven = false;
        cr_expect_eq(cm_sink_find(ops->name), ops);
        cr_expect(ops->open != NULL && ops->put != NULL && ops->reap != NULL && ops->cut != NULL &&
                      ops->sync != NULL && ops->finish != NULL && ops->close != NULL,
                  "%s", ops->name);
        cr_expect_neq((ops->caps & CM_SINK_BUNDLE) != 0, (ops->caps & CM_SINK_MANIFEST) != 0, "%s",
                      ops->name);
        for (size_t w = 0; w < t_ways_count; w++)
            driven |= strcmp(t_ways[w].sink, ops->name) == 0;
        cr_expect(driven || (ops->caps & CM_SINK_MANIFEST) != 0 || strcmp(ops->name, "none") == 0,
                  "%s: add it to t_ways, so that the contract is tested for it", ops->name);
        bundles += (ops->caps & CM_SINK_BUNDLE) != 0;
    }
    cr_expect_geq(bundles, 3);
    cr_expect_null(cm_sink_at(cm_sink_count()));
    cr_expect_null(cm_sink_find("zip"));
}
