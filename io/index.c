#include "io/index.h"

#include "io/index_impl.h"
#include "io/readat.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

__extension__ typedef unsigned __int128 wide;

enum { GUESSES = 8 }; /* by interpolation, before halving takes over */

struct cm_index {
    int fd;
    uint64_t rows, pages; /* pages: of one table */
};

static cm_err read_page(int fd, uint64_t number, uint8_t page[PAGE_LEN], struct cm_error *err)
{
    size_t got = 0;

    CM_TRY(cm_read_at(fd, "index", page, PAGE_LEN, number * PAGE_LEN, &got, err));
    if (got < PAGE_LEN || !page_is_sound(page, number))
        CM_FAIL(err, CM_E_INPUT,
                "index: page %llu is damaged; delete the file, it is made again from the manifest",
                (unsigned long long) number);
    return CM_OK;
}

/* *current: the header is sound and covers the manifest. */
static cm_err check_header(struct cm_index *x, uint64_t manifest_bytes, bool *current, struct cm_error *err)
{
    uint8_t page[PAGE_LEN];
    struct stat st;

    *current = false;
    CM_TRY(read_page(x->fd, 0, page, err));
    if (memcmp(page, INDEX_MAGIC, 8) != 0)
        CM_FAIL(err, CM_E_INPUT, "index: not an index of this version; delete the file, it is made again");
    x->rows = get_le64(page + 8);
    x->pages = pages_of(x->rows);
    if (fstat(x->fd, &st) != 0)
        CM_FAIL(err, CM_E_IO, "index: can't be read");
    if (x->rows > INT64_MAX / PAGE_LEN || (uint64_t) st.st_size != (1 + 2 * x->pages) * PAGE_LEN)
        CM_FAIL(err, CM_E_INPUT,
                "index: its length is wrong; delete the file, it is made again from the manifest");
    *current = get_le64(page + 16) == manifest_bytes;
    return CM_OK;
}

cm_err cm_index_open(const char *dir, uint64_t manifest_bytes, struct cm_index **out, struct cm_error *err)
{
    struct cm_index x = { .fd = -1 };
    bool current = false;
    char path[4096];
    const int n = snprintf(path, sizeof path, "%s/index", dir);

    if (n < 0 || (size_t) n >= sizeof path)
        CM_FAIL(err, CM_E_LIMIT, "the path of the run directory is too long: %.60s...", dir);
    *out = NULL;
    x.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (x.fd < 0 && errno == ENOENT)
        return CM_OK;
    if (x.fd < 0)
        CM_FAIL(err, CM_E_IO, "can't open %s", path);
    cm_err rc = check_header(&x, manifest_bytes, &current, err);
    if (rc == CM_OK && current) {
        *out = malloc(sizeof **out);
        if (*out != NULL) {
            **out = x;
            return CM_OK;
        }
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for the index");
    }
    (void) close(x.fd);
    return rc;
}

uint64_t cm_index_rows(const struct cm_index *x)
{
    return x->rows;
}

static uint64_t hash_at(const uint8_t *page, uint64_t entry)
{
    return get_le64(page + entry * ENTRY_LEN);
}

/* How many pages a distance between hashes is worth: they are spread evenly. */
static uint64_t pages_for(const struct cm_index *x, uint64_t distance)
{
    return (uint64_t) (((wide) distance * x->pages) >> 64);
}

static uint64_t entries_in(const struct cm_index *x, uint64_t page)
{
    return page + 1 < x->pages ? PAGE_ENTRIES : x->rows - page * PAGE_ENTRIES;
}

/* The first page of a table whose last hash is at least `hash`, into *page and
 * buf; *page is x->pages when every hash is below. */
static cm_err find_page(const struct cm_index *x, uint64_t base, uint64_t hash, uint64_t *page, uint8_t *buf,
                        struct cm_error *err)
{
    uint64_t lo = 0, hi = x->pages, guess = pages_for(x, hash), held = UINT64_MAX;

    for (unsigned round = 0; lo < hi; round++) {
        guess = round >= GUESSES ? lo + (hi - lo) / 2 : guess < lo ? lo : guess >= hi ? hi - 1 : guess;
        CM_TRY(read_page(x->fd, base + guess, buf, err));
        held = guess;
        const uint64_t first = hash_at(buf, 0), last = hash_at(buf, entries_in(x, guess) - 1);
        if (last < hash) {
            lo = guess + 1;
            guess = lo + pages_for(x, hash - last);
        } else if (first < hash) {
            lo = hi = guess;
        } else {
            const uint64_t back = pages_for(x, first - hash) + 1;
            hi = guess;
            guess = guess > back ? guess - back : 0;
        }
    }
    *page = lo;
    if (lo < x->pages && held != lo)
        CM_TRY(read_page(x->fd, base + lo, buf, err));
    return CM_OK;
}

/* The last CM_INDEX_FOUND_MAX are kept. */
static void keep_offset(uint64_t offset[CM_INDEX_FOUND_MAX], size_t *found, uint64_t one)
{
    if (*found == CM_INDEX_FOUND_MAX) {
        memmove(offset, offset + 1, (CM_INDEX_FOUND_MAX - 1) * sizeof *offset);
        --*found;
    }
    offset[(*found)++] = one;
}

cm_err cm_index_find(const struct cm_index *x, enum cm_index_key key, struct cm_span text,
                     uint64_t offset[CM_INDEX_FOUND_MAX], size_t *count, struct cm_error *err)
{
    const uint64_t base = 1 + (key == CM_INDEX_DEVICE ? 0 : x->pages);
    const uint64_t hash = cm_xxh64(text.data, text.len);
    uint8_t buf[PAGE_LEN];
    uint64_t page = 0;
    size_t found = 0;

    CM_TRY(find_page(x, base, hash, &page, buf, err));
    while (page < x->pages && hash_at(buf, 0) <= hash) {
        const uint64_t n = entries_in(x, page);
        for (uint64_t i = 0; i < n; i++)
            if (hash_at(buf, i) == hash)
                keep_offset(offset, &found, get_le64(buf + i * ENTRY_LEN + 8));
        /* Equal hashes may run on into the next page. */
        if (hash_at(buf, n - 1) != hash || ++page == x->pages)
            break;
        CM_TRY(read_page(x->fd, base + page, buf, err));
    }
    *count = found;
    return CM_OK;
}

void cm_index_close(struct cm_index *x)
{
    if (x == NULL)
        return;
    (void) close(x->fd);
    free(x);
}
