#include "io/sys.h"

#include "tests/faults/lost.h"
#include "tests/faults/plan.h"
#include "tests/faults/points.h"
#include "tests/faults/record.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* cm_sys_*: the call itself, unless the plan says otherwise. */

enum { MAX_HELD = 4096 };

/* What this thread's last cm_sys_pwrite wrote: cm_sys_result tells by it a blocking
 * write, which is in the record already, from a ring's. */
static _Thread_local const void *written;

static void path_of_fd(int fd, char out[PATH_MAX])
{
    char link[40];

    (void) snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(link, out, PATH_MAX - 1);
    out[n > 0 ? n : 0] = '\0';
}

static void path_of(int dirfd, const char *name, char out[PATH_MAX])
{
    char dir[PATH_MAX] = "";

    if (name[0] == '/') {
        (void) snprintf(out, PATH_MAX, "%s", name);
        return;
    }
    if (dirfd != AT_FDCWD)
        path_of_fd(dirfd, dir);
    else if (getcwd(dir, sizeof dir) == NULL)
        dir[0] = '\0';
    if (strcmp(name, ".") == 0)
        (void) snprintf(out, PATH_MAX, "%s", dir);
    else
        (void) snprintf(out, PATH_MAX, "%.2000s/%.2000s", dir, name);
}

static bool fails(struct cm_verdict v)
{
    if (v.fault == CM_FAULT_FAIL || v.fault == CM_FAULT_LOSE)
        errno = v.value;
    return v.fault == CM_FAULT_FAIL || v.fault == CM_FAULT_LOSE;
}

int cm_sys_openat(int dirfd, const char *name, int flags, mode_t mode)
{
    char path[PATH_MAX];

    path_of(dirfd, name, path);
    const struct cm_verdict v = cm_plan_decide(CM_EV_OPENAT, path);
    if (fails(v))
        return -1;
    const bool there = (flags & O_CREAT) == 0 || faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    const int fd = openat(dirfd, name, flags, mode);
    if (fd >= 0 && !there)
        cm_record_create(dirfd, name, path, false);
    cm_plan_after(v);
    return fd;
}

int cm_sys_mkdirat(int dirfd, const char *name, mode_t mode)
{
    char path[PATH_MAX];

    path_of(dirfd, name, path);
    const struct cm_verdict v = cm_plan_decide(CM_EV_MKDIRAT, path);
    if (fails(v))
        return -1;
    const int rc = mkdirat(dirfd, name, mode);
    if (rc == 0)
        cm_record_create(dirfd, name, path, true);
    cm_plan_after(v);
    return rc;
}

int cm_sys_fchmod(int fd, mode_t mode)
{
    char path[PATH_MAX];

    path_of_fd(fd, path);
    const struct cm_verdict v = cm_plan_decide(CM_EV_FCHMOD, path);
    if (fails(v))
        return -1;
    const int rc = fchmod(fd, mode);
    cm_plan_after(v);
    return rc;
}

ssize_t cm_sys_pread(int fd, void *buf, size_t len, off_t offset)
{
    char path[PATH_MAX];

    path_of_fd(fd, path);
    const struct cm_verdict v = cm_plan_decide(CM_EV_PREAD, path);
    if (fails(v))
        return -1;
    if (v.fault == CM_FAULT_SHORT)
        len = (size_t) cm_short_of(v.value, len);
    const ssize_t n = pread(fd, buf, len, offset);
    cm_plan_after(v);
    return n;
}

static void note_write(int fd, const char *path, const void *buf, size_t len, uint64_t offset)
{
    cm_record_write(fd, path, buf, len, offset);
    if (cm_plan_loses())
        cm_lost_note(fd, path, len, offset);
}

ssize_t cm_sys_pwrite(int fd, const void *buf, size_t len, off_t offset)
{
    char path[PATH_MAX];

    path_of_fd(fd, path);
    const struct cm_verdict v = cm_plan_decide(CM_EV_PWRITE, path);
    if (fails(v))
        return -1;
    if (v.fault == CM_FAULT_SHORT)
        len = (size_t) cm_short_of(v.value, len);
    const ssize_t n = len > 0 ? pwrite(fd, buf, len, offset) : 0;
    if (n > 0) {
        note_write(fd, path, buf, (size_t) n, (uint64_t) offset);
        written = buf;
    }
    cm_plan_after(v);
    return n;
}

enum sync_kind { SYNC_DATA, SYNC_FILE, SYNC_FS };

static int sync_fd(int fd, enum sync_kind kind)
{
    static const enum cm_event_kind event[] = { CM_EV_FDATASYNC, CM_EV_FSYNC, CM_EV_SYNCFS };
    char path[PATH_MAX];
    struct stat st = { 0 };
    int rc = 0;

    path_of_fd(fd, path);
    const struct cm_verdict v = cm_plan_decide(event[kind], path);
    if (fails(v)) {
        if (v.fault == CM_FAULT_LOSE)
            cm_lost_zero(fd, kind == SYNC_FS);
        errno = v.value;
        return -1;
    }
    if (fstat(fd, &st) != 0)
        return -1;
    const unsigned id = cm_record_sync_begin(kind == SYNC_FS       ? "fs"
                                             : S_ISDIR(st.st_mode) ? "dir"
                                                                   : "file",
                                             fd, path);
    rc = kind == SYNC_FS ? syncfs(fd) : kind == SYNC_DATA ? fdatasync(fd) : fsync(fd);
    if (rc == 0) {
        cm_record_sync_end(id);
        cm_lost_synced(fd, kind == SYNC_FS);
    }
    cm_plan_after(v);
    return rc;
}

int cm_sys_fdatasync(int fd)
{
    return sync_fd(fd, SYNC_DATA);
}

int cm_sys_fsync(int fd)
{
    return sync_fd(fd, SYNC_FILE);
}

int cm_sys_syncfs(int fd)
{
    return sync_fd(fd, SYNC_FS);
}

int cm_sys_ftruncate(int fd, off_t len)
{
    char path[PATH_MAX];

    path_of_fd(fd, path);
    const struct cm_verdict v = cm_plan_decide(CM_EV_FTRUNCATE, path);
    if (fails(v))
        return -1;
    const int rc = ftruncate(fd, len);
    if (rc == 0)
        cm_record_truncate(fd, path, (uint64_t) len);
    cm_plan_after(v);
    return rc;
}

int cm_sys_renameat2(int dirfd, const char *from, const char *to, unsigned flags)
{
    char path[PATH_MAX];

    path_of(dirfd, from, path);
    const struct cm_verdict v = cm_plan_decide(CM_EV_RENAMEAT2, path);
    if (fails(v))
        return -1;
    const int rc = flags == 0 ? renameat(dirfd, from, dirfd, to) : renameat2(dirfd, from, dirfd, to, flags);
    if (rc == 0)
        cm_record_rename(dirfd, from, to, path);
    cm_plan_after(v);
    return rc;
}

int cm_sys_unlinkat(int dirfd, const char *name, int flags)
{
    char path[PATH_MAX];

    path_of(dirfd, name, path);
    const struct cm_verdict v = cm_plan_decide(CM_EV_UNLINKAT, path);
    if (fails(v))
        return -1;
    const int rc = unlinkat(dirfd, name, flags);
    if (rc == 0)
        cm_record_unlink(dirfd, name, path);
    cm_plan_after(v);
    return rc;
}

int cm_sys_close(int fd)
{
    char path[PATH_MAX];

    path_of_fd(fd, path);
    const struct cm_verdict v = cm_plan_decide(CM_EV_CLOSE, path);
    const int rc = close(fd); /* a close that fails has closed all the same */
    if (fails(v))
        return -1;
    cm_plan_after(v);
    return rc;
}

/* Makes a short write true: what the kernel is said not to have taken becomes zeros.
 * The file may have grown past it by now and be written to elsewhere, so its length
 * is left alone. */
static void take_back(const struct cm_aio_req *req, const char *path, uint64_t from, uint64_t to)
{
    static const uint8_t zeros[65536];
    const int fd =
        open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW); /* not req->fd: that may be for direct I/O */

    for (uint64_t at = from; fd >= 0 && at < to;) {
        const size_t n = to - at < sizeof zeros ? (size_t) (to - at) : sizeof zeros;
        if (pwrite(fd, zeros, n, (off_t) (req->offset + req->done + at)) != (ssize_t) n)
            break;
        note_write(fd, path, zeros, n, req->offset + req->done + at);
        at += n;
    }
    if (fd >= 0)
        (void) close(fd);
}

int64_t cm_sys_result(const struct cm_aio_req *req, int64_t res)
{
    char path[PATH_MAX];
    const bool blocking = written == req->data + req->done;

    written = NULL;
    path_of_fd(req->fd, path);
    if (res > 0 && !blocking)
        note_write(req->fd, path, req->data + req->done, (size_t) res, req->offset + req->done);
    const struct cm_verdict v = cm_plan_decide(CM_EV_RESULT, path);
    if (v.fault == CM_FAULT_FAIL)
        return -v.value;
    if (v.fault == CM_FAULT_SHORT && res > 0) {
        const uint64_t kept = cm_short_of(v.value, (uint64_t) res);
        take_back(req, path, kept, (uint64_t) res);
        return (int64_t) kept;
    }
    cm_plan_after(v);
    return res;
}

/* --- completions, later and in another order; one ring a process ----------------- */

static struct {
    struct cm_aio_req *req;
    int res;
} held[MAX_HELD];
static unsigned held_count;

bool cm_sys_hold(struct cm_aio_req *req, int res)
{
    if (held_count == MAX_HELD || !cm_plan_hold())
        return false;
    held[held_count].req = req;
    held[held_count++].res = res;
    return true;
}

/* What is held comes back by chance, and surely when the kernel has nothing more. */
bool cm_sys_unhold(unsigned inflight, struct cm_aio_req **req, int *res)
{
    if (held_count == 0 || (held_count < inflight && cm_plan_hold()))
        return false;
    const unsigned i = cm_plan_pick(held_count);
    *req = held[i].req;
    *res = held[i].res;
    held[i] = held[--held_count];
    return true;
}

/* --- points and bounds ----------------------------------------------------------- */

void cm_sys_point(const char *name)
{
    bool known = false;

    for (size_t i = 0; cm_points[i] != NULL; i++)
        known = known || strcmp(cm_points[i], name) == 0;
    CM_ASSERT(known); /* tests/faults/points.h lists every point */
    cm_plan_after(cm_plan_decide(CM_EV_POINT, name));
}

uint64_t cm_sys_tune(const char *name, uint64_t value)
{
    return cm_plan_tune(name, value);
}
