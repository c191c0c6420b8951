#ifndef CM_ENGINE_MONT8_H
#define CM_ENGINE_MONT8_H

#include "engine/vec8.h"

/* mont8.h - montvec.h over vec8.h. */
enum { INVERSE = 1 };

INLINE vec start_at(const uint64_t *start)
{
    (void) start;
    return v_set(0);
}

static inline void set_starts(uint64_t start[SUMS][COLUMNS], int limbs)
{
    (void) start;
    (void) limbs;
}

/* Each limb makes the lowest column that is left a multiple of 2^52. */
INLINE void quotient_block(vec acc[2 * BLOCK], const limb *m, const limb *inverse, limb *q)
{
    const limb k0 = inverse[0];

    UNROLL for (int r = 0; r < BLOCK; r++)
    {
        vec digit = v_set(0);
        add_low(&digit, l_cut(acc[r]), k0);
        add_row(acc + r, digit, m, 0, BLOCK);
        acc[r + 1] = v_add(acc[r + 1], v_shr(acc[r], 52));
        q[r] = digit;
    }
}

#include "engine/montvec.h"

#endif
