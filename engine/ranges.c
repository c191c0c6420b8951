#include "engine/ranges.h"

#include <string.h>

void cm_ranges_close(struct cm_ranges *r)
{
    free(r->at);
    *r = (struct cm_ranges) { 0 };
}

/* Index of the first range that ends at `number` or behind it. */
static size_t seek(const struct cm_ranges *r, uint64_t number)
{
    size_t low = 0, high = r->count;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (r->at[middle].last < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static cm_err make_room(struct cm_ranges *r, struct cm_error *err)
{
    const size_t cap = r->cap == 0 ? 16 : 2 * r->cap;
    struct cm_range *at = NULL;

    if (r->count < r->cap)
        return CM_OK;
    at = reallocarray(r->at, cap, sizeof *at);
    if (at == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for %zu ranges of numbers", cap);
    r->at = at;
    r->cap = cap;
    return CM_OK;
}

cm_err cm_ranges_add(struct cm_ranges *r, uint64_t first, uint64_t last, struct cm_error *err)
{
    CM_ASSERT(first <= last && last < UINT64_MAX);
    /* Those that touch first..last become one with it. */
    const size_t from = seek(r, first == 0 ? 0 : first - 1);
    size_t to = from;
    struct cm_range all = { first, last };

    while (to < r->count && r->at[to].first <= last + 1) {
        all.first = r->at[to].first < all.first ? r->at[to].first : all.first;
        all.last = r->at[to].last > all.last ? r->at[to].last : all.last;
        to++;
    }
    if (to == from)
        CM_TRY(make_room(r, err));
    memmove(r->at + from + 1, r->at + to, (r->count - to) * sizeof *r->at);
    r->at[from] = all;
    r->count = r->count - (to - from) + 1;
    return CM_OK;
}

cm_err cm_ranges_remove(struct cm_ranges *r, uint64_t first, uint64_t last, struct cm_error *err)
{
    CM_ASSERT(first <= last && last < UINT64_MAX);
    const size_t from = seek(r, first);
    size_t to = from;

    while (to < r->count && r->at[to].first <= last)
        to++;
    if (to == from)
        return CM_OK;
    const struct cm_range left = r->at[from], right = r->at[to - 1];
    const size_t keep = (left.first < first ? 1u : 0u) + (right.last > last ? 1u : 0u);
    if (keep > to - from)
        CM_TRY(make_room(r, err));
    memmove(r->at + from + keep, r->at + to, (r->count - to) * sizeof *r->at);
    if (right.last > last)
        r->at[from + keep - 1] = (struct cm_range) { last + 1, right.last };
    if (left.first < first)
        r->at[from] = (struct cm_range) { left.first, first - 1 };
    r->count = r->count - (to - from) + keep;
    return CM_OK;
}

bool cm_ranges_meets(const struct cm_ranges *r, uint64_t first, uint64_t last)
{
    const size_t i = seek(r, first);

    return i < r->count && r->at[i].first <= last;
}

uint64_t cm_ranges_gap(const struct cm_ranges *r, uint64_t from)
{
    const size_t i = seek(r, from);

    return i < r->count && r->at[i].first <= from ? r->at[i].last + 1 : from;
}

uint64_t cm_ranges_size(const struct cm_ranges *r)
{
    uint64_t size = 0;

    for (size_t i = 0; i < r->count; i++)
        size += r->at[i].last - r->at[i].first + 1;
    return size;
}
