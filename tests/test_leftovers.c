/* Goal: whatever a killed run left is gone afterwards and what is committed is untouched, also when the
 * clearing is itself interrupted at any of its steps and begun again; keys are overwritten on disk before
 * their name goes. Method: directories of both layouts with every kind of leftover, and system calls of the
 * test's own that fail at the n-th and look at each file that is unlinked. */
#include "engine/tarfmt.h"
#include "io/leftovers.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

enum { COMMITTED = 8192, TAIL = 70000, TOP = 512 };

/* --- system calls -------------------------------------------------------- */

static bool watching;
static long calls, fail_at; /* counted from 1; 0: none fails */
static bool dirty;          /* something was written and not made durable */
static unsigned bare;       /* key files that went with octets in them, or before they were durable */

static bool fails(void)
{
    if (!watching || ++calls != fail_at)
        return false;
    errno = EIO;
    return true;
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t at)
{
    if (fails())
        return -1;
    dirty = true;
    return syscall(SYS_pwrite64, fd, buf, len, at);
}

int ftruncate(int fd, off_t len)
{
    return fails() ? -1 : (int) syscall(SYS_ftruncate, fd, len);
}

static int sync_by(long number, int fd)
{
    if (fails())
        return -1;
    dirty = false;
    return (int) syscall(number, fd);
}

int fsync(int fd)
{
    return sync_by(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_by(SYS_fdatasync, fd);
}

int syncfs(int fd)
{
    return sync_by(SYS_syncfs, fd);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
    return fails() ? -1 : (int) syscall(SYS_renameat2, from_fd, from, to_fd, to, flags);
}

static bool holds_octets(int dirfd, const char *name)
{
    static char buf[TAIL + COMMITTED + 4096];
    const int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW);
    const ssize_t n = fd >= 0 ? read(fd, buf, sizeof buf) : 0;
    bool found = false;

    for (ssize_t i = 0; i < n; i++)
        found |= buf[i] != 0;
    if (fd >= 0)
        (void) close(fd);
    return found;
}

int unlinkat(int dirfd, const char *name, int flags)
{
    char link[64], dir[256] = "";

    if (fails())
        return -1;
    (void) snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
    (void) !readlink(link, dir, sizeof dir - 1);
    if (watching && flags == 0 && strstr(dir, "/keys") != NULL)
        bare += holds_octets(dirfd, name) || dirty;
    return (int) syscall(SYS_unlinkat, dirfd, name, flags);
}

/* --- a directory that a kill left ----------------------------------------- */

struct rig {
    struct t_place place;
    struct cm_unit unit[2];
    struct cm_journal_state state;
    struct cm_leftovers_conf conf;
    json_t *names;
};

static void put_file(const struct rig *g, const char *name, size_t len)
{
    static char text[TAIL + COMMITTED];
    const int fd = openat(g->place.dir.fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    for (size_t i = 0; i < len; i++)
        text[i] = (char) ('a' + i % 23);
    cr_assert(fd >= 0 && write(fd, text, len) == (ssize_t) len, "%s", name);
    (void) close(fd);
}

static void put_dir(const struct rig *g, const char *name)
{
    cr_assert_eq(mkdirat(g->place.dir.fd, name, 0700), 0, "%s", name);
}

/* -1: not there. */
static long size_of(const struct rig *g, const char *name)
{
    struct stat st;

    return fstatat(g->place.dir.fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (long) st.st_size : -1;
}

/* Its first octets are as they were put, those behind them zero. */
static void expect_file(const struct rig *g, const char *name, size_t committed, size_t whole)
{
    static char text[2 * (TAIL + COMMITTED)];
    const int fd = openat(g->place.dir.fd, name, O_RDONLY);
    const ssize_t n = fd >= 0 ? read(fd, text, sizeof text) : -1;

    cr_assert_eq(n, (ssize_t) whole, "%s: %zd octets", name, n);
    for (size_t i = 0; i < whole; i++)
        cr_assert_eq(text[i], i < committed ? (char) ('a' + i % 23) : 0, "%s at %zu", name, i);
    (void) close(fd);
}

static void put_top(const struct rig *g)
{
    static const char *const parts[] = { "run.json.part", "ca.pem.part", "index.part" };

    for (size_t i = 0; i < CM_COUNT(parts); i++)
        put_file(g, parts[i], 10);
    put_file(g, "journal", TOP + 100);
    put_file(g, "manifest.ndjson", TOP + 3000);
    put_file(g, "burned.ndjson", TOP + 7);
}

static void open_rig(struct rig *g, bool tree)
{
    *g = (struct rig) { .unit = { { .number = 0, .chain_len = COMMITTED, .key_len = COMMITTED } } };
    t_place_open(&g->place);
    g->state = (struct cm_journal_state) {
        .at = { .length = TOP, .burned_bytes = TOP }, .manifest_bytes = TOP, .unit = g->unit, .units = 1
    };
    g->conf = (struct cm_leftovers_conf) {
        .dir = &g->place.dir, .journal = &g->state, .tree = tree, .durable = true
    };
    g->names = json_array();
    put_top(g);
}

/* Segment 0 has a committed beginning, 1 has nothing committed. */
static void put_tar(struct rig *g)
{
    put_file(g, "chains/000000.tar.part", COMMITTED + TAIL);
    put_file(g, "keys/000000.tar.part", COMMITTED + TAIL);
    put_file(g, "chains/000001.tar.part", TAIL);
    put_file(g, "keys/000001.tar.part", TAIL);
    put_file(g, "keys/note", 5); /* not ours */
}

/* Shard 0 is committed, 1 has its names and is not, 2 is in work. */
static void put_tree(struct rig *g)
{
    static const char *const dirs[] = { "chains/000000", "keys/000000",        "chains/000001",
                                        "keys/000001",   "chains/000002.part", "keys/000002.part" };
    char name[64];

    for (size_t i = 0; i < CM_COUNT(dirs); i++) {
        put_dir(g, dirs[i]);
        for (int n = 0; n < 3; n++) {
            (void) snprintf(name, sizeof name, "%s/SN%d.%s", dirs[i], n, dirs[i][0] == 'k' ? "key" : "crt");
            put_file(g, name, 500);
        }
    }
    put_dir(g, "keys/note");
    cr_assert_eq(symlinkat("../000000/SN0.key", g->place.dir.keys_fd, "000002.part/SN9.key"), 0);
}

static cm_err clear(struct rig *g, struct cm_error *err)
{
    watching = true;
    const cm_err rc = cm_leftovers_clear(&g->conf, g->names, err);
    watching = false;
    return rc;
}

static void close_rig(struct rig *g)
{
    cr_expect_eq(bare, 0, "%u key files went with their octets", bare);
    json_decref(g->names);
    t_place_close(&g->place);
}

static void expect_top(const struct rig *g)
{
    cr_expect(size_of(g, "run.json.part") < 0 && size_of(g, "ca.pem.part") < 0 &&
              size_of(g, "index.part") < 0);
    expect_file(g, "journal", TOP, TOP);
    expect_file(g, "manifest.ndjson", TOP, TOP);
    expect_file(g, "burned.ndjson", TOP, TOP);
}

static void expect_tar(const struct rig *g)
{
    expect_top(g);
    for (int side = 0; side < 2; side++) {
        char name[64];
        (void) snprintf(name, sizeof name, "%s/000000.tar", side == 0 ? "chains" : "keys");
        expect_file(g, name, COMMITTED, COMMITTED + CM_TAR_END);
    }
    cr_expect(size_of(g, "chains/000000.tar.part") < 0 && size_of(g, "keys/000000.tar.part") < 0);
    cr_expect(size_of(g, "chains/000001.tar.part") < 0 && size_of(g, "keys/000001.tar.part") < 0);
    cr_expect_eq(size_of(g, "keys/note"), 5);
}

static void expect_tree(const struct rig *g)
{
    expect_top(g);
    for (int n = 0; n < 3; n++) {
        char name[64];
        (void) snprintf(name, sizeof name, "chains/000000/SN%d.crt", n);
        expect_file(g, name, 500, 500);
        (void) snprintf(name, sizeof name, "keys/000000/SN%d.key", n);
        expect_file(g, name, 500, 500);
    }
    cr_expect(size_of(g, "chains/000001") < 0 && size_of(g, "keys/000001") < 0);
    cr_expect(size_of(g, "chains/000002.part") < 0 && size_of(g, "keys/000002.part") < 0);
    cr_expect(size_of(g, "keys/note") >= 0);
}

/* Interrupted at the n-th call for each n, then begun again, until nothing is interrupted any more. */
static void interrupt_everywhere(bool tree)
{
    long n = 1;

    for (bool through = false; !through; n++) {
        struct rig g;
        struct cm_error err = { 0 };
        open_rig(&g, tree);
        (tree ? put_tree : put_tar)(&g);
        calls = 0;
        dirty = false;
        fail_at = n;
        through = clear(&g, &err) == CM_OK;
        cr_expect(through || err.code == CM_E_IO, "call %ld: %s", n, err.what);
        cr_expect(through || err.os == EIO, "call %ld: %s", n, err.what);
        fail_at = 0;
        cr_assert_eq(clear(&g, &err), CM_OK, "after call %ld: %s", n, err.what);
        (tree ? expect_tree : expect_tar)(&g);
        const size_t told = json_array_size(g.names);
        cr_assert_eq(clear(&g, &err), CM_OK, "%s", err.what);
        cr_expect_eq(json_array_size(g.names), told, "a third time there is nothing to do");
        cr_expect_geq(told, 9u);
        close_rig(&g);
    }
    printf("%ld calls were interrupted\n", n - 2);
    cr_expect_gt(n, 20);
}

Test(leftovers, tar)
{
    interrupt_everywhere(false);
}

Test(leftovers, tree)
{
    interrupt_everywhere(true);
}

/* What is not left over but lost is refused, and nothing else happens. */
static void expect_refusal(struct rig *g, const char *says)
{
    struct cm_error err = { 0 };

    cr_expect(clear(g, &err) == CM_E_INPUT && err.code == CM_E_INPUT, "%s", err.what);
    cr_expect_not_null(strstr(err.what, says), "%s", err.what);
    close_rig(g);
}

static void expect_top_refused(const char *name, long len, const char *says)
{
    struct rig g;

    open_rig(&g, false);
    if (len < 0)
        cr_assert_eq(syscall(SYS_unlinkat, g.place.dir.fd, name, 0), 0);
    else
        put_file(&g, name, (size_t) len);
    expect_refusal(&g, says);
}

Test(leftovers, what_is_lost)
{
    struct rig g;

    expect_top_refused("manifest.ndjson", -1, "is gone");
    expect_top_refused("manifest.ndjson", TOP - 1, "it was cut");
    expect_top_refused("burned.ndjson", -1, "is gone");
    expect_top_refused("burned.ndjson", TOP - 1, "it was cut");
    open_rig(&g, false);
    put_file(&g, "chains/000000.tar", COMMITTED + 4096);
    expect_refusal(&g, "is missing");
    open_rig(&g, false);
    put_file(&g, "keys/000000.tar.part", COMMITTED - 1);
    expect_refusal(&g, "it was cut");
    open_rig(&g, false);
    put_file(&g, "keys/000000.tar", COMMITTED + 4096);
    put_file(&g, "keys/000007.tar", TAIL);
    expect_refusal(&g, "knows nothing");
    open_rig(&g, true);
    put_dir(&g, "keys/000000.part");
    put_file(&g, "keys/000000.part/SN0.key", 300);
    expect_refusal(&g, "under its final name");
    open_rig(&g, false);
    put_dir(&g, "keys/000001.tar.part");
    watching = true;
    cr_expect_neq(cm_leftovers_clear(&g.conf, g.names, NULL), CM_OK, "a directory in a segment's place");
    watching = false;
    close_rig(&g);
}

/* Killed before the first commit; without syncs. */
Test(leftovers, nothing_is_committed)
{
    struct rig g;
    struct cm_error err = { 0 };

    open_rig(&g, false);
    g.state.units = 0;
    g.state.manifest_bytes = g.state.at.burned_bytes = 0;
    g.conf.durable = false;
    put_file(&g, "keys/000000.tar.part", TAIL);
    put_file(&g, "keys/000001.tar.parts", 3);
    put_file(&g, "keys/99999999999999999999.tar.part", 3);
    put_file(&g, "keys/00001.tar.part", 3);
    put_file(&g, "keys/00004294967296.tar.part", 3);
    put_file(&g, "keys/+00001.tar.part", 3);
    watching = false; /* unsynced is right here */
    cr_assert_eq(cm_leftovers_clear(&g.conf, g.names, &err), CM_OK, "%s", err.what);
    cr_expect(size_of(&g, "manifest.ndjson") < 0 && size_of(&g, "keys/000000.tar.part") < 0);
    cr_expect(size_of(&g, "keys/000001.tar.parts") == 3 && size_of(&g, "keys/00001.tar.part") == 3);
    cr_expect(size_of(&g, "keys/00004294967296.tar.part") == 3 && size_of(&g, "keys/+00001.tar.part") == 3);
    cr_assert_eq(syscall(SYS_unlinkat, g.place.dir.fd, "burned.ndjson", 0), 0);
    cr_assert_eq(cm_leftovers_clear(&g.conf, g.names, &err), CM_OK, "%s", err.what);
    close_rig(&g);
}

/* Keys that were purged are not missed; the chains of their devices are, and keys behind them. */
Test(leftovers, keys_that_were_purged)
{
    struct rig g;
    struct cm_error err = { 0 };

    open_rig(&g, false);
    g.unit[1] = (struct cm_unit) { .number = 5, .chain_len = COMMITTED, .key_len = COMMITTED };
    g.state.units = 2;
    g.state.purged_before = 5;
    put_file(&g, "chains/000000.tar", COMMITTED + 4096);
    put_file(&g, "chains/000005.tar", COMMITTED + 4096);
    put_file(&g, "keys/000003.tar.part", TAIL); /* between two that are committed */
    put_file(&g, "keys/000005.tar", COMMITTED + 4096);
    cr_assert_eq(clear(&g, &err), CM_OK, "%s", err.what);
    cr_expect(size_of(&g, "keys/000003.tar.part") < 0 && size_of(&g, "keys/000005.tar") > 0);
    cr_assert_eq(syscall(SYS_unlinkat, g.place.dir.keys_fd, "000005.tar", 0), 0);
    cr_expect(clear(&g, &err) == CM_E_INPUT &&
              strstr(err.what, "keys/000005.tar, which is committed,") != NULL);
    put_file(&g, "keys/000005.tar", COMMITTED + 4096);
    cr_assert_eq(syscall(SYS_unlinkat, g.place.dir.chains_fd, "000000.tar", 0), 0);
    expect_refusal(&g, "chains/000000.tar, which is committed, is missing");
}

/* Every prefix whose fate nobody knows, and no other, becomes a line; the call may be repeated. */
Test(leftovers, burned_prefixes)
{
    struct rig g;
    struct cm_error err = { 0 };
    struct cm_journal_prefix prefix[10] = { 0 };
    struct cm_journal *j = NULL;
    char text[4096] = "";

    open_rig(&g, false);
    const struct cm_journal_conf conf = { .dir = &g.place.dir, .run_id = "run", .durable = true };
    g.state.prefix = prefix;
    g.state.prefixes = 10;
    g.state.settled = 3;
    for (int i = 0; i < 10; i++) {
        memset(prefix[i].octets, i, CM_SERIAL_PREFIX);
        prefix[i].at_most = (uint32_t) i + 100;
    }
    cr_assert(cm_ranges_add(&g.state.used, 4, 5, NULL) == CM_OK &&
              cm_ranges_add(&g.state.unused, 8, 8, NULL) == CM_OK);
    for (int again = 0; again < 2; again++) {
        cr_assert_eq(cm_journal_continue(&conf, &g.state.at, &g.state.again, &j, &err), CM_OK, "%s",
                     err.what);
        cr_assert_eq(cm_leftovers_burn(j, &g.state, &err), CM_OK, "%s", err.what);
        cm_journal_close(j);
    }
    const int fd = openat(g.place.dir.fd, "burned.ndjson", O_RDONLY);
    cr_assert(pread(fd, text, sizeof text - 1, TOP) > 0);
    (void) close(fd);
    static const int want[] = { 3, 6, 7, 9 };
    char *save = NULL, *line = strtok_r(text, "\n", &save);
    for (size_t i = 0; i < CM_COUNT(want); i++, line = strtok_r(NULL, "\n", &save)) {
        char number[80];
        cr_assert_not_null(line);
        (void) snprintf(number, sizeof number,
                        "\"prefix\":\"%016llx\",\"number\":%d,\"signed\":null,\"at_most\":%d,",
                        0x0101010101010101ull * (unsigned) want[i], want[i], want[i] + 100);
        cr_expect_not_null(strstr(line, number), "%s", line);
    }
    cr_expect_null(line);
    cm_ranges_close(&g.state.used);
    cm_ranges_close(&g.state.unused);
    close_rig(&g);
}

/* Pages of a file that the page cache holds. */
static size_t cached_pages(const struct rig *g, const char *name)
{
    unsigned char resident[64] = { 0 };
    const int fd = openat(g->place.dir.fd, name, O_RDONLY);
    const long len = size_of(g, name);
    void *const at = mmap(NULL, (size_t) len, PROT_READ, MAP_SHARED, fd, 0);
    size_t n = 0;

    cr_assert(at != MAP_FAILED && mincore(at, (size_t) len, resident) == 0);
    for (size_t i = 0; i < sizeof resident; i++)
        n += resident[i] & 1;
    (void) munmap(at, (size_t) len);
    (void) close(fd);
    return n;
}

Test(leftovers, what_is_read_comes_from_the_disk)
{
    static const char *const file[] = { "journal", "manifest.ndjson", "burned.ndjson" };
    struct rig g;
    struct cm_error err = { 0 };
    struct statfs fs;

    open_rig(&g, false);
    cr_assert_eq(fstatfs(g.place.dir.fd, &fs), 0);
    for (size_t i = 0; i < CM_COUNT(file); i++)
        cr_expect_gt(cached_pages(&g, file[i]), 0, "%s", file[i]);
    cr_assert_eq(cm_leftovers_sync(&g.place.dir, &err), CM_OK);
    /* Where the page cache is all there is, as on tmpfs, it stays. */
    for (size_t i = 0; i < CM_COUNT(file) && fs.f_type == EXT4_SUPER_MAGIC; i++)
        cr_expect_eq(cached_pages(&g, file[i]), 0, "%s", file[i]);
    close_rig(&g);
}

Test(leftovers, what_is_made_durable_first)
{
    struct rig g;
    struct cm_error err = { 0 };
    long n = 1;

    open_rig(&g, false);
    watching = true;
    for (;; n++) {
        calls = 0;
        fail_at = n;
        if (cm_leftovers_sync(&g.place.dir, &err) == CM_OK)
            break;
        cr_expect_eq(err.os, EIO);
    }
    cr_expect_eq(n, 7, "journal, manifest, burned, chains, keys, and the directory");
    fail_at = 0;
    cr_assert_eq(syscall(SYS_unlinkat, g.place.dir.fd, "burned.ndjson", 0), 0);
    cr_expect_eq(cm_leftovers_sync(&g.place.dir, &err), CM_OK, "what is not there needs none");
    cr_assert_eq(symlinkat("journal", g.place.dir.fd, "burned.ndjson"), 0);
    cr_expect_eq(cm_leftovers_sync(&g.place.dir, &err), CM_E_IO);
    watching = false;
    close_rig(&g);
}
