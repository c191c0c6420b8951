#ifndef CM_IO_SYS_H
#define CM_IO_SYS_H

#include "io/aio.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* sys.h - the system calls by which a run changes or reads back its directory, in
 * one place, so that tests can make each of them fail, record it, or end the
 * process around it.
 *
 * The program has plain calls here and nothing else. Tests build io/ and cli/ a
 * second time with CM_FAULTS defined, and bring the functions themselves
 * (tests/faults/).
 *
 *  cm_sys_X         as the call X: result, errno
 *  cm_sys_result    the result of an asynchronous or blocking write, before
 *                   cm_aio_complete judges it
 *  cm_sys_hold, cm_sys_unhold
 *                   completions of a ring pass through these, so that a test may
 *                   hand them on later and in another order: hold keeps one;
 *                   unhold gives one back, always when all that is under way is kept
 *  CM_POINT(name)   a place with a name, where a test may kill the process;
 *                   tests/faults/points.h lists them
 *  CM_TUNE(name, v) v; a test may make bounds smaller
 */
#ifdef CM_FAULTS

int cm_sys_openat(int dirfd, const char *name, int flags, mode_t mode);
int cm_sys_mkdirat(int dirfd, const char *name, mode_t mode);
int cm_sys_fchmod(int fd, mode_t mode);
ssize_t cm_sys_pread(int fd, void *buf, size_t len, off_t offset);
ssize_t cm_sys_pwrite(int fd, const void *buf, size_t len, off_t offset);
int cm_sys_fdatasync(int fd);
int cm_sys_fsync(int fd);
int cm_sys_syncfs(int fd);
int cm_sys_ftruncate(int fd, off_t len);
int cm_sys_renameat2(int dirfd, const char *from, const char *to, unsigned flags); /* within one directory */
int cm_sys_unlinkat(int dirfd, const char *name, int flags);
int cm_sys_close(int fd);
int64_t cm_sys_result(const struct cm_aio_req *req, int64_t res);
bool cm_sys_hold(struct cm_aio_req *req, int res);
bool cm_sys_unhold(unsigned inflight, struct cm_aio_req **req, int *res);
void cm_sys_point(const char *name);
uint64_t cm_sys_tune(const char *name, uint64_t value);

#define CM_POINT(name) cm_sys_point(name)
#define CM_TUNE(name, value) cm_sys_tune(name, value)

#else

static inline int cm_sys_openat(int dirfd, const char *name, int flags, mode_t mode)
{
    return openat(dirfd, name, flags, mode);
}

static inline int cm_sys_mkdirat(int dirfd, const char *name, mode_t mode)
{
    return mkdirat(dirfd, name, mode);
}

static inline int cm_sys_fchmod(int fd, mode_t mode)
{
    return fchmod(fd, mode);
}

static inline ssize_t cm_sys_pread(int fd, void *buf, size_t len, off_t offset)
{
    return pread(fd, buf, len, offset);
}

static inline ssize_t cm_sys_pwrite(int fd, const void *buf, size_t len, off_t offset)
{
    return pwrite(fd, buf, len, offset);
}

static inline int cm_sys_fdatasync(int fd)
{
    return fdatasync(fd);
}

static inline int cm_sys_fsync(int fd)
{
    return fsync(fd);
}

static inline int cm_sys_syncfs(int fd)
{
    return syncfs(fd);
}

static inline int cm_sys_ftruncate(int fd, off_t len)
{
    return ftruncate(fd, len);
}

static inline int cm_sys_renameat2(int dirfd, const char *from, const char *to, unsigned flags)
{
    return flags == 0 ? renameat(dirfd, from, dirfd, to) : renameat2(dirfd, from, dirfd, to, flags);
}

static inline int cm_sys_unlinkat(int dirfd, const char *name, int flags)
{
    return unlinkat(dirfd, name, flags);
}

static inline int cm_sys_close(int fd)
{
    return close(fd);
}

static inline int64_t cm_sys_result(const struct cm_aio_req *req, int64_t res)
{
    (void) req;
    return res;
}

static inline bool cm_sys_hold(struct cm_aio_req *req, int res)
{
    (void) req;
    (void) res;
    return false;
}

static inline bool cm_sys_unhold(unsigned inflight, struct cm_aio_req **req, int *res)
{
    (void) inflight;
    (void) req;
    (void) res;
    return false;
}

#define CM_POINT(name) ((void) 0)
#define CM_TUNE(name, value) ((uint64_t) (value))

#endif

#endif
