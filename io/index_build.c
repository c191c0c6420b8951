#include "io/index.h"

#include "io/extsort.h"
#include "io/file.h"
#include "io/index_impl.h"
#include "io/readat.h"
#include "io/rowread.h"
#include "io/sys.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    /* A record of the sort: table, hash and offset big-endian, so that memcmp orders them. */
    RECORD_LEN = 17,
    OUT_LEN = 64 * PAGE_LEN,
    WINDOW_LEN = 1 << 20, /* of the manifest; holds several rows of the largest size */
};

struct cm_index_builder {
    char *dir;
    struct cm_extsort *sort;
    uint64_t rows;
};

/* The file being written: pages collect in `out`. */
struct page_writer {
    int fd;
    char path[300]; /* of index.part, for messages */
    uint8_t *out;
    size_t used;   /* of out, whole pages */
    uint64_t at;   /* where out goes in the file */
    uint64_t page; /* number of the page under way, at out + used */
    unsigned entries;
};

cm_err cm_index_builder_open(const char *dir, struct cm_index_builder **out, struct cm_error *err)
{
    struct cm_index_builder *b = calloc(1, sizeof *b);

    if (b != NULL)
        b->dir = strdup(dir);
    if (b == NULL || b->dir == NULL) {
        cm_index_builder_close(b);
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the index");
    }
    const cm_err rc = cm_extsort_open(dir, RECORD_LEN, CM_EXTSORT_MEMORY, &b->sort, err);
    if (rc != CM_OK) {
        cm_index_builder_close(b);
        return rc;
    }
    *out = b;
    return CM_OK;
}

static cm_err push_key(struct cm_index_builder *b, enum cm_index_key key, struct cm_span text,
                       uint64_t offset, struct cm_error *err)
{
    const uint64_t hash = htobe64(cm_xxh64(text.data, text.len)), at = htobe64(offset);
    uint8_t record[RECORD_LEN];

    record[0] = (uint8_t) key;
    memcpy(record + 1, &hash, 8);
    memcpy(record + 9, &at, 8);
    return cm_extsort_push(b->sort, record, err);
}

cm_err cm_index_builder_push(struct cm_index_builder *b, struct cm_span device_id,
                             struct cm_span certificate_id, uint64_t offset, struct cm_error *err)
{
    CM_TRY(push_key(b, CM_INDEX_DEVICE, device_id, offset, err));
    CM_TRY(push_key(b, CM_INDEX_CERTIFICATE, certificate_id, offset, err));
    b->rows++;
    return CM_OK;
}

static cm_err flush(struct page_writer *w, struct cm_error *err)
{
    CM_TRY(cm_file_write(w->fd, w->path, w->out, w->used, w->at, err));
    w->at += w->used;
    w->used = 0;
    memset(w->out, 0, OUT_LEN);
    return CM_OK;
}

static cm_err end_page(struct page_writer *w, struct cm_error *err)
{
    page_seal(w->out + w->used, w->page++);
    w->used += PAGE_LEN;
    w->entries = 0;
    return w->used == OUT_LEN ? flush(w, err) : CM_OK;
}

static cm_err put_entry(struct page_writer *w, const uint8_t *record, struct cm_error *err)
{
    uint8_t *at = w->out + w->used + (size_t) w->entries * ENTRY_LEN;
    uint64_t hash, offset;

    memcpy(&hash, record + 1, 8);
    memcpy(&offset, record + 9, 8);
    put_le64(at, be64toh(hash));
    put_le64(at + 8, be64toh(offset));
    return ++w->entries == PAGE_ENTRIES ? end_page(w, err) : CM_OK;
}

static cm_err write_pages(struct cm_index_builder *b, struct page_writer *w, uint64_t manifest_bytes,
                          struct cm_error *err)
{
    const uint8_t *record = NULL;
    uint8_t table = CM_INDEX_DEVICE;
    cm_err rc = CM_OK;

    memcpy(w->out, INDEX_MAGIC, 8);
    put_le64(w->out + 8, b->rows);
    put_le64(w->out + 16, manifest_bytes);
    CM_TRY(end_page(w, err));
    while ((rc = cm_extsort_pop(b->sort, &record, err)) == CM_OK) {
        if (record[0] != table && w->entries > 0)
            CM_TRY(end_page(w, err));
        table = record[0];
        CM_TRY(put_entry(w, record, err));
    }
    if (rc != CM_E_END)
        return rc;
    if (w->entries > 0)
        CM_TRY(end_page(w, err));
    CM_ASSERT(w->page == 1 + 2 * pages_of(b->rows));
    return flush(w, err);
}

/* Opens index.part empty and locked. The lock keeps two builders apart; what a
 * killed one left is taken over. */
static cm_err open_part(const char *dir, int dir_fd, struct page_writer *w, struct cm_error *err)
{
    struct stat ours, named;
    int fd = cm_sys_openat(dir_fd, "index.part", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

    if (fd < 0)
        CM_FAIL(err, CM_E_IO, "can't make %s/index.part", dir);
    /* Another builder may have renamed this very file before we got the lock. */
    if (flock(fd, LOCK_EX | LOCK_NB) != 0 || fstat(fd, &ours) != 0 ||
        fstatat(dir_fd, "index.part", &named, AT_SYMLINK_NOFOLLOW) != 0 || ours.st_ino != named.st_ino) {
        cm_fd_close(&fd);
        CM_FAIL(err, CM_E_LIMIT, "another process is building the index of %s; try again when it is done",
                dir);
    }
    (void) snprintf(w->path, sizeof w->path, "%.280s/index.part", dir);
    const cm_err rc = cm_file_truncate(fd, w->path, 0, err);
    if (rc != CM_OK)
        cm_fd_close(&fd);
    else
        w->fd = fd;
    return rc;
}

static cm_err publish(const char *dir, int dir_fd, int fd, struct cm_error *err)
{
    if (cm_sys_fchmod(fd, 0644) != 0 || cm_sys_fsync(fd) != 0)
        CM_FAIL(err, CM_E_IO, "can't make %s/index.part durable", dir);
    CM_POINT("index.publish");
    if (cm_sys_renameat2(dir_fd, "index.part", "index", 0) != 0)
        CM_FAIL(err, CM_E_IO, "can't rename %s/index.part to index", dir);
    CM_POINT("index.published");
    return cm_dir_sync(dir_fd, dir, err);
}

cm_err cm_index_builder_finish(struct cm_index_builder *b, uint64_t manifest_bytes, struct cm_error *err)
{
    struct page_writer w = { .fd = -1, .out = calloc(1, OUT_LEN) };
    int dir_fd = -1;
    cm_err rc = w.out != NULL ? CM_OK : cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for the index");

    if (rc == CM_OK)
        rc = cm_dir_open(b->dir, &dir_fd, err);
    if (rc == CM_OK)
        rc = open_part(b->dir, dir_fd, &w, err);
    if (rc == CM_OK) {
        rc = write_pages(b, &w, manifest_bytes, err);
        if (rc == CM_OK)
            rc = publish(b->dir, dir_fd, w.fd, err);
        if (rc != CM_OK)
            (void) cm_sys_unlinkat(dir_fd, "index.part", 0);
    }
    cm_fd_close(&w.fd);
    cm_fd_close(&dir_fd);
    free(w.out);
    return rc;
}

void cm_index_builder_close(struct cm_index_builder *b)
{
    if (b == NULL)
        return;
    cm_extsort_close(b->sort);
    free(b->dir);
    free(b);
}

/* One row into the builder. A row that can't be read has no id to be found by. */
static cm_err push_row(struct cm_index_builder *b, struct cm_span text, uint64_t offset, struct cm_error *err)
{
    struct cm_span device_id, certificate_id;
    struct cm_row row = { 0 };
    cm_err rc = CM_OK;

    if (cm_rowread_peek(text, &device_id, &certificate_id))
        return cm_index_builder_push(b, device_id, certificate_id, offset, err);
    if (cm_rowread_parse(text, &row, NULL) != CM_OK)
        return CM_OK;
    rc = cm_index_builder_push(b, cm_span_str(row.device_id), cm_span_str(row.certificate_id), offset, err);
    cm_rowread_done(&row);
    return rc;
}

static cm_err push_manifest(struct cm_index_builder *b, int fd, uint64_t size, uint8_t *window,
                            struct cm_error *err)
{
    uint64_t at = 0;

    while (at < size) {
        const uint64_t left = size - at;
        size_t from = 0, n = 0;
        CM_TRY(cm_read_at(fd, "manifest.ndjson", window, left < WINDOW_LEN ? (size_t) left : WINDOW_LEN, at,
                          &n, err));
        if (n == 0)
            CM_FAIL(err, CM_E_INPUT, "%s/manifest.ndjson became shorter while it was read", b->dir);
        for (const uint8_t *lf; (lf = memchr(window + from, '\n', n - from)) != NULL;) {
            const size_t len = (size_t) (lf - window) - from;
            CM_TRY(push_row(b, cm_span(window + from, len), at + from, err));
            from += len + 1;
        }
        /* A line longer than the window is no row: pass over it in pieces. */
        at += from > 0 ? from : n;
    }
    return CM_OK;
}

static cm_err rebuild_from(struct cm_index_builder *b, int fd, struct cm_error *err)
{
    uint8_t *window = NULL;
    struct stat st;

    if (fstat(fd, &st) != 0)
        CM_FAIL(err, CM_E_IO, "%s/manifest.ndjson: can't be read", b->dir);
    window = malloc(WINDOW_LEN);
    if (window == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the index");
    cm_err rc = push_manifest(b, fd, (uint64_t) st.st_size, window, err);
    free(window);
    if (rc == CM_OK)
        rc = cm_index_builder_finish(b, (uint64_t) st.st_size, err);
    return rc;
}

cm_err cm_index_rebuild(const char *dir, struct cm_error *err)
{
    struct cm_index_builder *b = NULL;
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/manifest.ndjson", dir);
    cm_err rc = CM_OK;

    if (n < 0 || (size_t) n >= sizeof path)
        CM_FAIL(err, CM_E_LIMIT, "the path of the run directory is too long: %.60s...", dir);
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        CM_FAIL(err, CM_E_IO, "can't open %s", path);
    rc = cm_index_builder_open(dir, &b, err);
    if (rc == CM_OK)
        rc = rebuild_from(b, fd, err);
    cm_index_builder_close(b);
    (void) close(fd);
    return rc;
}
