#ifndef CM_ENGINE_RANGES_H
#define CM_ENGINE_RANGES_H

#include "engine/err.h"

#include <stdbool.h>
#include <stddef.h>

/* ranges.h - a set of numbers as few ranges: which devices of a request are
 * committed, which serial prefixes were used.
 *
 *  Order    ascending, disjoint, and with a gap between any two.
 *  Memory   two numbers a range; grows by doubling.
 */
struct cm_range {
    uint64_t first, last; /* both belong to it */
};

struct cm_ranges {
    struct cm_range *at;
    size_t count, cap;
};

void cm_ranges_close(struct cm_ranges *r); /* zeroed accepted, and left */
static inline void cm_ranges_clear(struct cm_ranges *r)
{
    r->count = 0;
}

/* Cheap when it continues the last range; CM_E_NOMEM. */
CM_MUST_CHECK cm_err cm_ranges_add(struct cm_ranges *r, uint64_t first, uint64_t last, struct cm_error *err);
/* Takes first..last out, whether they belong to it or not; CM_E_NOMEM: it would have split a range. */
CM_MUST_CHECK cm_err cm_ranges_remove(struct cm_ranges *r, uint64_t first, uint64_t last,
                                      struct cm_error *err);
/* Does any number of first..last belong to it? */
bool cm_ranges_meets(const struct cm_ranges *r, uint64_t first, uint64_t last);
/* The smallest number from `from` on that does not belong to it. */
uint64_t cm_ranges_gap(const struct cm_ranges *r, uint64_t from);
uint64_t cm_ranges_size(const struct cm_ranges *r); /* how many numbers */

#endif
