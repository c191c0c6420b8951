#include "io/rundir.h"

#include "io/file.h"
#include "io/jsontext.h"
#include "io/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LOCK_TRIES = 5, LOCK_WAIT_MS = 50, PATH_LEN = 200 /* octets of a directory's path */ };

/* A ring's end is asynchronous: the lock of a process that was just killed may
 * live some milliseconds longer than the process. */
/* instead: what else there is to do than to wait. */
static cm_err lock_dir(const struct cm_rundir *d, const char *instead, struct cm_error *err)
{
    for (int i = 0; i < LOCK_TRIES; i++) {
        if (flock(d->fd, LOCK_EX | LOCK_NB) == 0)
            return CM_OK;
        if (errno != EWOULDBLOCK && errno != EINTR)
            CM_FAIL(err, CM_E_IO, "can't lock %s", d->path);
        (void) nanosleep(&(struct timespec) { .tv_nsec = LOCK_WAIT_MS * 1000000l }, NULL);
    }
    CM_FAIL(err, CM_E_LIMIT, "%s is being written by another certmill process; wait for it or %s", d->path,
            instead);
}

/* Opens path, making it when it isn't there; *made tells. */
static cm_err open_or_make(const char *path, mode_t mode, int *fd, bool *made, struct cm_error *err)
{
    struct stat st;

    *made = cm_sys_mkdirat(AT_FDCWD, path, mode) == 0;
    if (!*made && errno != EEXIST)
        CM_FAIL(err, CM_E_IO, "can't make directory %s%s", path,
                errno == ENOENT ? " (its parent does not exist: make it first)" : "");
    if (lstat(path, &st) == 0 && !S_ISDIR(st.st_mode) && !S_ISLNK(st.st_mode))
        CM_FAIL(err, CM_E_USAGE, "%s exists and is not a directory; choose another --out", path);
    CM_TRY(cm_dir_open(path, fd, err));
    if (*made && cm_sys_fchmod(*fd, mode) != 0)
        CM_FAIL(err, CM_E_IO, "can't set the mode of %s", path);
    if (faccessat(*fd, ".", W_OK | X_OK, AT_EACCESS) != 0)
        CM_FAIL(err, CM_E_IO, "can't write to directory %s", path);
    return CM_OK;
}

static cm_err must_be_empty(int fd, const char *path, struct cm_error *err)
{
    const struct dirent *e = NULL;
    char found[64] = "";
    int copy = -1;
    DIR *dir = NULL;

    if (faccessat(fd, "run.json", F_OK, 0) == 0)
        CM_FAIL(err, CM_E_USAGE, "%s holds a run already; choose another --out", path);
    copy = cm_sys_openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    dir = copy >= 0 ? fdopendir(copy) : NULL;
    if (dir == NULL) {
        cm_fd_close(&copy);
        CM_FAIL(err, CM_E_IO, "can't list directory %s", path);
    }
    while (found[0] == '\0' && (e = readdir(dir)) != NULL)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            (void) snprintf(found, sizeof found, "%.60s", e->d_name);
    (void) closedir(dir);
    if (found[0] != '\0')
        CM_FAIL(err, CM_E_USAGE, "%s is not empty (it holds %s); choose an empty or new directory", path,
                found);
    return CM_OK;
}

static cm_err open_keys(struct cm_rundir *d, const char *keys_out, struct cm_error *err)
{
    struct stat st;

    if (keys_out == NULL) {
        (void) snprintf(d->keys_path, sizeof d->keys_path, "%.240s/keys", d->path);
        d->keys_made = d->keys_inside = true;
        return cm_dir_make(d->fd, d->path, "keys", 0700, &d->keys_fd, err);
    }
    (void) snprintf(d->keys_path, sizeof d->keys_path, "%s", keys_out);
    CM_TRY(open_or_make(keys_out, 0700, &d->keys_fd, &d->keys_made, err));
    CM_TRY(must_be_empty(d->keys_fd, keys_out, err));
    if (fstat(d->keys_fd, &st) != 0 || (st.st_mode & 077) != 0)
        CM_FAIL(err, CM_E_USAGE, "%s can be read by others (mode %04o); make it 0700: chmod 700 %s", keys_out,
                (unsigned) st.st_mode & 07777, keys_out);
    return CM_OK;
}

/* The name of a directory that was made is in its parent. */
static cm_err sync_parent(int dirfd, const char *path, struct cm_error *err)
{
    int fd = cm_sys_openat(dirfd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    cm_err rc = CM_OK;

    if (fd < 0)
        CM_FAIL(err, CM_E_IO, "can't open the parent of %s", path);
    rc = cm_dir_sync(fd, path, err);
    cm_fd_close(&fd);
    return rc;
}

cm_err cm_rundir_open(const char *path, const char *keys_out, struct cm_rundir *out, struct cm_error *err)
{
    struct cm_rundir d = { .fd = -1, .chains_fd = -1, .keys_fd = -1 };
    cm_err rc = CM_OK;

    if (strlen(path) > PATH_LEN || (keys_out != NULL && strlen(keys_out) > PATH_LEN))
        CM_FAIL(err, CM_E_USAGE, "a directory path is longer than %d octets; change into its parent first",
                PATH_LEN);
    (void) snprintf(d.path, sizeof d.path, "%s", path);
    rc = open_or_make(path, 0755, &d.fd, &d.made, err);
    if (rc == CM_OK)
        rc = lock_dir(&d, "choose another --out", err);
    if (rc == CM_OK)
        rc = must_be_empty(d.fd, path, err);
    if (rc == CM_OK)
        rc = open_keys(&d, keys_out, err);
    if (rc == CM_OK)
        rc = cm_dir_make(d.fd, d.path, "chains", 0755, &d.chains_fd, err);
    if (rc == CM_OK && d.made)
        rc = sync_parent(d.fd, d.path, err);
    if (rc == CM_OK && !d.keys_inside && d.keys_made)
        rc = sync_parent(d.keys_fd, d.keys_path, err);
    if (rc != CM_OK) {
        cm_rundir_undo(&d);
        cm_rundir_close(&d);
        return rc;
    }
    *out = d;
    return CM_OK;
}

cm_err cm_rundir_reopen(const char *path, struct cm_rundir *out, struct cm_error *err)
{
    struct cm_rundir d = { .fd = -1, .chains_fd = -1, .keys_fd = -1 };

    if (strlen(path) > PATH_LEN)
        CM_FAIL(err, CM_E_USAGE, "a directory path is longer than %d octets; change into its parent first",
                PATH_LEN);
    (void) snprintf(d.path, sizeof d.path, "%s", path);
    cm_err rc = cm_dir_open(path, &d.fd, err);
    if (rc == CM_E_IO && err != NULL && (err->os == ENOENT || err->os == ENOTDIR))
        CM_FAIL(err, CM_E_INPUT, "%s: no such directory; name the one that mint --out made", path);
    if (rc == CM_OK)
        rc = lock_dir(&d, "stop it, then give this command again", err);
    if (rc != CM_OK) {
        cm_rundir_close(&d);
        return rc;
    }
    *out = d;
    return CM_OK;
}

cm_err cm_rundir_open_sides(struct cm_rundir *d, const char *keys_out, bool make, struct cm_error *err)
{
    char chains[300];
    bool made = false;

    d->keys_inside = keys_out == NULL;
    if (keys_out == NULL)
        (void) snprintf(d->keys_path, sizeof d->keys_path, "%.240s/keys", d->path);
    else if (strlen(keys_out) > PATH_LEN)
        CM_FAIL(err, CM_E_USAGE, "the directory of the keys has a path of more than %d octets", PATH_LEN);
    else
        (void) snprintf(d->keys_path, sizeof d->keys_path, "%s", keys_out);
    (void) snprintf(chains, sizeof chains, "%.240s/chains", d->path);
    CM_TRY(make ? open_or_make(d->keys_path, 0700, &d->keys_fd, &made, err)
                : cm_dir_open(d->keys_path, &d->keys_fd, err));
    return make ? open_or_make(chains, 0755, &d->chains_fd, &made, err)
                : cm_dir_open(chains, &d->chains_fd, err);
}

cm_err cm_rundir_write_ca(const struct cm_rundir *d, struct cm_span pem, struct cm_error *err)
{
    return cm_file_replace(d->fd, d->path, "ca.pem", pem, 0644, err);
}

cm_err cm_rundir_write_run(const struct cm_rundir *d, const json_t *run, struct cm_error *err)
{
    size_t len = 0;
    char *text = cm_json_text(run, JSON_INDENT(2), &len);
    cm_err rc = CM_OK;

    if (text == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for run.json");
    text[len] = '\n'; /* in the NUL's place */
    rc = cm_file_replace(d->fd, d->path, "run.json", cm_span(text, len + 1), 0644, err);
    free(text);
    return rc;
}

void cm_rundir_undo(struct cm_rundir *d)
{
    static const char *const file[] = { "run.json",        "run.json.part", "ca.pem", "ca.pem.part",
                                        "manifest.ndjson", "index",         "journal" };

    if (d->chains_fd >= 0 || d->keys_fd >= 0) {
        bool gone = cm_sys_unlinkat(d->fd, "chains", AT_REMOVEDIR) == 0 || errno == ENOENT;
        if (d->keys_inside)
            gone &= cm_sys_unlinkat(d->fd, "keys", AT_REMOVEDIR) == 0 || errno == ENOENT;
        if (!gone)
            return; /* what can't be removed keeps its journal: a resume takes it up */
        for (size_t i = 0; i < CM_COUNT(file); i++)
            (void) cm_sys_unlinkat(d->fd, file[i], 0);
    }
    if (d->keys_made && d->keys_fd >= 0 && !d->keys_inside)
        (void) cm_sys_unlinkat(AT_FDCWD, d->keys_path, AT_REMOVEDIR);
    if (d->made)
        (void) cm_sys_unlinkat(AT_FDCWD, d->path, AT_REMOVEDIR);
}

void cm_rundir_close(struct cm_rundir *d)
{
    cm_fd_close(&d->chains_fd);
    cm_fd_close(&d->keys_fd);
    cm_fd_close(&d->fd);
}
