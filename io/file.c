#include "io/file.h"
#include "io/sys.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

void cm_fd_close(int *fd)
{
    const int os = errno; /* callers close on the way to their message */

    if (*fd >= 0)
        (void) close(*fd);
    *fd = -1;
    errno = os;
}

/* "; what to do" for the errors that an operator can mend. */
static const char *advice(int os)
{
    switch (os) {
    case ENOSPC:
        return " (the disk is full: free space)";
    case EDQUOT:
        return " (the disk quota is used up)";
    case EMFILE:
        return " (raise RLIMIT_NOFILE: ulimit -n)";
    case EFBIG:
        return " (raise RLIMIT_FSIZE: ulimit -f)";
    default:
        return "";
    }
}

cm_err cm_dir_open(const char *path, int *out, struct cm_error *err)
{
    const int fd = cm_sys_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);

    if (fd < 0)
        CM_FAIL(err, CM_E_IO, "can't open directory %s%s", path, advice(errno));
    *out = fd;
    return CM_OK;
}

cm_err cm_dir_make(int dirfd, const char *dir, const char *name, mode_t mode, int *out, struct cm_error *err)
{
    int fd = -1;

    if (cm_sys_mkdirat(dirfd, name, mode) != 0)
        CM_FAIL(err, CM_E_IO, "can't make directory %s/%s%s", dir, name, advice(errno));
    fd = cm_sys_openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0)
        CM_FAIL(err, CM_E_IO, "can't open directory %s/%s%s", dir, name, advice(errno));
    if (cm_sys_fchmod(fd, mode) != 0) {
        cm_fd_close(&fd);
        CM_FAIL(err, CM_E_IO, "can't set the mode of %s/%s", dir, name);
    }
    *out = fd;
    return CM_OK;
}

cm_err cm_file_create(int dirfd, const char *dir, const char *name, int flags, mode_t mode, int *out,
                      struct cm_error *err)
{
    int fd = cm_sys_openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW | flags, mode);

    if (fd < 0)
        CM_FAIL(err, CM_E_IO, "can't create %s/%s%s", dir, name, advice(errno));
    /* The umask can only have taken bits away, so the file was never wider than asked. */
    if (cm_sys_fchmod(fd, mode) != 0) {
        cm_fd_close(&fd);
        CM_FAIL(err, CM_E_IO, "can't set the mode of %s/%s", dir, name);
    }
    *out = fd;
    return CM_OK;
}

cm_err cm_file_open_write(int dirfd, const char *dir, const char *name, int *out, struct cm_error *err)
{
    struct stat st;
    int fd = cm_sys_openat(dirfd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);

    if (fd < 0 || fstat(fd, &st) != 0) {
        cm_fd_close(&fd);
        CM_FAIL(err, CM_E_IO, "can't open %s/%s%s", dir, name, advice(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        cm_fd_close(&fd);
        CM_FAIL(err, CM_E_INPUT, "%s/%s is not a regular file", dir, name);
    }
    *out = fd;
    return CM_OK;
}

int cm_write_errno(int os, uint64_t end)
{
    struct rlimit limit;

    if (os == EINVAL && getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        end > limit.rlim_cur)
        return EFBIG;
    return os;
}

cm_err cm_file_write(int fd, const char *path, const void *data, size_t len, uint64_t offset,
                     struct cm_error *err)
{
    const uint8_t *p = data;
    unsigned tries = 0;

    while (len > 0) {
        const ssize_t n = cm_sys_pwrite(fd, p, len, (off_t) offset);
        if (n < 0 && errno == EINTR && ++tries < CM_EINTR_TRIES)
            continue;
        if (n <= 0) {
            errno = cm_write_errno(n == 0 ? ENOSPC : errno, offset + len);
            CM_FAIL(err, CM_E_IO, "can't write %s%s", path, advice(errno));
        }
        p += n;
        len -= (size_t) n;
        offset += (uint64_t) n;
    }
    return CM_OK;
}

cm_err cm_file_sync(int fd, const char *path, struct cm_error *err)
{
    if (cm_sys_fdatasync(fd) != 0)
        CM_FAIL(err, CM_E_IO, "can't make %s durable%s", path, advice(errno));
    return CM_OK;
}

cm_err cm_dir_sync(int fd, const char *path, struct cm_error *err)
{
    if (cm_sys_fsync(fd) != 0)
        CM_FAIL(err, CM_E_IO, "can't make the names in %s durable%s", path, advice(errno));
    return CM_OK;
}

cm_err cm_file_truncate(int fd, const char *path, uint64_t len, struct cm_error *err)
{
    if (cm_sys_ftruncate(fd, (off_t) len) != 0)
        CM_FAIL(err, CM_E_IO, "can't cut %s to %llu octets", path, (unsigned long long) len);
    return CM_OK;
}

cm_err cm_rename_new(int dirfd, const char *dir, const char *from, const char *to, struct cm_error *err)
{
    if (cm_sys_renameat2(dirfd, from, to, RENAME_NOREPLACE) == 0)
        return CM_OK;
    if (errno == EINVAL || errno == ENOSYS) { /* a file system without RENAME_NOREPLACE */
        if (faccessat(dirfd, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
            errno = EEXIST;
        else if (cm_sys_renameat2(dirfd, from, to, 0) == 0)
            return CM_OK;
    }
    CM_FAIL(err, CM_E_IO, "can't rename %s/%s to %s", dir, from, to);
}

cm_err cm_file_replace(int dirfd, const char *dir, const char *name, struct cm_span data, mode_t mode,
                       struct cm_error *err)
{
    char part[64], path[512];
    int fd = -1;
    cm_err rc = CM_OK;

    (void) snprintf(part, sizeof part, "%s.part", name);
    (void) snprintf(path, sizeof path, "%s/%s", dir, part);
    /* Whatever bears this name was never finished. */
    (void) cm_sys_unlinkat(dirfd, part, 0);
    CM_TRY(cm_file_create(dirfd, dir, part, 0, mode, &fd, err));
    rc = cm_file_write(fd, path, data.data, data.len, 0, err);
    if (rc == CM_OK)
        rc = cm_file_sync(fd, path, err);
    if (cm_sys_close(fd) != 0 && rc == CM_OK)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't write %s", path);
    CM_POINT("file.replace");
    if (rc == CM_OK && cm_sys_renameat2(dirfd, part, name, 0) != 0)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't rename %s to %s", path, name);
    if (rc != CM_OK) {
        (void) cm_sys_unlinkat(dirfd, part, 0);
        return rc;
    }
    CM_POINT("file.replaced");
    return cm_dir_sync(dirfd, dir, err);
}

cm_err cm_file_wipe(int fd, const char *path, uint64_t from, uint64_t end, struct cm_error *err)
{
    static const uint8_t zeros[64 << 10];

    for (uint64_t at = from; at < end; at += sizeof zeros)
        CM_TRY(cm_file_write(fd, path, zeros, end - at < sizeof zeros ? (size_t) (end - at) : sizeof zeros,
                             at, err));
    return CM_OK;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

cm_err cm_dir_each(int dirfd, const char *name, const char *shown, cm_dir_on_name *take, void *arg,
                   struct cm_error *err)
{
    int fd = cm_sys_openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *e = NULL;
    cm_err rc = CM_OK;

    if (dir == NULL) {
        cm_fd_close(&fd);
        CM_FAIL(err, CM_E_IO, "can't list the directory %s", shown);
    }
    errno = 0;
    while (rc == CM_OK && (e = readdir(dir)) != NULL) {
        if (!is_dots(e->d_name))
            rc = take(arg, e->d_name, err);
        errno = 0;
    }
    if (rc == CM_OK && errno != 0)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't list the directory %s", shown);
    (void) closedir(dir);
    return rc;
}

/* Overwrites a file that is about to be unlinked. What the device keeps of old
 * blocks is beyond a program's reach. */
static cm_err wipe_file(int dirfd, const char *dir, const char *name, struct cm_error *err)
{
    char path[600];
    struct stat st;
    int fd = -1;

    (void) snprintf(path, sizeof path, "%.300s/%.256s", dir, name);
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        CM_FAIL(err, CM_E_IO, "can't look at %s", path);
    if (!S_ISREG(st.st_mode))
        return CM_OK; /* nothing of a run */
    CM_TRY(cm_file_open_write(dirfd, dir, name, &fd, err));
    const cm_err rc = cm_file_wipe(fd, path, 0, (uint64_t) st.st_size, err);
    cm_fd_close(&fd);
    return rc;
}

/* Overwrites all files, and only when that has reached the disk may they go: an unlinked
 * file's pages are never written. */
static cm_err wipe_dir(DIR *d, const char *path, struct cm_error *err)
{
    const struct dirent *e = NULL;

    while ((e = readdir(d)) != NULL)
        if (!is_dots(e->d_name))
            CM_TRY(wipe_file(dirfd(d), path, e->d_name, err));
    if (cm_sys_syncfs(dirfd(d)) != 0)
        CM_FAIL(err, CM_E_IO, "can't make durable that the keys in %s are overwritten", path);
    CM_POINT("keys.wiped");
    rewinddir(d);
    return CM_OK;
}

cm_err cm_dir_discard(int parent, const char *dir, const char *name, bool wipe, struct cm_error *err)
{
    const struct dirent *e = NULL;
    int fd = cm_sys_openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW, 0);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    char path[512];
    cm_err rc = CM_OK;

    if (fd < 0 && errno == ENOENT)
        return CM_OK;
    (void) snprintf(path, sizeof path, "%.250s/%.250s", dir, name);
    if (d == NULL) {
        cm_fd_close(&fd);
        CM_FAIL(err, CM_E_IO, "can't open %s", path);
    }
    if (wipe)
        rc = wipe_dir(d, path, err);
    while (rc == CM_OK && (e = readdir(d)) != NULL)
        if (!is_dots(e->d_name) && cm_sys_unlinkat(fd, e->d_name, 0) != 0)
            rc = cm_fail(err, CM_E_IO, CM_HERE, "can't remove %s/%s", path, e->d_name);
    (void) closedir(d);
    if (rc == CM_OK && cm_sys_unlinkat(parent, name, AT_REMOVEDIR) != 0)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't remove %s", path);
    return rc;
}

bool cm_file_direct(int fd)
{
#ifdef STATX_DIOALIGN
    struct statx st;
    const int flags = fcntl(fd, F_GETFL);
    const bool fits = statx(fd, "", AT_EMPTY_PATH, STATX_DIOALIGN, &st) == 0 &&
                      (st.stx_mask & STATX_DIOALIGN) != 0 && st.stx_dio_mem_align != 0 &&
                      st.stx_dio_offset_align != 0 && st.stx_dio_mem_align <= 4096 &&
                      st.stx_dio_offset_align <= 4096;

    return flags >= 0 && fits && fcntl(fd, F_SETFL, flags | O_DIRECT) == 0;
#else
    (void) fd;
    return false;
#endif
}

cm_err cm_file_buffered(int fd, const char *path, struct cm_error *err)
{
    const int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || ((flags & O_DIRECT) != 0 && fcntl(fd, F_SETFL, flags & ~O_DIRECT) != 0))
        CM_FAIL(err, CM_E_IO, "can't go back to buffered writes of %s", path);
    return CM_OK;
}

const char *cm_file_system_doubt(int fd)
{
    /* linux/magic.h has the first three; the others are not in every version of it. */
    static const struct {
        uint32_t magic;
        const char *name;
    } doubtful[] = { { NFS_SUPER_MAGIC, "NFS" }, { TMPFS_MAGIC, "tmpfs" }, { SMB_SUPER_MAGIC, "SMB" },
                     { 0xff534d42, "CIFS" },     { 0xfe534d42, "SMB" },    { 0x65735546, "FUSE" },
                     { 0x01021997, "9p" },       { 0x858458f6, "ramfs" } };
    struct statfs fs;

    if (fstatfs(fd, &fs) != 0)
        return NULL;
    for (size_t i = 0; i < CM_COUNT(doubtful); i++)
        if ((uint32_t) fs.f_type == doubtful[i].magic)
            return doubtful[i].name;
    return NULL;
}
