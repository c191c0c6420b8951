/* Goal: files get exactly the mode that was asked for, nothing is ever replaced that should not be, what is
 * replaced is replaced whole, and what is discarded is gone. Method: each call in a fresh directory, with the
 * umask, links and leftovers that it may meet. */
#include "io/file.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct t_place place;
static int dir;

static void setup(void)
{
    t_place_open(&place);
    dir = place.dir.fd;
}

static void teardown(void)
{
    t_place_close(&place);
}

static mode_t mode_of(const char *name)
{
    struct stat st;

    return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_mode & 07777 : 0xffff;
}

static void expect_text(const char *name, const char *text)
{
    char found[256] = "";
    const int fd = openat(dir, name, O_RDONLY);

    cr_assert_geq(fd, 0, "%s", name);
    cr_assert_geq(read(fd, found, sizeof found - 1), 0);
    cr_expect_str_eq(found, text, "%s", name);
    (void) close(fd);
}

static bool exists(const char *name)
{
    return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

Test(file, modes_whatever_the_umask, .init = setup, .fini = teardown)
{
    static const mode_t masks[] = { 0, 022, 077, 0777 };

    for (size_t i = 0; i < CM_COUNT(masks); i++) {
        char name[16];
        int fd = -1;
        (void) umask(masks[i]);
        (void) snprintf(name, sizeof name, "f%zu", i);
        cr_assert_eq(cm_file_create(dir, "d", name, 0, 0644, &fd, NULL), CM_OK);
        cr_expect_eq(mode_of(name), 0644);
        cr_expect(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        cm_fd_close(&fd);
        (void) snprintf(name, sizeof name, "d%zu", i);
        if (masks[i] == 0777 && geteuid() != 0)
            continue; /* nobody else could open it again */
        cr_assert_eq(cm_dir_make(dir, "d", name, 0700, &fd, NULL), CM_OK);
        cr_expect_eq(mode_of(name), 0700);
        cm_fd_close(&fd);
        cr_expect_eq(fd, -1);
        cm_fd_close(&fd);
    }
}

Test(file, nothing_is_opened_twice_or_through_a_link, .init = setup, .fini = teardown)
{
    struct cm_error err = { 0 };
    int fd = -1;

    cr_assert_eq(cm_file_create(dir, "d", "a", 0, 0600, &fd, &err), CM_OK);
    cm_fd_close(&fd);
    cr_expect_eq(cm_file_create(dir, "d", "a", 0, 0600, &fd, &err), CM_E_IO);
    cr_expect_str_eq(err.what, "can't create d/a: File exists");
    cr_assert_eq(symlinkat("/tmp/certmill-nowhere", dir, "link"), 0);
    cr_expect_eq(cm_file_create(dir, "d", "link", 0, 0600, &fd, &err), CM_E_IO);
    cr_expect(access("/tmp/certmill-nowhere", F_OK) != 0, "the link was followed");
    cr_expect_eq(cm_dir_make(dir, "d", "link", 0700, &fd, &err), CM_E_IO);
    cr_expect_eq(cm_dir_open("/tmp/certmill-nowhere", &fd, &err), CM_E_IO);
    cr_expect_eq(fd, -1);
}

Test(file, a_rename_replaces_nothing, .init = setup, .fini = teardown)
{
    struct cm_error err = { 0 };
    int fd = -1;

    for (int i = 0; i < 2; i++) {
        cr_assert_eq(cm_file_create(dir, "d", i == 0 ? "a" : "b", 0, 0600, &fd, &err), CM_OK);
        cr_assert_eq(cm_file_write(fd, "x", i == 0 ? "A" : "B", 1, 0, &err), CM_OK);
        cm_fd_close(&fd);
    }
    cr_expect_eq(cm_rename_new(dir, "d", "a", "b", &err), CM_E_IO);
    cr_expect_str_eq(err.what, "can't rename d/a to b: File exists");
    expect_text("a", "A");
    expect_text("b", "B");
    cr_expect_eq(cm_rename_new(dir, "d", "a", "c", &err), CM_OK);
    expect_text("c", "A");
    cr_expect(!exists("a"));
    cr_expect_eq(cm_rename_new(dir, "d", "a", "e", &err), CM_E_IO, "there is no a");
}

Test(file, replacing_is_whole, .init = setup, .fini = teardown)
{
    struct cm_error err = { 0 };
    int fd = -1;

    cr_assert_eq(cm_file_replace(dir, "d", "run.json", cm_span_str("first"), 0644, &err), CM_OK, "%s",
                 err.what);
    expect_text("run.json", "first");
    /* A leftover of a run that was killed. */
    cr_assert_eq(cm_file_create(dir, "d", "run.json.part", 0, 0600, &fd, &err), CM_OK);
    cr_assert_eq(cm_file_write(fd, "x", "leftover that is longer", 23, 0, &err), CM_OK);
    cm_fd_close(&fd);
    cr_assert_eq(cm_file_replace(dir, "d", "run.json", cm_span_str("2nd"), 0644, &err), CM_OK, "%s",
                 err.what);
    expect_text("run.json", "2nd");
    cr_expect_eq(mode_of("run.json"), 0644);
    cr_expect(!exists("run.json.part"));
}

Test(file, a_replacement_that_fails_leaves_the_old_one, .init = setup, .fini = teardown)
{
    static char big[20000];
    struct cm_error err = { 0 };
    struct rlimit old;

    (void) signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(cm_file_replace(dir, "d", "run.json", cm_span_str("first"), 0644, &err), CM_OK);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit) { 9000, old.rlim_max }), 0);
    cr_expect_eq(cm_file_replace(dir, "d", "run.json", cm_span(big, sizeof big), 0644, &err), CM_E_IO);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    cr_expect(err.os == EFBIG && strstr(err.what, "d/run.json.part (raise RLIMIT_FSIZE") != NULL, "%s",
              err.what);
    expect_text("run.json", "first");
    cr_expect(!exists("run.json.part"));
}

Test(file, discarding, .init = setup, .fini = teardown)
{
    struct cm_error err = { 0 };
    int sub = -1, fd = -1;

    cr_expect_eq(cm_dir_discard(dir, "d", "none", true, &err), CM_OK, "what is not there");
    for (int wipe = 0; wipe < 2; wipe++) {
        cr_assert_eq(cm_dir_make(dir, "d", "s", 0700, &sub, &err), CM_OK);
        cr_assert_eq(cm_file_create(sub, "s", "key", 0, 0600, &fd, &err), CM_OK);
        cr_assert_eq(cm_file_write(fd, "x", "secret octets", 13, 0, &err), CM_OK);
        cm_fd_close(&fd);
        /* A second name shows what happened to the octets. */
        cr_assert_eq(linkat(sub, "key", dir, wipe != 0 ? "w1" : "w0", 0), 0);
        cr_assert_eq(symlinkat("../run.json", sub, "link"), 0);
        cm_fd_close(&sub);
        cr_expect_eq(cm_dir_discard(dir, "d", "s", wipe != 0, &err), CM_OK, "%s", err.what);
        cr_expect(!exists("s"));
    }
    expect_text("w0", "secret octets");
    expect_text("w1", ""); /* zeros */
    cr_assert_eq(cm_dir_make(dir, "d", "s", 0700, &sub, &err), CM_OK);
    cr_assert_eq(mkdirat(sub, "inner", 0700), 0);
    cm_fd_close(&sub);
    cr_expect_eq(cm_dir_discard(dir, "d", "s", false, &err), CM_E_IO);
    cr_expect_not_null(strstr(err.what, "can't remove d/s/inner"), "%s", err.what);
}

Test(file, an_odd_limit_is_told_as_a_limit)
{
    struct rlimit old;

    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    cr_expect_eq(cm_write_errno(EINVAL, UINT64_MAX), old.rlim_cur == RLIM_INFINITY ? EINVAL : EFBIG);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit) { 10000, old.rlim_max }), 0);
    cr_expect_eq(cm_write_errno(EINVAL, 10001), EFBIG);
    cr_expect_eq(cm_write_errno(EINVAL, 10000), EINVAL);
    cr_expect_eq(cm_write_errno(EIO, 10001), EIO);
}
