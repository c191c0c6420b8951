#include "cli/audit_impl.h"

/* A row is found from a random octet of the manifest, without reading it through:
 * an octet counts only when it is among the first HEAD of its row, which every row
 * has, so that long rows are as likely as short ones. */
enum {
    HEAD = 512, /* octets; the fixed parts of a row are more than 900 */
    ROW_LEAST = 900,
    WINDOW_LEN = 1 << 20,
    SPARSE = 8192,     /* octets of manifest for each row of a sample that is picked by chance */
    TRIES_MAX = 10000, /* for one row: a manifest where that is not enough has no rows */
};

/* SplitMix64 (Steele, Lea, Flood 2014): a stream of 64-bit numbers from a seed. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Below n, each equally likely. */
static uint64_t random_below(uint64_t *state, uint64_t n)
{
    const uint64_t limit = UINT64_MAX - UINT64_MAX % n;
    uint64_t r = 0;

    do
        r = next_random(state);
    while (r >= limit);
    return r % n;
}

static int compare_offsets(const void *pa, const void *pb)
{
    const uint64_t *a = pa, *b = pb;

    return (*a > *b) - (*a < *b);
}

/* Sorts and drops repeats. */
static size_t distinct(uint64_t *offset, size_t count)
{
    size_t kept = 0;

    qsort(offset, count, sizeof *offset, compare_offsets);
    for (size_t i = 0; i < count; i++)
        if (i == 0 || offset[i] != offset[kept - 1])
            offset[kept++] = offset[i];
    return kept;
}

/* The offsets of all rows, for a manifest that is small beside the sample. */
static cm_err list_rows(const struct cm_audit *a, uint64_t **out, size_t *count, struct cm_error *err)
{
    const uint64_t bytes = cm_fleet_manifest_bytes(a->fleet);
    size_t cap = (size_t) (bytes / 256 + 2), n = 0, got = 0;
    uint64_t *offset = malloc(cap * sizeof *offset);
    uint8_t *window = malloc(WINDOW_LEN);
    cm_err rc = CM_OK;
    uint64_t row = 0;

    if (offset == NULL || window == NULL)
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for the sample; ask for a smaller one");
    for (uint64_t at = 0; rc == CM_OK && at < bytes; at += got) {
        rc = cm_fleet_manifest_read(a->fleet, window, WINDOW_LEN, at, &got, err);
        if (rc == CM_OK && got == 0)
            rc = cm_fail(err, CM_E_INPUT, CM_HERE, "manifest.ndjson became shorter while it was read");
        const uint8_t *from = window;
        for (const uint8_t *lf; rc == CM_OK && n < cap; from = lf + 1) {
            lf = memchr(from, '\n', got - (size_t) (from - window));
            if (lf == NULL)
                break;
            offset[n++] = row;
            row = at + (uint64_t) (lf - window) + 1;
        }
    }
    free(window);
    if (rc != CM_OK) {
        free(offset);
        return rc;
    }
    *out = offset;
    *count = n;
    return CM_OK;
}

static cm_err pick_from_list(const struct cm_audit *a, uint64_t **out, size_t *count, struct cm_error *err)
{
    const uint64_t want = a->conf->sample;
    uint64_t *offset = NULL, state = a->conf->seed;
    size_t n = 0;

    CM_TRY(list_rows(a, &offset, &n, err));
    if (want >= n) {
        free(offset);
        offset = NULL;
        n = 0;
    } else {
        for (size_t i = 0; i < want; i++) {
            const size_t j = i + (size_t) random_below(&state, n - i);
            const uint64_t held = offset[i];
            offset[i] = offset[j];
            offset[j] = held;
        }
        n = distinct(offset, (size_t) want);
    }
    *out = offset;
    *count = n;
    return CM_OK;
}

/* The row whose first octets hold a random octet. CM_E_END: that octet was none of those. */
static cm_err try_octet(const struct cm_audit *a, uint64_t *state, uint64_t *row, struct cm_error *err)
{
    const uint64_t bytes = cm_fleet_manifest_bytes(a->fleet), octet = random_below(state, bytes);
    const uint64_t from = octet > HEAD ? octet - HEAD : 0;
    uint8_t head[HEAD];
    size_t got = 0;

    /* The octets before this one, the last HEAD of them: a row begins behind a LF. */
    CM_TRY(cm_fleet_manifest_read(a->fleet, head, (size_t) (octet - from), from, &got, err));
    const uint8_t *const lf = memrchr(head, '\n', got);
    if (lf == NULL && octet >= HEAD)
        return CM_E_END;
    *row = lf != NULL ? from + (uint64_t) (lf - head) + 1 : 0;
    return CM_OK;
}

static cm_err pick_by_chance(const struct cm_audit *a, uint64_t **out, size_t *count, struct cm_error *err)
{
    const size_t want = (size_t) a->conf->sample;
    uint64_t *offset = malloc(want * sizeof *offset), state = a->conf->seed;
    uint64_t tries = 0;
    size_t n = 0;
    cm_err rc = CM_OK;

    if (offset == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the sample; ask for a smaller one");
    while (n < want && (rc == CM_OK || rc == CM_E_END) && tries++ / TRIES_MAX < want) {
        rc = try_octet(a, &state, &offset[n], err);
        if (rc == CM_OK && ++n == want)
            n = distinct(offset, n);
    }
    if (rc != CM_OK && rc != CM_E_END) {
        free(offset);
        return rc;
    }
    *out = offset;
    *count = distinct(offset, n);
    return CM_OK;
}

cm_err cm_audit_pick(const struct cm_audit *a, uint64_t **out, size_t *count, struct cm_error *err)
{
    const uint64_t bytes = cm_fleet_manifest_bytes(a->fleet);

    _Static_assert(HEAD < ROW_LEAST, "every row must have a head");
    if (a->conf->sample > bytes / SPARSE)
        return pick_from_list(a, out, count, err);
    return pick_by_chance(a, out, count, err);
}
