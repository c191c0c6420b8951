/* Goal: a run directory is made with the right modes, taken only when it is empty, locked against a second
 * run, and nothing of it is left when the run can't begin. Method: directories in every state that a user may
 * point at. */
#include "io/file.h"
#include "io/rundir.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

static char base[64], out[96], keys[96];

static void setup(void)
{
    (void) snprintf(base, sizeof base, "/tmp/certmill-rundir-XXXXXX");
    cr_assert_not_null(mkdtemp(base));
    (void) snprintf(out, sizeof out, "%s/out", base);
    (void) snprintf(keys, sizeof keys, "%s/keys", base);
    (void) umask(077);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;
    return remove(path);
}

static void teardown(void)
{
    (void) nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static mode_t mode_of(const char *path, const char *name)
{
    char whole[200];
    struct stat st;

    (void) snprintf(whole, sizeof whole, "%s/%s", path, name);
    return stat(whole, &st) == 0 ? st.st_mode & 07777 : 0;
}

static void touch(const char *path, const char *name)
{
    char whole[200];

    (void) snprintf(whole, sizeof whole, "%s/%s", path, name);
    FILE *f = fopen(whole, "w");
    cr_assert_not_null(f, "%s", whole);
    (void) fclose(f);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void expect_refused(const char *keys_out, cm_err rc, const char *words)
{
    struct cm_rundir d;
    struct cm_error err = { 0 };

    cr_expect_eq(cm_rundir_open(out, keys_out, &d, &err), rc, "%s", err.what);
    cr_expect_not_null(strstr(err.what, words), "%s", err.what);
}

Test(rundir, a_new_one, .init = setup, .fini = teardown)
{
    struct cm_rundir d;
    struct cm_error err = { 0 };
    json_t *run = json_pack("{s:s}", "format", "certmill-fleet");

    cr_assert_eq(cm_rundir_open(out, NULL, &d, &err), CM_OK, "%s", err.what);
    cr_expect(mode_of(out, ".") == 0755 && mode_of(out, "chains") == 0755 && mode_of(out, "keys") == 0700);
    cr_expect(d.made && d.keys_made);
    cr_assert_eq(cm_rundir_write_ca(&d, cm_span_str("PEM"), &err), CM_OK, "%s", err.what);
    for (int again = 0; again < 2; again++)
        cr_assert_eq(cm_rundir_write_run(&d, run, &err), CM_OK, "%s", err.what);
    cr_expect(mode_of(out, "ca.pem") == 0644 && mode_of(out, "run.json") == 0644);
    char path[200];
    (void) snprintf(path, sizeof path, "%s/run.json", out);
    json_t *read = json_load_file(path, 0, NULL);
    cr_expect(json_equal(run, read));
    json_decref(run);
    json_decref(read);
    cm_rundir_close(&d);
    expect_refused(NULL, CM_E_USAGE, "holds a run already");
}

Test(rundir, what_can_not_be_taken, .init = setup, .fini = teardown)
{
    char missing[128], parent[96];

    (void) snprintf(missing, sizeof missing, "%s/no/out", base);
    (void) snprintf(parent, sizeof parent, "%s", out);
    (void) snprintf(out, sizeof out, "%.90s", missing);
    expect_refused(NULL, CM_E_IO, "its parent does not exist");
    (void) snprintf(out, sizeof out, "%s", parent);

    touch(base, "out");
    expect_refused(NULL, CM_E_USAGE, "is not a directory");
    cr_assert_eq(unlink(out), 0);

    cr_assert_eq(mkdir(out, 0700), 0);
    touch(out, "notes.txt");
    expect_refused(NULL, CM_E_USAGE, "is not empty (it holds notes.txt)");
    touch(out, "run.json");
    expect_refused(NULL, CM_E_USAGE, "holds a run already");
    cr_expect(mode_of(out, ".") == 0700 && !exists(keys), "what was there is left as it was");
}

Test(rundir, an_empty_one_is_taken_and_given_back, .init = setup, .fini = teardown)
{
    struct cm_rundir d;
    struct cm_error err = { 0 };

    cr_assert(mkdir(out, 0750) == 0 && chmod(out, 0750) == 0);
    cr_assert_eq(cm_rundir_open(out, NULL, &d, &err), CM_OK, "%s", err.what);
    cr_expect(!d.made);
    cr_assert_eq(cm_rundir_write_ca(&d, cm_span_str("PEM"), &err), CM_OK);
    cm_rundir_undo(&d);
    cm_rundir_close(&d);
    cr_expect_eq(mode_of(out, "."), 0750);
    cr_expect_eq(rmdir(out), 0, "undo must leave it empty");
}

Test(rundir, a_new_one_is_undone, .init = setup, .fini = teardown)
{
    struct cm_rundir d;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_rundir_open(out, keys, &d, &err), CM_OK, "%s", err.what);
    cm_rundir_undo(&d);
    cm_rundir_close(&d);
    cr_expect(!exists(out) && !exists(keys));
}

Test(rundir, keys_elsewhere, .init = setup, .fini = teardown)
{
    struct cm_rundir d;
    struct cm_error err = { 0 };

    cr_assert_eq(mkdir(keys, 0700), 0);
    cr_assert_eq(cm_rundir_open(out, keys, &d, &err), CM_OK, "%s", err.what);
    cr_expect_eq(mode_of(out, "keys"), 0, "no keys/ inside");
    cr_expect(!d.keys_made);
    cm_rundir_undo(&d);
    cm_rundir_close(&d);
    cr_expect(exists(keys), "it was there before");

    cr_assert_eq(chmod(keys, 0750), 0);
    expect_refused(keys, CM_E_USAGE, "can be read by others (mode 0750)");
    cr_expect(!exists(out), "nothing is left of a run that can't begin");
    cr_assert_eq(chmod(keys, 0700), 0);
    touch(keys, "old.key");
    expect_refused(keys, CM_E_USAGE, "is not empty");
    cr_expect(!exists(out));
}

/* The lock is the open file description's: a second open of this process is another run as good as any. */
Test(rundir, two_runs_at_once, .init = setup, .fini = teardown)
{
    struct cm_rundir d;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_rundir_open(out, NULL, &d, &err), CM_OK, "%s", err.what);
    expect_refused(NULL, CM_E_LIMIT, "is being written by another certmill process");
    cr_expect(exists(out) && mode_of(out, "chains") == 0755, "the other run's directory is left alone");
    /* Who begins a run can choose another directory, who would go on with this one can't. */
    struct cm_rundir again;
    struct cm_error refused = { 0 };
    cr_expect_eq(cm_rundir_open(out, NULL, &again, &refused), CM_E_LIMIT);
    cr_expect(strstr(refused.what, "another --out") != NULL, "%s", refused.what);
    cr_expect_eq(cm_rundir_reopen(out, &again, &refused), CM_E_LIMIT);
    cr_expect(strstr(refused.what, "another --out") == NULL && strstr(refused.what, "stop it") != NULL, "%s",
              refused.what);
    cm_rundir_close(&d);
    expect_refused(NULL, CM_E_USAGE, "is not empty");
}

Test(rundir, a_path_that_is_too_long, .init = setup, .fini = teardown)
{
    char path[300];
    struct cm_rundir d;
    struct cm_error err = { 0 };

    memset(path, 'x', sizeof path);
    path[201] = '\0';
    cr_expect_eq(cm_rundir_open(path, NULL, &d, &err), CM_E_USAGE);
    cr_expect_eq(cm_rundir_open(out, path, &d, &err), CM_E_USAGE);
    cr_expect_not_null(strstr(err.what, "longer than 200 octets"), "%s", err.what);
    cr_expect(!exists(out));
}
