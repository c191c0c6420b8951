#include "tests/faults/lost.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct range {
    ino_t ino;
    uint64_t offset;
    size_t len;
    char *path;
};

static struct {
    pthread_mutex_t lock;
    struct range *range;
    size_t ranges, room;
} dirty = { .lock = PTHREAD_MUTEX_INITIALIZER };

static ino_t inode_of(int fd)
{
    struct stat st;

    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

void cm_lost_note(int fd, const char *path, size_t len, uint64_t offset)
{
    (void) pthread_mutex_lock(&dirty.lock);
    if (dirty.ranges == dirty.room) {
        dirty.room = dirty.room * 2 + 64;
        dirty.range = realloc(dirty.range, dirty.room * sizeof *dirty.range);
        if (dirty.range == NULL)
            abort();
    }
    dirty.range[dirty.ranges++] =
        (struct range) { .ino = inode_of(fd), .offset = offset, .len = len, .path = strdup(path) };
    (void) pthread_mutex_unlock(&dirty.lock);
}

/* A file that was renamed or removed meanwhile is left alone. */
static void zero(const struct range *r)
{
    const int fd = open(r->path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    void *zeros = calloc(1, r->len);

    if (fd >= 0 && zeros != NULL && inode_of(fd) == r->ino &&
        pwrite(fd, zeros, r->len, (off_t) r->offset) != (ssize_t) r->len)
        (void) fprintf(stderr, "CERTMILL_FAULTS: could not lose what was written to %s\n", r->path);
    if (fd >= 0)
        (void) close(fd);
    free(zeros);
}

static void forget(int fd, int whole_fs, int lose)
{
    const ino_t ino = inode_of(fd);
    size_t kept = 0;

    (void) pthread_mutex_lock(&dirty.lock);
    for (size_t i = 0; i < dirty.ranges; i++) {
        if (!whole_fs && dirty.range[i].ino != ino) {
            dirty.range[kept++] = dirty.range[i];
            continue;
        }
        if (lose)
            zero(&dirty.range[i]);
        free(dirty.range[i].path);
    }
    dirty.ranges = kept;
    (void) pthread_mutex_unlock(&dirty.lock);
}

void cm_lost_synced(int fd, int whole_fs)
{
    forget(fd, whole_fs, 0);
}

void cm_lost_zero(int fd, int whole_fs)
{
    forget(fd, whole_fs, 1);
}
