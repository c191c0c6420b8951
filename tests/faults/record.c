#include "tests/faults/record.h"

#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static struct {
    pthread_mutex_t lock;
    FILE *log;
    char root[PATH_MAX];
    unsigned syncs;
} rec = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void die(const char *what)
{
    (void) fprintf(stderr, "CERTMILL_FAULTS: %s\n", what);
    _exit(2);
}

static uint64_t inode_of(int fd, const char *name)
{
    struct stat st;

    if ((name == NULL ? fstat(fd, &st) : fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW)) != 0)
        die("can't look at what is recorded");
    return st.st_ino;
}

void cm_record_open(const char *path, const char *root)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    rec.log = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (rec.log == NULL || realpath(root, rec.root) == NULL)
        die("can't open the record, or its root is missing");
    (void) fprintf(rec.log, "root %llu\n", (unsigned long long) inode_of(AT_FDCWD, root));
}

static bool recorded(const char *path)
{
    const size_t len = strlen(rec.root);

    return rec.log != NULL && strncmp(path, rec.root, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* One operation: a line, and the octets that belong to it. */
static void put(const void *data, size_t len, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

static void put(const void *data, size_t len, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void) pthread_mutex_lock(&rec.lock);
    (void) vfprintf(rec.log, fmt, ap);
    (void) fputc('\n', rec.log);
    if (len > 0)
        (void) fwrite(data, 1, len, rec.log);
    if (fflush(rec.log) != 0)
        die("can't write the record");
    (void) pthread_mutex_unlock(&rec.lock);
    va_end(ap);
}

static unsigned long long dir_of(int dirfd, const char *name)
{
    char dir[1024];

    if (strchr(name, '/') == NULL)
        return inode_of(dirfd, dirfd == AT_FDCWD ? "." : NULL);
    (void) snprintf(dir, sizeof dir, "%s", name);
    *strrchr(dir, '/') = '\0';
    return inode_of(dirfd, dir[0] == '\0' ? "/" : dir);
}

static const char *leaf_of(const char *name)
{
    const char *slash = strrchr(name, '/');

    return slash == NULL ? name : slash + 1;
}

void cm_record_create(int dirfd, const char *name, const char *path, bool directory)
{
    struct stat st;

    if (!recorded(path))
        return;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        die("can't look at what was made");
    put(NULL, 0, "%s %llu %s %llu %o", directory ? "mkdir" : "create", dir_of(dirfd, name), leaf_of(name),
        (unsigned long long) st.st_ino, (unsigned) st.st_mode & 07777);
}

void cm_record_write(int fd, const char *path, const void *data, size_t len, uint64_t offset)
{
    if (recorded(path))
        put(data, len, "write %llu %llu %zu", (unsigned long long) inode_of(fd, NULL),
            (unsigned long long) offset, len);
}

void cm_record_truncate(int fd, const char *path, uint64_t len)
{
    if (recorded(path))
        put(NULL, 0, "truncate %llu %llu", (unsigned long long) inode_of(fd, NULL), (unsigned long long) len);
}

void cm_record_rename(int dirfd, const char *from, const char *to, const char *path)
{
    if (recorded(path))
        put(NULL, 0, "rename %llu %s %s", dir_of(dirfd, from), leaf_of(from), leaf_of(to));
}

void cm_record_unlink(int dirfd, const char *name, const char *path)
{
    if (recorded(path))
        put(NULL, 0, "unlink %llu %s", dir_of(dirfd, name), leaf_of(name));
}

unsigned cm_record_sync_begin(const char *kind, int fd, const char *path)
{
    if (!recorded(path))
        return 0;
    (void) pthread_mutex_lock(&rec.lock);
    const unsigned id = ++rec.syncs;
    (void) pthread_mutex_unlock(&rec.lock);
    put(NULL, 0, "begin %u %s %llu", id, kind, (unsigned long long) inode_of(fd, NULL));
    return id;
}

void cm_record_sync_end(unsigned id)
{
    if (id != 0)
        put(NULL, 0, "end %u", id);
}
