/* Goal: whichever call of a run fails, minting, resuming or reissuing, once or from then on, the run says so
 * and why, a success means a whole fleet, and what is left can be minted again or resumed to a whole one.
 * Method: small runs in this process; the n-th of all calls by which it asks for memory, for JSON, for
 * randomness or for anything of its directory fails, by the linker's --wrap; then everything works again, and
 * the fleet is gone on with and verified. Every n from a start chosen by CM_SEED, at a stride that keeps it
 * short; CM_ALL: each n. */
#include "cli/cmd.h"
#include "cli/rerun.h"
#include "tests/t_plant.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* A run takes some five times as long under AddressSanitizer. */
#ifdef __SANITIZE_ADDRESS__
enum { DEVICES = 8, STRIDE = 24 };
#else
enum { DEVICES = 8, STRIDE = 8 };
#endif

/* --- calls that fail ------------------------------------------------------- */

static atomic_bool armed;
static atomic_long calls;
static long fail_at, die_at;
static bool from_there_on;
static atomic_long burst; /* allocations for JSON since another call */

static bool fails(void)
{
    if (!atomic_load(&armed))
        return false;
    const long n = atomic_fetch_add(&calls, 1) + 1;
    if (n == die_at)
        _exit(0);
    if (n != fail_at && (!from_there_on || n < fail_at || fail_at == 0))
        return false;
    errno = EIO;
    return true;
}

static bool others_fail(void)
{
    atomic_store(&burst, 0);
    return fails();
}

/* __real_X is X, and X in the program under test is __wrap_X. */
#define WRAP(type, name, params, args, failure)                                                              \
    type __real_##name params;                                                                               \
    type __wrap_##name params;                                                                               \
    type __wrap_##name params                                                                                \
    {                                                                                                        \
        return others_fail() ? (failure) : __real_##name args;                                               \
    }

WRAP(void *, malloc, (size_t n), (n), NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), NULL)
WRAP(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size), NULL)
WRAP(char *, strdup, (const char *text), (text), NULL)
WRAP(ssize_t, pwrite, (int fd, const void *p, size_t n, off_t at), (fd, p, n, at), -1)
WRAP(ssize_t, pread, (int fd, void *p, size_t n, off_t at), (fd, p, n, at), -1)
WRAP(int, ftruncate, (int fd, off_t n), (fd, n), -1)
WRAP(int, fsync, (int fd), (fd), -1)
WRAP(int, fdatasync, (int fd), (fd), -1)
WRAP(int, syncfs, (int fd), (fd), -1)
WRAP(int, fstat, (int fd, struct stat *st), (fd, st), -1)
WRAP(int, fstatat, (int fd, const char *name, struct stat *st, int flags), (fd, name, st, flags), -1)
WRAP(int, faccessat, (int fd, const char *name, int mode, int flags), (fd, name, mode, flags), -1)
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode), -1)
WRAP(int, mkdirat, (int fd, const char *name, mode_t mode), (fd, name, mode), -1)
WRAP(int, openat, (int fd, const char *name, int flags, mode_t mode), (fd, name, flags, mode), -1)
WRAP(int, unlinkat, (int fd, const char *name, int flags), (fd, name, flags), -1)
WRAP(int, renameat, (int a, const char *from, int b, const char *to), (a, from, b, to), -1)
WRAP(int, renameat2, (int a, const char *from, int b, const char *to, unsigned f), (a, from, b, to, f), -1)
WRAP(DIR *, fdopendir, (int fd), (fd), NULL)
WRAP(int, RAND_bytes, (unsigned char *p, int n), (p, n), 0)
WRAP(int, pthread_create, (pthread_t * t, const pthread_attr_t *a, void *(*run)(void *), void *arg),
     (t, a, run, arg), EAGAIN)

/* A reservation takes thousands, one like the other: of a long burst only some count. */
static void *json_alloc(size_t n)
{
    const long nth = atomic_fetch_add(&burst, 1);

    if (nth >= 100 && nth % 256 != 0)
        return __real_malloc(n);
    return fails() ? NULL : __real_malloc(n);
}

/* --- a fleet ---------------------------------------------------------------- */

struct course {
    struct cm_mint_opts o;
    char base[64], ca[80], ca_key[80], out[80], ledger[96];
};

static const struct cm_common quiet = { .quiet = true };

static void open_course(struct course *c, bool tree, bool ledger)
{
    const char *const tmp = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

    *c = (struct course) { .base = "" };
    (void) snprintf(c->base, sizeof c->base, "%s/certmill-XXXXXX", tmp);
    CM_ASSERT(mkdtemp(c->base) != NULL);
    (void) snprintf(c->ca, sizeof c->ca, "%s/ca.pem", c->base);
    (void) snprintf(c->ca_key, sizeof c->ca_key, "%s/ca.key", c->base);
    (void) snprintf(c->out, sizeof c->out, "%s/out", c->base);
    (void) snprintf(c->ledger, sizeof c->ledger, "sqlite:%s/ledger", c->base);
    t_ca_files(c->ca, c->ca_key);
    cm_cmd_mint.defaults(&c->o);
    c->o.ca = c->ca;
    c->o.ca_key = c->ca_key;
    c->o.out = c->out;
    c->o.count = DEVICES;
    c->o.batch = 2;
    c->o.workers = 1;
    c->o.plaintext_keys = true;
    c->o.layout = tree ? CM_LAYOUT_TREE : CM_LAYOUT_TAR;
    c->o.io = CM_IO_POSIX;
    c->o.ledger = ledger ? c->ledger : NULL;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;
    return remove(path);
}

static void remove_tree(const char *path)
{
    (void) nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static cm_err mint(const struct course *c, bool arm, struct cm_error *err)
{
    struct cm_minting m = { .common = &quiet };
    cm_err rc = cm_mint_plan_open(&c->o, NULL, &m.plan, err);

    if (rc == CM_OK) {
        m.plan.pipeline.commit.devices = 2;
        atomic_store(&armed, arm);
        rc = cm_minting_begin(&m, err);
        atomic_store(&armed, false);
    }
    cm_minting_close(&m);
    return rc;
}

/* group NULL: a resume; else these get new certificates. */
static cm_err rerun(const struct course *c, const struct cm_rework_group *group, bool arm,
                    struct cm_error *err)
{
    struct cm_rerun r = { .m = { .common = &quiet } };
    const struct cm_rerun_opts with = { .workers = 1 };
    const struct cm_rework rework = { .command = "reissue", .group = group, .groups = 1 };

    atomic_store(&armed, arm);
    cm_err rc = cm_rerun_open(&r, c->out, err);
    if (rc == CM_OK && group != NULL) {
        rc = cm_rerun_at_rest(&r, err);
        if (rc == CM_OK)
            rc = cm_rerun_rework(&r, &with, &rework, err);
    } else if (rc == CM_OK) {
        rc = cm_rerun_options(&r, &with, err);
        if (rc == CM_OK)
            rc = cm_rerun_mint(&r, &r.state.seqs, err);
    }
    atomic_store(&armed, false);
    cm_rerun_close(&r);
    return rc;
}

/* The auditor's word: whole, and every signature accounted for. */
static cm_err verify(const struct course *c, struct cm_error *err)
{
    const char *operand = c->out;
    const struct cm_strs operands = { .item = &operand, .count = 1 };
    void *const opts = calloc(1, cm_cmd_verify.opts_size);

    CM_ASSERT(opts != NULL);
    if (cm_cmd_verify.defaults != NULL)
        cm_cmd_verify.defaults(opts);
    const cm_err rc = cm_cmd_verify.run(opts, &operands, &quiet, err);
    free(opts);
    return rc;
}

/* --- what is done to it ------------------------------------------------------- */

enum what { MINT, RESUME, REISSUE };

/* A run that is killed in the middle: its process ends at that call. */
static void leave_killed(const struct course *c, long at)
{
    const pid_t child = fork();
    int status = 0;

    if (child == 0) {
        struct cm_error err = { 0 };
        atomic_store(&calls, 0);
        fail_at = 0;
        die_at = at;
        _exit(mint(c, true, &err) != CM_OK);
    }
    CM_ASSERT(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

static cm_err act(const struct course *c, enum what what, struct cm_error *err)
{
    struct cm_rework_group group = { .reason = "worn" };
    cm_err rc = CM_OK;

    if (what == MINT)
        return mint(c, true, err);
    if (what == RESUME)
        return rerun(c, NULL, true, err);
    CM_ASSERT(cm_ranges_add(&group.seqs, 3, 4, NULL) == CM_OK);
    rc = rerun(c, &group, true, err);
    cm_ranges_close(&group.seqs);
    return rc;
}

/* Goes on with what a failure left, to the end. */
static cm_err go_on(const struct course *c, struct cm_error *err)
{
    char journal[100];
    struct stat st;

    *err = (struct cm_error) { .code = CM_OK };
    (void) snprintf(journal, sizeof journal, "%s/journal", c->out);
    if (stat(journal, &st) == 0 && st.st_size > 0)
        return rerun(c, NULL, false, err);
    remove_tree(c->out); /* nothing was begun */
    return mint(c, false, err);
}

struct way {
    const char *name;
    enum what what;
    bool tree, ledger, for_ever;
    int killed; /* the run before was killed at this hundredth of its calls */
};

/* true: nothing failed any more. */
static bool once(const struct way *w, long n, long mint_calls, FILE *report, int *failed)
{
    struct course c;
    struct cm_error err = { 0 }, after = { 0 };

    open_course(&c, w->tree, w->ledger);
    if (w->what == RESUME)
        leave_killed(&c, mint_calls * w->killed / 100);
    if (w->what == REISSUE)
        CM_ASSERT(mint(&c, false, &err) == CM_OK);
    atomic_store(&calls, 0);
    fail_at = n;
    from_there_on = w->for_ever;
    const cm_err rc = act(&c, w->what, &err);
    const bool through = atomic_load(&calls) < n;
    bool good = rc == CM_OK ? verify(&c, &after) == CM_OK : !through && err.what[0] != '\0';
    if (good && rc != CM_OK)
        good = go_on(&c, &after) == CM_OK && verify(&c, &after) == CM_OK;
    if (!good) {
        (void) fprintf(report, "%s, call %ld: %d, %s; then %d, %s\n", w->name, n, (int) rc, err.what,
                       (int) after.code, after.what);
        ++*failed;
    }
    remove_tree(c.base);
    return through;
}

/* How many calls a run makes in which none fails. */
static long count_calls(const struct way *w)
{
    struct course c;
    struct cm_error err = { 0 };

    open_course(&c, w->tree, w->ledger);
    atomic_store(&calls, 0);
    fail_at = 0;
    CM_ASSERT(mint(&c, true, &err) == CM_OK);
    remove_tree(c.base);
    return atomic_load(&calls);
}

static const struct way ways[] = {
    { "mint, tar, ledger", MINT, false, true, false, 0 },
    { "mint, tree", MINT, true, false, false, 0 },
    { "mint, tar, for ever", MINT, false, false, true, 0 },
    { "resume of a run killed early", RESUME, false, true, false, 40 },
    { "resume of a run killed late", RESUME, false, false, false, 85 },
    { "resume of a tree", RESUME, true, false, false, 60 },
    { "resume, for ever", RESUME, false, false, true, 60 },
    { "reissue, tar", REISSUE, false, false, false, 0 },
    { "reissue, tree, for ever", REISSUE, true, false, true, 0 },
};

/* Nothing of what runs say to people. */
static FILE *mute(void)
{
    FILE *report = fdopen(dup(1), "w");
    const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    CM_ASSERT(report != NULL && null >= 0 && dup2(null, 1) == 1 && dup2(null, 2) == 2);
    (void) close(null);
    return report;
}

int main(void)
{
    const long stride = getenv("CM_ALL") != NULL ? 1 : STRIDE;
    uint64_t seed = t_seed();
    int failed = 0, err_fd = dup(2);
    FILE *const report = mute();

    json_set_alloc_funcs(json_alloc, free);
    for (size_t i = 0; i < CM_COUNT(ways); i++) {
        const long mint_calls = count_calls(&ways[i]);
        long n = 1 + (long) t_random(&seed, (uint64_t) stride), tried = 0;
        for (; !once(&ways[i], n, mint_calls, report, &failed); n += stride)
            tried++;
        (void) fprintf(report, "%s: %ld of %ld calls failed in turn\n", ways[i].name, tried, n);
        (void) fflush(report);
    }
    (void) fprintf(report, "%d wrong\n", failed);
    (void) fclose(report);
    CM_ASSERT(dup2(err_fd, 2) == 2); /* for a sanitizer */
    (void) close(err_fd);
    return failed != 0;
}
