#include "io/extsort.h"

#include "engine/bytes.h"
#include "io/file.h"
#include "io/readat.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    RUNS_MAX = 512,
    SMALL = 12, /* records that insertion sorts faster than counting */
};

/* A sorted run in the file, and the part of it that is in memory. */
struct run {
    uint64_t at, left; /* of what was not read yet: offset, records */
    uint8_t *slot;     /* room for slot_cap records */
    uint32_t have, used;
};

struct cm_extsort {
    char *dir, *path; /* path: what messages call the temporary file */
    size_t record_len;
    uint8_t *memory;
    size_t memory_len, cap, count; /* cap and count: records, while pushing */
    int fd;                        /* -1: nothing was spilled yet */
    uint64_t file_len;
    struct run run[RUNS_MAX];
    uint32_t runs;
    /* popping */
    bool popping, started;
    uint32_t slot_cap;
    uint16_t heap[RUNS_MAX]; /* runs by their current record, least first */
    uint32_t heap_len;
};

static void swap_records(uint8_t *a, uint8_t *b, size_t len)
{
    uint8_t held[CM_EXTSORT_RECORD_MAX];

    memcpy(held, a, len);
    memcpy(a, b, len);
    memcpy(b, held, len);
}

static void insertion_sort(uint8_t *base, size_t n, size_t len, size_t from)
{
    uint8_t held[CM_EXTSORT_RECORD_MAX];

    for (size_t i = 1; i < n; i++) {
        size_t j = i;
        memcpy(held, base + i * len, len);
        while (j > 0 && memcmp(base + (j - 1) * len + from, held + from, len - from) > 0) {
            memcpy(base + j * len, base + (j - 1) * len, len);
            j--;
        }
        memcpy(base + j * len, held, len);
    }
}

/* American flag sort (McIlroy, Bostic, McIlroy 1993) on octet `from`: in place and
 * without comparisons, because most of what is sorted here are hashes. Recursion is
 * at most record_len deep. */
static void radix_sort(uint8_t *base, size_t n, size_t len, size_t from)
{
    uint32_t begin[257] = { 0 }, next[256];

    if (n <= SMALL || from == len) {
        if (n > 1 && from < len)
            insertion_sort(base, n, len, from);
        return;
    }
    for (size_t i = 0; i < n; i++)
        begin[base[i * len + from] + 1]++;
    for (size_t c = 0; c < 256; c++)
        begin[c + 1] += begin[c];
    memcpy(next, begin, sizeof next);
    for (size_t c = 0; c < 256; c++) {
        while (next[c] < begin[c + 1]) {
            uint8_t *at = base + next[c] * len;
            const uint8_t home = at[from];
            if (home != c)
                swap_records(at, base + next[home] * len, len);
            next[home]++;
        }
    }
    for (size_t c = 0; c < 256; c++)
        radix_sort(base + begin[c] * len, begin[c + 1] - begin[c], len, from + 1);
}

static cm_err open_temporary(const char *dir, int *out, struct cm_error *err)
{
    char path[4096];
    int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    /* Not every file system knows O_TMPFILE (NFS, some FUSE and overlay mounts). */
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        const int n = snprintf(path, sizeof path, "%s/.certmill-sort-XXXXXX", dir);
        if (n < 0 || (size_t) n >= sizeof path)
            CM_FAIL(err, CM_E_LIMIT, "the path of the directory is too long: %.60s...", dir);
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0 && unlink(path) != 0) {
            (void) close(fd);
            CM_FAIL(err, CM_E_IO, "can't unlink the temporary file %s", path);
        }
    }
    if (fd < 0)
        CM_FAIL(err, CM_E_IO, "can't make a temporary file for sorting in %s", dir);
    *out = fd;
    return CM_OK;
}

static cm_err refill(struct cm_extsort *s, struct run *r, struct cm_error *err)
{
    const uint32_t n = r->left < s->slot_cap ? (uint32_t) r->left : s->slot_cap;
    const size_t len = n * s->record_len;
    size_t got = 0;

    CM_TRY(cm_read_at(s->fd, s->path, r->slot, len, r->at, &got, err));
    if (got < len) {
        errno = EIO;
        CM_FAIL(err, CM_E_IO, "%s is shorter than what was written to it", s->path);
    }
    r->at += len;
    r->left -= n;
    r->have = n;
    r->used = 0;
    return CM_OK;
}

static const uint8_t *current(const struct cm_extsort *s, uint32_t heap_index)
{
    const struct run *r = &s->run[s->heap[heap_index]];

    return r->slot + r->used * s->record_len;
}

static void sift_down(struct cm_extsort *s, uint32_t i)
{
    for (;;) {
        uint32_t least = i;
        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2 && child < s->heap_len; child++)
            if (memcmp(current(s, child), current(s, least), s->record_len) < 0)
                least = child;
        if (least == i)
            return;
        const uint16_t held = s->heap[i];
        s->heap[i] = s->heap[least];
        s->heap[least] = held;
        i = least;
    }
}

/* Shares `len` octets of the memory out among the runs and reads their beginnings. */
static cm_err merge_begin(struct cm_extsort *s, size_t len, struct cm_error *err)
{
    s->slot_cap = (uint32_t) (len / s->runs / s->record_len);
    CM_ASSERT(s->slot_cap > 0);
    s->heap_len = 0;
    for (uint32_t i = 0; i < s->runs; i++) {
        s->run[i].slot = s->memory + (size_t) i * s->slot_cap * s->record_len;
        CM_TRY(refill(s, &s->run[i], err));
        s->heap[s->heap_len++] = (uint16_t) i;
    }
    for (uint32_t i = s->heap_len / 2; i-- > 0;)
        sift_down(s, i);
    s->started = false;
    return CM_OK;
}

static cm_err merge_next(struct cm_extsort *s, const uint8_t **record, struct cm_error *err)
{
    if (s->started && s->heap_len > 0) {
        struct run *r = &s->run[s->heap[0]];
        if (++r->used == r->have && r->left > 0)
            CM_TRY(refill(s, r, err));
        else if (r->used == r->have)
            s->heap[0] = s->heap[--s->heap_len];
        sift_down(s, 0);
    }
    s->started = true;
    if (s->heap_len == 0)
        return CM_E_END;
    *record = current(s, 0);
    return CM_OK;
}

/* Merges every run into the file fd; the last eighth of the memory collects the output. */
static cm_err merge_into(struct cm_extsort *s, int fd, uint64_t *written, struct cm_error *err)
{
    const size_t out_cap = s->memory_len / 8;
    uint8_t *const out = s->memory + s->memory_len - out_cap;
    const uint8_t *record = NULL;
    size_t out_len = 0;
    cm_err rc = CM_OK;

    *written = 0;
    CM_TRY(merge_begin(s, s->memory_len - out_cap, err));
    while ((rc = merge_next(s, &record, err)) == CM_OK) {
        if (out_cap - out_len < s->record_len) {
            CM_TRY(cm_file_write(fd, s->path, out, out_len, *written, err));
            *written += out_len;
            out_len = 0;
        }
        memcpy(out + out_len, record, s->record_len);
        out_len += s->record_len;
    }
    if (rc != CM_E_END)
        return rc;
    CM_TRY(cm_file_write(fd, s->path, out, out_len, *written, err));
    *written += out_len;
    return CM_OK;
}

/* The table of runs is full: make one run of them all, in a new file. */
static cm_err compact(struct cm_extsort *s, struct cm_error *err)
{
    uint64_t written = 0;
    int fd = -1;

    CM_TRY(open_temporary(s->dir, &fd, err));
    const cm_err rc = merge_into(s, fd, &written, err);
    if (rc != CM_OK) {
        (void) close(fd);
        return rc;
    }
    (void) close(s->fd);
    s->fd = fd;
    s->file_len = written;
    s->runs = 1;
    s->run[0] = (struct run) { .left = written / s->record_len };
    return CM_OK;
}

static cm_err spill(struct cm_extsort *s, struct cm_error *err)
{
    const size_t len = s->count * s->record_len;

    if (s->fd < 0)
        CM_TRY(open_temporary(s->dir, &s->fd, err));
    radix_sort(s->memory, s->count, s->record_len, 0);
    CM_TRY(cm_file_write(s->fd, s->path, s->memory, len, s->file_len, err));
    s->run[s->runs++] = (struct run) { .at = s->file_len, .left = s->count };
    s->file_len += len;
    s->count = 0;
    return s->runs == RUNS_MAX ? compact(s, err) : CM_OK;
}

cm_err cm_extsort_open(const char *dir, size_t record_len, size_t memory, struct cm_extsort **out,
                       struct cm_error *err)
{
    struct cm_extsort *s = calloc(1, sizeof *s);

    CM_ASSERT(record_len > 0 && record_len <= CM_EXTSORT_RECORD_MAX);
    CM_ASSERT(memory >= CM_EXTSORT_MEMORY_MIN && memory <= UINT32_MAX);
    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for sorting");
    s->fd = -1;
    s->record_len = record_len;
    s->memory_len = memory;
    s->cap = memory / record_len;
    s->memory = malloc(memory);
    s->dir = strdup(dir);
    if (asprintf(&s->path, "the temporary file for sorting in %s", dir) < 0)
        s->path = NULL;
    if (s->memory == NULL || s->dir == NULL || s->path == NULL) {
        cm_extsort_close(s);
        CM_FAIL(err, CM_E_NOMEM, "out of memory for sorting: %zu octets", memory);
    }
    /* Taken whole now, so that memory use does not depend on how much is sorted. */
    memset(s->memory, 0, memory);
    *out = s;
    return CM_OK;
}

cm_err cm_extsort_push(struct cm_extsort *s, const void *record, struct cm_error *err)
{
    CM_ASSERT(!s->popping);
    if (s->count == s->cap)
        CM_TRY(spill(s, err));
    memcpy(s->memory + s->count * s->record_len, record, s->record_len);
    s->count++;
    return CM_OK;
}

cm_err cm_extsort_pop(struct cm_extsort *s, const uint8_t **record, struct cm_error *err)
{
    if (!s->popping) {
        if (s->runs == 0) {
            /* All in memory: one run without a file behind it. */
            radix_sort(s->memory, s->count, s->record_len, 0);
            s->run[0] = (struct run) { .slot = s->memory, .have = (uint32_t) s->count };
            s->heap_len = s->count > 0;
        } else {
            if (s->count > 0)
                CM_TRY(spill(s, err));
            CM_TRY(merge_begin(s, s->memory_len, err));
        }
        s->popping = true;
    }
    return merge_next(s, record, err);
}

void cm_extsort_close(struct cm_extsort *s)
{
    if (s == NULL)
        return;
    if (s->fd >= 0)
        (void) close(s->fd);
    free(s->memory);
    free(s->dir);
    free(s->path);
    free(s);
}
