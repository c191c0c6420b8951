#include "io/purge.h"

#include "io/file.h"
#include "io/sys.h"

#include <dirent.h>
#include <errno.h>

/* Overwrites one file and removes it. */
static cm_err purge_file(int dirfd, const char *dir, const char *name, struct cm_purge_result *out,
                         struct cm_error *err)
{
    static const uint8_t zeros[64 << 10];
    char path[600];
    struct stat st = { 0 };
    int fd = -1;
    cm_err rc = CM_OK;

    (void) snprintf(path, sizeof path, "%.300s/%.256s", dir, name);
    CM_TRY(cm_file_open_write(dirfd, dir, name, &fd, err));
    if (fstat(fd, &st) != 0)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't look at %s", path);
    for (off_t at = 0; rc == CM_OK && at < st.st_size; at += (off_t) sizeof zeros) {
        const off_t left = st.st_size - at;
        rc = cm_file_write(fd, path, zeros, left < (off_t) sizeof zeros ? (size_t) left : sizeof zeros,
                           (uint64_t) at, err);
    }
    if (rc == CM_OK)
        rc = cm_file_sync(fd, path, err);
    cm_fd_close(&fd);
    CM_TRY(rc);
    if (cm_sys_unlinkat(dirfd, name, 0) != 0)
        CM_FAIL(err, CM_E_IO, "can't remove %s", path);
    out->bytes += (uint64_t) st.st_size;
    return CM_OK;
}

typedef cm_err on_name(const struct cm_purge_conf *conf, int fd, const char *dir, const char *name,
                       struct cm_purge_result *out, struct cm_error *err);

/* Each name in a directory; a name may go while it is at hand. */
static cm_err each_name(const struct cm_purge_conf *conf, int fd, const char *path, on_name *take,
                        struct cm_purge_result *out, struct cm_error *err)
{
    const struct dirent *e = NULL;
    int copy = cm_sys_openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
    cm_err rc = CM_OK;

    if (dir == NULL) {
        cm_fd_close(&copy);
        CM_FAIL(err, CM_E_IO, "can't list the directory %s", path);
    }
    errno = 0;
    while (rc == CM_OK && (e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            rc = take(conf, fd, path, e->d_name, out, err);
        errno = 0;
    }
    if (rc == CM_OK && errno != 0)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't list the directory %s", path);
    (void) closedir(dir);
    return rc;
}

static cm_err take_shard_file(const struct cm_purge_conf *conf, int fd, const char *dir, const char *name,
                              struct cm_purge_result *out, struct cm_error *err)
{
    (void) conf;
    return purge_file(fd, dir, name, out, err);
}

static cm_err purge_shard(const struct cm_purge_conf *conf, const char *name, struct cm_purge_result *out,
                          struct cm_error *err)
{
    char path[600];
    int fd = cm_sys_openat(conf->fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);

    (void) snprintf(path, sizeof path, "%.300s/%.250s", conf->path, name);
    if (fd < 0)
        CM_FAIL(err, CM_E_IO, "can't open the directory %s", path);
    cm_err rc = each_name(conf, fd, path, take_shard_file, out, err);
    cm_fd_close(&fd);
    if (rc == CM_OK && cm_sys_unlinkat(conf->fd, name, AT_REMOVEDIR) != 0)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't remove the directory %s", path);
    return rc;
}

/* "000012.tar", "000012": its number. */
static bool is_unit(const struct cm_purge_conf *conf, const char *name, uint32_t *number)
{
    const unsigned long long n = strtoull(name, NULL, 10);
    char again[32];

    (void) snprintf(again, sizeof again, conf->tree ? "%06llu" : "%06llu.tar", n);
    *number = (uint32_t) n;
    return n <= UINT32_MAX && strcmp(name, again) == 0;
}

static cm_err take_unit(const struct cm_purge_conf *conf, int fd, const char *dir, const char *name,
                        struct cm_purge_result *out, struct cm_error *err)
{
    uint32_t number = 0;

    if (!is_unit(conf, name, &number) || number >= conf->before) {
        if (out->foreign++ == 0)
            (void) snprintf(out->first_foreign, sizeof out->first_foreign, "%s", name);
        return CM_OK;
    }
    CM_TRY(conf->tree ? purge_shard(conf, name, out, err) : purge_file(fd, dir, name, out, err));
    out->units++;
    return CM_OK;
}

cm_err cm_purge(const struct cm_purge_conf *conf, struct cm_purge_result *out, struct cm_error *err)
{
    *out = (struct cm_purge_result) { 0 };
    CM_TRY(each_name(conf, conf->fd, conf->path, take_unit, out, err));
    return cm_dir_sync(conf->fd, conf->path, err);
}
