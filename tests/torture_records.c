/* Goal: whichever allocation, random number, hash or system call fails while a run is put on record or
 * cleared up, the call says so, leaks nothing (a sanitizer tells), and what is on disk then reads back as
 * commits that were made, and no others. Method: one course through serials, journal, reader and leftovers;
 * the n-th of all such calls fails, for each n, by the linker's --wrap; then everything works and the
 * directory is read and cleared. */
#include "engine/serials.h"
#include "io/leftovers.h"
#include "tests/t_plant.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static bool armed;
static long calls, fail_at;

static bool fails(void)
{
    if (!armed || ++calls != fail_at)
        return false;
    errno = EIO;
    return true;
}

static long syncs;

/* __real_X is X, and X in the program under test is __wrap_X. */
#define WRAP(type, name, params, args, failure)                                                              \
    type __real_##name params;                                                                               \
    type __wrap_##name params;                                                                               \
    type __wrap_##name params                                                                                \
    {                                                                                                        \
        return fails() ? (failure) : __real_##name args;                                                     \
    }

#define SYNC(name)                                                                                           \
    int __real_##name(int fd);                                                                               \
    int __wrap_##name(int fd);                                                                               \
    int __wrap_##name(int fd)                                                                                \
    {                                                                                                        \
        syncs++;                                                                                             \
        return fails() ? -1 : __real_##name(fd);                                                             \
    }

WRAP(void *, malloc, (size_t n), (n), NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), NULL)
WRAP(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size), NULL)
WRAP(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at), -1)
WRAP(ssize_t, pread, (int fd, void *p, size_t n, off_t at), (fd, p, n, at), -1)
WRAP(int, ftruncate, (int fd, off_t n), (fd, n), -1)
SYNC(fsync)
SYNC(fdatasync)
SYNC(syncfs)
WRAP(int, fstat, (int fd, struct stat *st), (fd, st), -1)
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), -1)
WRAP(int, unlinkat, (int fd, const char *name, int flags), (fd, name, flags), -1)
WRAP(int, renameat2, (int a, const char *from, int b, const char *to, unsigned f), (a, from, b, to, f), -1)
WRAP(DIR *, fdopendir, (int fd), (fd), NULL)
WRAP(int, RAND_bytes, (unsigned char *p, int n), (p, n), 0)
WRAP(int, EVP_DigestUpdate, (EVP_MD_CTX * c, const void *p, size_t n), (c, p, n), 0)
WRAP(int, EVP_DigestFinal_ex, (EVP_MD_CTX * c, unsigned char *p, unsigned *n), (c, p, n), 0)

static void *json_alloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

struct course {
    struct t_place place;
    struct cm_places places;
    struct cm_journal *j;
    struct cm_serials *s;
    uint64_t commits; /* that succeeded */
    bool doubt;       /* of one nobody knows */
    bool tree, durable;
};

static cm_err put_leftovers(const struct course *c)
{
    static const char text[3000] = "octets of a key";
    const char *const names[] = { c->tree ? "keys/000002.part/x.key" : "keys/000002.tar.part",
                                  c->tree ? "chains/000002.part/x.crt" : "chains/000002.tar.part" };

    if (c->tree && (mkdirat(c->place.dir.fd, "keys/000002.part", 0700) != 0 ||
                    mkdirat(c->place.dir.fd, "chains/000002.part", 0700) != 0))
        return CM_E_IO;
    for (size_t i = 0; i < CM_COUNT(names); i++) {
        const int fd = openat(c->place.dir.fd, names[i], O_WRONLY | O_CREAT, 0600);
        CM_ASSERT(fd >= 0 && write(fd, text, sizeof text) == (ssize_t) sizeof text);
        (void) close(fd);
    }
    return CM_OK;
}

/* The n-th device under the prefix that a batch took. */
static cm_err commit_one(struct course *c, uint64_t n, struct cm_error *err)
{
    struct cm_recorder *const r = cm_journal_recorder(c->j);
    struct cm_commit commit = { .devices = 1 };
    struct cm_prefixes more = { 0 };
    struct cm_batch b = { 0 };
    cm_err rc = cm_serials_take(c->s, &b, err);

    if (rc == CM_OK)
        cm_serials_signed(c->s, &b, 1);
    c->places.manifest_bytes = n * 4096;
    if (rc == CM_OK)
        rc = cm_ranges_add(&commit.seqs, n, n, err);
    if (rc == CM_OK)
        rc = cm_ranges_add(&commit.prefixes, b.prefix_number, b.prefix_number, err);
    if (rc == CM_OK)
        rc = cm_serials_draw(c->s, &more, err);
    if (rc == CM_OK) {
        rc = r->ops->commit(r, &commit, &more, err);
        c->doubt = rc != CM_OK && r->ops->retract(r, NULL) != CM_OK;
    }
    if (rc == CM_OK) {
        c->commits++;
        cm_serials_commit(c->s, &commit.prefixes);
        cm_serials_admit(c->s);
    }
    cm_ranges_close(&commit.seqs);
    cm_ranges_close(&commit.prefixes);
    return rc;
}

static cm_err run_attempt(struct course *c, struct cm_error *err)
{
    struct cm_recorder *const r = cm_journal_recorder(c->j);
    struct cm_attempt_end end = { .failed = true };
    struct cm_prefixes first = { 0 };
    struct cm_batch lost = { 0 };

    CM_TRY(cm_journal_attempt(c->j, "mint", NULL, err));
    CM_TRY(cm_serials_draw(c->s, &first, err));
    CM_TRY(r->ops->reserve(r, &first, err));
    cm_serials_admit(c->s);
    for (uint64_t n = 1; n <= 3; n++)
        CM_TRY(commit_one(c, n, err));
    CM_TRY(cm_serials_take(c->s, &lost, err));
    cm_serials_signed(c->s, &lost, 1); /* to be burned */
    cm_err rc = cm_serials_end(c->s, &end, err);
    if (rc == CM_OK)
        rc = r->ops->end(r, &end, err);
    cm_serials_end_done(&end);
    return rc;
}

static cm_err write_all(struct course *c, struct cm_error *err)
{
    const struct cm_serials_conf stock = { .stock = 3, .batches = 2, .at_most = 5 };
    const struct cm_journal_conf conf = {
        .dir = &c->place.dir, .run_id = "run", .places = &c->places, .requested = 9, .durable = c->durable
    };
    json_t *run = json_pack("{s:i}", "version", 1);
    cm_err rc = run != NULL ? cm_serials_open(&stock, &c->s, err) : CM_E_NOMEM;

    if (rc == CM_OK)
        rc = cm_journal_create(&conf, run, &c->j, err);
    json_decref(run);
    if (rc == CM_OK)
        rc = run_attempt(c, err);
    cm_journal_close(c->j);
    cm_serials_close(c->s);
    c->j = NULL;
    c->s = NULL;
    return rc;
}

/* As a resume does. CM_E_END: nothing is on record. */
static cm_err clear_up(struct course *c, uint64_t *commits, struct cm_error *err)
{
    struct cm_journal_state s = { 0 };
    const struct cm_leftovers_conf left = {
        .dir = &c->place.dir, .journal = &s, .tree = c->tree, .durable = c->durable
    };
    const struct cm_journal_conf conf = { .dir = &c->place.dir, .run_id = "run", .durable = c->durable };
    json_t *names = json_array();
    cm_err rc = names != NULL ? cm_leftovers_sync(&c->place.dir, err) : CM_E_NOMEM;

    syncs = 0; /* that is done in any case */
    if (rc == CM_OK)
        rc = cm_journal_read(c->place.dir.fd, c->place.out, &s, err);
    if (rc == CM_OK) {
        *commits = s.commits;
        s.manifest_bytes = 0; /* the test has none */
        rc = cm_leftovers_clear(&left, names, err);
    }
    if (rc == CM_OK)
        rc = cm_journal_continue(&conf, &s.at, &s.again, &c->j, err);
    if (rc == CM_OK)
        rc = cm_leftovers_burn(c->j, &s, err);
    if (rc == CM_OK)
        rc = cm_journal_attempt(c->j, "resume", names, err);
    cm_journal_close(c->j);
    c->j = NULL;
    cm_journal_state_done(&s);
    json_decref(names);
    return rc;
}

static bool is_right(const struct course *c, cm_err rc, uint64_t commits)
{
    if (rc == CM_E_END)
        return c->commits == 0;
    return rc == CM_OK && (commits == c->commits || (c->doubt && commits == c->commits + 1)) &&
           faccessat(c->place.dir.fd, c->tree ? "keys/000002.part" : "keys/000002.tar.part", F_OK, 0) != 0;
}

/* true: nothing failed any more. late: the failure is for the clearing up. */
static bool once(long n, bool tree, bool late, int *failed)
{
    struct course c = { .tree = tree, .durable = true };
    struct cm_error err = { 0 };
    uint64_t commits = 0;

    t_place_open(&c.place);
    CM_ASSERT(put_leftovers(&c) == CM_OK);
    calls = 0;
    fail_at = n;
    armed = !late;
    cm_err rc = write_all(&c, &err);
    CM_ASSERT(armed || rc == CM_OK);
    armed = late;
    if (late)
        rc = clear_up(&c, &commits, &err);
    armed = false;
    const bool through = calls < n;
    const cm_err again = clear_up(&c, &commits, &err);
    /* Taking an overwriting for done or a record for written must not depend on the call. */
    if ((through && rc != CM_OK) || !is_right(&c, again, commits)) {
        printf("call %ld, %s, %s: %d, then %d with %llu commits of %llu: %s\n", n, tree ? "tree" : "tar",
               late ? "clearing up" : "writing", (int) rc, (int) again, (unsigned long long) commits,
               (unsigned long long) c.commits, err.what);
        ++*failed;
    }
    t_place_close(&c.place);
    return through;
}

/* Who asked for no syncs gets none, and the same record and the same clearing up. But for the zeros over the
 * keys of a discarded shard: cm_dir_discard makes them durable in any case. */
static bool without_syncs(bool tree)
{
    struct course c = { .tree = tree };
    struct cm_error err = { 0 };
    uint64_t commits = 0;

    t_place_open(&c.place);
    CM_ASSERT(put_leftovers(&c) == CM_OK);
    syncs = 0;
    const cm_err rc = write_all(&c, &err);
    long count = syncs;
    const cm_err again = clear_up(&c, &commits, &err);
    count += syncs;
    const bool good = rc == CM_OK && is_right(&c, again, commits) && count == (tree ? 1 : 0);
    if (!good)
        printf("without syncs, %s: %d, then %d, %ld syncs: %s\n", tree ? "tree" : "tar", (int) rc,
               (int) again, count, err.what);
    t_place_close(&c.place);
    return good;
}

int main(void)
{
    int failed = 0;
    long passed = 0;

    json_set_alloc_funcs(json_alloc, free);
    for (int way = 0; way < 4; way++)
        for (long n = 1; !once(n, way & 1, way & 2, &failed); n++)
            passed++;
    failed += !without_syncs(false);
    failed += !without_syncs(true);
    printf("%ld calls failed in turn: %d wrong\n", passed, failed);
    return failed != 0;
}
