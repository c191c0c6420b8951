#include "io/fleet_impl.h"

#include "io/file.h"
#include "io/readat.h"
#include "io/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALL_MAX = 1 << 20 }; /* octets of run.json and of ca.pem */

/* Opens a regular file: nothing else can block us or stand for another file. */
static cm_err open_regular(int dirfd, const char *dir, const char *name, int *fd, struct stat *st,
                           struct cm_error *err)
{
    int opened = cm_sys_openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);

    if (opened < 0 && (errno == ENOENT || errno == ENOTDIR))
        return CM_E_END;
    if (opened < 0 && errno == ELOOP)
        CM_FAIL(err, CM_E_INPUT, "%s/%s is a symbolic link, which a fleet does not have", dir, name);
    if (opened < 0 || fstat(opened, st) != 0) {
        cm_fd_close(&opened);
        CM_FAIL(err, CM_E_IO, "can't open %s/%s", dir, name);
    }
    if (!S_ISREG(st->st_mode)) {
        cm_fd_close(&opened);
        CM_FAIL(err, CM_E_INPUT, "%s/%s is not a regular file", dir, name);
    }
    *fd = opened;
    return CM_OK;
}

/* A small file whole, into malloced memory. */
cm_err cm_fleet_read_small(const struct cm_fleet *f, const char *name, char **out, size_t *out_len,
                           struct cm_error *err)
{
    char path[4096];
    struct stat st;
    size_t got = 0;
    int fd = -1;

    cm_err rc = open_regular(f->fd, f->path, name, &fd, &st, err);
    if (rc == CM_E_END)
        CM_FAIL(err, CM_E_INPUT, "%s is no fleet: it has no %s; name the directory that mint --out made",
                f->path, name);
    CM_TRY(rc);
    (void) snprintf(path, sizeof path, "%s/%s", f->path, name);
    char *text = NULL;
    if (st.st_size == 0 || st.st_size > SMALL_MAX)
        rc = cm_fail(err, CM_E_INPUT, CM_HERE, "%s is empty or larger than %d octets", path, SMALL_MAX);
    else if ((text = malloc((size_t) st.st_size)) == NULL)
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for %s", path);
    else
        rc = cm_read_at(fd, path, text, (size_t) st.st_size, 0, &got, err);
    cm_fd_close(&fd);
    if (rc != CM_OK) {
        free(text);
        return rc;
    }
    *out = text;
    *out_len = got;
    return CM_OK;
}

static cm_err read_run(struct cm_fleet *f, struct cm_error *err)
{
    char path[4096];
    char *text = NULL;
    size_t len = 0;

    (void) snprintf(path, sizeof path, "%s/run.json", f->path);
    CM_TRY(cm_fleet_read_small(f, "run.json", &text, &len, err));
    const cm_err rc = cm_fleet_parse_run(text, len, path, &f->run, err);
    free(text);
    return rc;
}

static cm_err open_manifest(struct cm_fleet *f, struct cm_error *err)
{
    struct stat st;
    const cm_err rc = open_regular(f->fd, f->path, "manifest.ndjson", &f->manifest_fd, &st, err);

    if (rc == CM_E_END)
        return f->journal.manifest_bytes == 0
                   ? CM_OK /* killed before its first commit */
                   : cm_fail(err, CM_E_INPUT, CM_HERE,
                             "%s/manifest.ndjson is missing: restore it from a backup", f->path);
    CM_TRY(rc);
    f->manifest_size = (uint64_t) st.st_size;
    f->manifest_bytes =
        f->manifest_size < f->journal.manifest_bytes ? f->manifest_size : f->journal.manifest_bytes;
    return CM_OK;
}

static cm_err read_journal(struct cm_fleet *f, struct cm_error *err)
{
    const cm_err rc = cm_journal_read(f->fd, f->path, &f->journal, err);

    if (rc == CM_E_END)
        CM_FAIL(err, CM_E_INPUT,
                "%s has no journal, or not one sound record in it: nothing in it is committed", f->path);
    return rc;
}

static int open_dir(int dirfd, const char *name, int flags)
{
    return cm_sys_openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags, 0);
}

/* --keys, else keys/, else where run.json says they went. */
static cm_err open_sides(struct cm_fleet *f, const char *keys_dir, struct cm_error *err)
{
    int *const keys = &f->side_fd[CM_FLEET_KEYS];

    f->side_fd[CM_FLEET_CHAINS] = open_dir(f->fd, "chains", O_NOFOLLOW);
    if (f->side_fd[CM_FLEET_CHAINS] < 0)
        CM_FAIL(err, errno == ENOENT ? CM_E_INPUT : CM_E_IO,
                "can't open the directory %s/chains: bring it back; or, when it is lost, make it anew, and "
                "certmill repair mints all devices again",
                f->path);
    if (keys_dir != NULL) {
        CM_TRY(cm_dir_open(keys_dir, keys, err));
    } else if (f->run.keys_dir[0] != '\0') {
        keys_dir = f->run.keys_dir;
        *keys = open_dir(AT_FDCWD, keys_dir, 0);
    } else {
        keys_dir = "keys";
        *keys = open_dir(f->fd, keys_dir, O_NOFOLLOW);
    }
    f->keys_errno = *keys < 0 ? errno : 0;
    f->keys_path = strdup(keys_dir);
    if (f->keys_path == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for %s", f->path);
    return CM_OK;
}

static cm_err open_fleet(struct cm_fleet *f, const char *keys_dir, struct cm_error *err)
{
    const cm_err rc = cm_dir_open(f->path, &f->fd, err);

    if (rc == CM_E_IO && err != NULL && (err->os == ENOENT || err->os == ENOTDIR))
        CM_FAIL(err, CM_E_INPUT, "%s: no such directory; name the one that mint --out made", f->path);
    CM_TRY(rc);
    CM_TRY(read_run(f, err));
    CM_TRY(cm_fleet_read_small(f, "ca.pem", &f->ca_pem, &f->ca_pem_len, err));
    CM_TRY(read_journal(f, err));
    CM_TRY(open_manifest(f, err));
    return open_sides(f, keys_dir, err);
}

cm_err cm_fleet_open(const char *dir, const char *keys_dir, struct cm_fleet **out, struct cm_error *err)
{
    struct cm_fleet *f = calloc(1, sizeof *f);

    if (f == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for %s", dir);
    f->fd = f->side_fd[0] = f->side_fd[1] = f->manifest_fd = -1;
    f->path = strdup(dir);
    cm_err rc = f->path != NULL ? CM_OK : cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for %s", dir);
    if (rc == CM_OK)
        rc = open_fleet(f, keys_dir, err);
    if (rc != CM_OK)
        cm_fleet_close(f);
    else
        *out = f;
    return rc;
}

void cm_fleet_close(struct cm_fleet *f)
{
    if (f == NULL)
        return;
    cm_fd_close(&f->fd);
    cm_fd_close(&f->side_fd[0]);
    cm_fd_close(&f->side_fd[1]);
    cm_fd_close(&f->manifest_fd);
    free(f->path);
    free(f->keys_path);
    free(f->ca_pem);
    cm_journal_state_done(&f->journal);
    free(f);
}

const struct cm_fleet_run *cm_fleet_run(const struct cm_fleet *f)
{
    return &f->run;
}

const char *cm_fleet_path(const struct cm_fleet *f)
{
    return f->path;
}

struct cm_span cm_fleet_ca_pem(const struct cm_fleet *f)
{
    return cm_span(f->ca_pem, f->ca_pem_len);
}

int cm_fleet_fd(const struct cm_fleet *f)
{
    return f->fd;
}

int cm_fleet_side_fd(const struct cm_fleet *f, enum cm_fleet_side side)
{
    return f->side_fd[side];
}

bool cm_fleet_key_purged(const struct cm_fleet *f, const struct cm_row *row)
{
    return row->has_key && row->key.number < f->journal.purged_before;
}

/* All that there ever were. */
static bool all_purged(const struct cm_journal_state *j)
{
    return j->units > 0 && j->unit[j->units - 1].number < j->purged_before;
}

cm_err cm_fleet_need_keys(const struct cm_fleet *f, struct cm_error *err)
{
    if (!f->run.keys || f->side_fd[CM_FLEET_KEYS] >= 0 || all_purged(&f->journal))
        return CM_OK;
    if (f->keys_errno == ENOENT || f->keys_errno == ENOTDIR)
        CM_FAIL(err, CM_E_INPUT, "the keys of %s are not in %s; say where they are with --keys DIR", f->path,
                f->keys_path);
    errno = f->keys_errno;
    CM_FAIL(err, CM_E_IO, "can't open the directory of the keys of %s, %s", f->path, f->keys_path);
}

const struct cm_journal_state *cm_fleet_journal(const struct cm_fleet *f)
{
    return &f->journal;
}

uint64_t cm_fleet_manifest_size(const struct cm_fleet *f)
{
    return f->manifest_size;
}

uint64_t cm_fleet_manifest_bytes(const struct cm_fleet *f)
{
    return f->manifest_bytes;
}

cm_err cm_fleet_grow(struct cm_fleet *f, uint64_t manifest_bytes, struct cm_error *err)
{
    CM_ASSERT(manifest_bytes >= f->manifest_bytes);
    f->journal.manifest_bytes = manifest_bytes;
    cm_fd_close(&f->manifest_fd); /* it may not have been there */
    return open_manifest(f, err);
}

cm_err cm_fleet_manifest_read(const struct cm_fleet *f, void *buf, size_t len, uint64_t offset, size_t *got,
                              struct cm_error *err)
{
    const uint64_t left = offset < f->manifest_bytes ? f->manifest_bytes - offset : 0;

    return cm_read_at(f->manifest_fd, "manifest.ndjson", buf, len < left ? len : (size_t) left, offset, got,
                      err);
}

cm_err cm_fleet_file_open(const struct cm_fleet *f, enum cm_fleet_side side, const char *name, bool part_ok,
                          struct cm_fleet_file *out, struct cm_error *err)
{
    const char *const dir = side == CM_FLEET_KEYS ? f->keys_path : "chains";
    const bool unclean = f->run.state == CM_FLEET_OPEN || f->run.state == CM_FLEET_FAILED;
    struct cm_fleet_file file = { .fd = -1 };
    char part[CM_ROW_NAME_MAX + 32];
    struct stat st;

    cm_err rc = open_regular(f->side_fd[side], dir, name, &file.fd, &st, err);
    if (rc == CM_E_END && part_ok && unclean) {
        (void) snprintf(part, sizeof part, "%s.part", name);
        file.part = true;
        rc = open_regular(f->side_fd[side], dir, part, &file.fd, &st, err);
        if (rc == CM_E_END) { /* a run that goes on has just given it its final name */
            file.part = false;
            rc = open_regular(f->side_fd[side], dir, name, &file.fd, &st, err);
        }
    }
    CM_TRY(rc);
    file.size = (uint64_t) st.st_size;
    file.mode = st.st_mode & 07777;
    *out = file;
    return CM_OK;
}
