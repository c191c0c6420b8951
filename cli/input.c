#include "cli/input.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *kind_of(mode_t mode)
{
    if (S_ISDIR(mode))
        return "a directory";
    if (S_ISFIFO(mode))
        return "a FIFO (a pipe)";
    if (S_ISCHR(mode))
        return "a character device";
    if (S_ISBLK(mode))
        return "a block device";
    return S_ISSOCK(mode) ? "a socket" : "not a regular file";
}

/* Opens path and leaves what it is in *st; *fd stays -1 on failure. */
static cm_err open_regular(const char *path, const char *what, int *fd, struct stat *st, struct cm_error *err)
{
    /* O_NONBLOCK: opening a FIFO that nobody writes to would wait for ever. */
    const int opened = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    const char *wrong = NULL;

    if (opened < 0 && errno == ENOENT)
        CM_FAIL(err, CM_E_INPUT, "%s %s: there is no such file", what, path);
    if (opened < 0 && errno == ENXIO)
        CM_FAIL(err, CM_E_INPUT, "%s %s is a socket or a device without a driver; name a regular file", what,
                path);
    if (opened < 0)
        CM_FAIL(err, CM_E_IO, "can't open the %s %s", what, path);
    if (fstat(opened, st) != 0) {
        (void) cm_fail(err, CM_E_IO, CM_HERE, "can't look at the %s %s", what, path);
        (void) close(opened);
        return CM_E_IO;
    }

    if (!S_ISREG(st->st_mode))
        wrong = kind_of(st->st_mode);
    else if (st->st_size == 0)
        wrong = "empty";
    if (wrong != NULL || st->st_size > CM_INPUT_MAX)
        (void) close(opened);
    if (wrong != NULL)
        CM_FAIL(err, CM_E_INPUT, "%s %s is %s; name a regular file that holds it", what, path, wrong);
    if (st->st_size > CM_INPUT_MAX)
        CM_FAIL(err, CM_E_INPUT, "%s %s is too large: %lld bytes, at most %d are read; is it the right file?",
                what, path, (long long) st->st_size, CM_INPUT_MAX);
    *fd = opened;
    return CM_OK;
}

/* Reads up to cap bytes, to the end of the file; one more is too many, since the
 * file then grew while it was read. */
static cm_err read_all(int fd, const char *path, uint8_t *data, size_t cap, size_t *len, struct cm_error *err)
{
    size_t used = 0;

    for (;;) {
        const ssize_t n = read(fd, data + used, cap - used);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            CM_FAIL(err, CM_E_IO, "can't read %s", path);
        if (n == 0)
            break;
        used += (size_t) n;
        if (used == cap)
            CM_FAIL(err, CM_E_INPUT, "%s changed while it was read; try again", path);
    }
    if (used == 0)
        CM_FAIL(err, CM_E_INPUT, "%s became empty while it was read; try again", path);
    data[used] = 0;
    *len = used;
    return CM_OK;
}

cm_err cm_input_read(const char *path, const char *what, char **data, size_t *len, struct cm_error *err)
{
    struct stat st;
    int fd = -1;
    cm_err rc = CM_OK;

    CM_TRY(open_regular(path, what, &fd, &st, err));
    const size_t cap = (size_t) st.st_size + 1;
    char *buf = malloc(cap);
    if (buf == NULL)
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for the %s %s", what, path);
    else
        rc = read_all(fd, path, (uint8_t *) buf, cap, len, err);
    (void) close(fd); /* read only: nothing can be lost here */
    if (rc != CM_OK) {
        free(buf);
        return rc;
    }
    *data = buf;
    return CM_OK;
}

static cm_err check_private(const struct stat *st, const char *path, const char *what, struct cm_error *err)
{
    const uid_t me = geteuid();

    if ((st->st_mode & (S_IRGRP | S_IWGRP | S_IROTH | S_IWOTH)) != 0)
        CM_FAIL(err, CM_E_INPUT,
                "%s %s: its mode %04o lets group or others at it; chmod 600 it, or accept that with "
                "--allow-insecure-ca-key",
                what, path, (unsigned) (st->st_mode & 07777));
    if (st->st_uid != me && st->st_uid != 0 && me != 0)
        CM_FAIL(err, CM_E_INPUT,
                "%s %s belongs to another user (uid %u); own it, or accept that with --allow-insecure-ca-key",
                what, path, (unsigned) st->st_uid);
    return CM_OK;
}

cm_err cm_input_read_secret(const char *path, const char *what, bool insecure_ok, struct cm_secret *secret,
                            size_t *len, struct cm_error *err)
{
    struct cm_secret made = { 0 };
    struct stat st;
    int fd = -1;
    cm_err rc = CM_OK;

    CM_TRY(open_regular(path, what, &fd, &st, err));
    if (!insecure_ok)
        rc = check_private(&st, path, what, err);
    if (rc == CM_OK)
        rc = cm_secret_init(&made, (size_t) st.st_size + 1, err);
    if (rc == CM_OK)
        rc = read_all(fd, path, made.base, (size_t) st.st_size + 1, len, err);
    (void) close(fd);
    if (rc != CM_OK) {
        cm_secret_done(&made);
        return rc;
    }
    *secret = made;
    return CM_OK;
}
