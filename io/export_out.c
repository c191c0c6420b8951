#include "io/export_impl.h"

#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER = 256 << 10, NAME = 256 };

/* One file after the other is written; all are renamed at the end. */
struct cm_export_out {
    char *dir;                        /* "." or what stands before the last slash; NULL: stdout */
    const char *path, *name, *beside; /* as given; its last part; suffix of the file beside */
    uint64_t files, all;              /* of rows; with the one beside */
    uint64_t begun;                   /* files begun, the one at hand included */
    bool published;
    int dir_fd, fd;
    uint64_t bytes;
    struct cm_writer buffer;
};

/* "things.ndjson", "things-002-of-005.ndjson", "things.template.json". */
static void name_of(const struct cm_export_out *o, uint64_t i, char out[NAME])
{
    const char *dot = strrchr(o->name, '.');
    const int stem = dot != NULL && dot != o->name ? (int) (dot - o->name) : (int) strlen(o->name);

    if (i == o->files)
        (void) snprintf(out, NAME, "%.*s%s", stem, o->name, o->beside);
    else if (o->files == 1)
        (void) snprintf(out, NAME, "%s", o->name);
    else
        (void) snprintf(out, NAME, "%.*s-%03llu-of-%03llu%s", stem, o->name, (unsigned long long) i + 1,
                        (unsigned long long) o->files, o->name + stem);
}

static void part_of(const struct cm_export_out *o, uint64_t i, char out[NAME + 8])
{
    char name[NAME];

    name_of(o, i, name);
    (void) snprintf(out, NAME + 8, "%s.part", name);
}

static cm_err must_be_new(const struct cm_export_out *o, const char *name, const char *hint,
                          struct cm_error *err)
{
    struct stat st;

    if (fstatat(o->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        CM_FAIL(err, CM_E_USAGE, "%s/%s exists already%s", o->dir, name, hint);
    return CM_OK;
}

static cm_err check_names(const struct cm_export_out *o, struct cm_error *err)
{
    char name[NAME], part[NAME + 8];

    for (uint64_t i = 0; i < o->all; i++) {
        name_of(o, i, name);
        part_of(o, i, part);
        CM_TRY(must_be_new(o, name, "; remove it or choose another --out", err));
        CM_TRY(must_be_new(o, part, ": an export is under way, or was killed; then remove it", err));
    }
    return CM_OK;
}

static cm_err open_dir(struct cm_export_out *o, const char *path, struct cm_error *err)
{
    const char *const slash = strrchr(path, '/');

    o->path = path;
    o->name = slash != NULL ? slash + 1 : path;
    o->dir = slash == NULL   ? strdup(".")
             : slash == path ? strdup("/")
                             : strndup(path, (size_t) (slash - path));
    if (o->dir == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for %s", path);
    if (o->name[0] == '\0' || strcmp(o->name, ".") == 0 || strcmp(o->name, "..") == 0)
        CM_FAIL(err, CM_E_USAGE, "--out %s is no name of a file", path);
    if (strlen(o->name) > NAME - 64)
        CM_FAIL(err, CM_E_USAGE, "--out %s: the name is too long", path);
    const cm_err rc = cm_dir_open(o->dir, &o->dir_fd, err);
    if (rc == CM_E_IO && err != NULL && err->os == ENOENT)
        CM_FAIL(err, CM_E_USAGE, "--out %s: there is no directory %s; make it first", path, o->dir);
    CM_TRY(rc);
    return check_names(o, err);
}

cm_err cm_export_out_open(const char *path, uint64_t files, const char *beside_suffix,
                          struct cm_export_out **out, struct cm_error *err)
{
    struct cm_export_out *o = calloc(1, sizeof *o);

    if (o == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the export");
    *o = (struct cm_export_out) { .files = files,
                                  .all = files + (beside_suffix != NULL),
                                  .beside = beside_suffix,
                                  .dir_fd = -1,
                                  .fd = path == NULL ? STDOUT_FILENO : -1,
                                  .buffer = cm_writer(malloc(BUFFER), BUFFER) };
    cm_err rc = CM_OK;
    if (o->buffer.data == NULL)
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for the export");
    else if (path != NULL)
        rc = open_dir(o, path, err);
    if (rc != CM_OK)
        cm_export_out_close(o);
    else
        *out = o;
    return rc;
}

static cm_err fail_write(const struct cm_export_out *o, struct cm_error *err)
{
    char part[NAME + 8];
    const int os = errno;

    if (o->dir == NULL)
        CM_FAIL(err, CM_E_IO, "can't write to stdout");
    part_of(o, o->begun - 1, part);
    errno = os;
    CM_FAIL(err, CM_E_IO, "can't write %s/%s; nothing of the export is left", o->dir, part);
}

static cm_err write_all(const struct cm_export_out *o, struct cm_span data, struct cm_error *err)
{
    int interrupted = 0;

    while (data.len > 0) {
        const ssize_t n = write(o->fd, data.data, data.len);
        if (n < 0 && errno == EINTR && interrupted++ < CM_EINTR_TRIES)
            continue;
        if (n <= 0)
            return fail_write(o, err);
        data = cm_span(data.data + n, data.len - (size_t) n);
    }
    return CM_OK;
}

static cm_err flush(struct cm_export_out *o, struct cm_error *err)
{
    const struct cm_span data = cm_span(o->buffer.data, o->buffer.len);

    o->buffer.len = 0;
    return write_all(o, data, err);
}

cm_err cm_export_out_put(struct cm_export_out *o, struct cm_span text, struct cm_error *err)
{
    o->bytes += text.len;
    if (text.len > o->buffer.cap - o->buffer.len)
        CM_TRY(flush(o, err));
    if (text.len > o->buffer.cap)
        return write_all(o, text, err);
    cm_put_span(&o->buffer, text);
    return CM_OK;
}

/* The file at hand is whole. */
static cm_err finish(struct cm_export_out *o, struct cm_error *err)
{
    char part[NAME + 8];

    if (o->begun == 0)
        return CM_OK;
    CM_TRY(flush(o, err));
    if (o->dir == NULL)
        return CM_OK;
    part_of(o, o->begun - 1, part);
    CM_TRY(cm_file_sync(o->fd, part, err));
    const int fd = o->fd;
    o->fd = -1;
    return close(fd) == 0 ? CM_OK : fail_write(o, err);
}

cm_err cm_export_out_next(struct cm_export_out *o, struct cm_error *err)
{
    char part[NAME + 8];

    CM_TRY(finish(o, err));
    CM_ASSERT(o->begun < o->all);
    if (o->dir != NULL) {
        part_of(o, o->begun, part);
        CM_TRY(cm_file_create(o->dir_fd, o->dir, part, 0, 0644, &o->fd, err));
    }
    o->begun++;
    return CM_OK;
}

uint64_t cm_export_out_bytes(const struct cm_export_out *o)
{
    return o->bytes;
}

/* Never over another file; where the file system can't promise that (NFS), what check_names saw has to do. */
static int rename_new(int dirfd, const char *from, const char *to)
{
    const int rc = renameat2(dirfd, from, dirfd, to, RENAME_NOREPLACE);

    return rc != 0 && errno == EINVAL ? renameat(dirfd, from, dirfd, to) : rc;
}

/* When one fails, those before it lose their names again: the set is not whole. */
static cm_err rename_all(struct cm_export_out *o, struct cm_error *err)
{
    char name[NAME], part[NAME + 8];

    for (uint64_t i = 0; i < o->all; i++) {
        name_of(o, i, name);
        part_of(o, i, part);
        if (rename_new(o->dir_fd, part, name) == 0)
            continue;
        const cm_err rc = errno == EEXIST ? CM_E_USAGE : CM_E_IO;
        (void) cm_fail(err, rc, CM_HERE, "can't rename %s/%s to %s%s", o->dir, part, name,
                       rc == CM_E_USAGE ? ": a file of that name has come meanwhile" : "");
        while (i-- > 0) {
            name_of(o, i, name);
            part_of(o, i, part);
            (void) renameat(o->dir_fd, name, o->dir_fd, part);
        }
        return rc;
    }
    return CM_OK;
}

cm_err cm_export_out_publish(struct cm_export_out *o, struct cm_export_result *result, struct cm_error *err)
{
    CM_ASSERT(o->begun == o->all);
    CM_TRY(finish(o, err));
    result->bytes = o->bytes;
    if (o->dir == NULL)
        return CM_OK;
    result->path = calloc(o->all, sizeof *result->path);
    if (result->path == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the names of the files");
    for (uint64_t i = 0; i < o->all; i++) {
        char name[NAME];
        name_of(o, i, name);
        (void) snprintf(result->path[i], sizeof result->path[i], "%.*s%s", (int) (o->name - o->path), o->path,
                        name);
    }
    CM_TRY(rename_all(o, err));
    o->published = true;
    result->files = o->all;
    return cm_dir_sync(o->dir_fd, o->dir, err);
}

void cm_export_out_close(struct cm_export_out *o)
{
    char part[NAME + 8];

    if (o == NULL)
        return;
    if (o->dir != NULL)
        cm_fd_close(&o->fd);
    for (uint64_t i = 0; o->dir != NULL && !o->published && i < o->begun; i++) {
        part_of(o, i, part);
        (void) unlinkat(o->dir_fd, part, 0);
    }
    cm_fd_close(&o->dir_fd);
    free(o->buffer.data);
    free(o->dir);
    free(o);
}
