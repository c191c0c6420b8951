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

INLINE void add_row(vec *acc, limb a, const limb *b, int from)
{
    UNROLL for (int j = from; j < BLOCK; j++) add_low(&acc[j], a, b[j]);
    UNROLL for (int j = from; j < BLOCK; j++) add_high(&acc[j + 1], a, b[j]);
}

/* Each limb makes the lowest column that is left a multiple of 2^52. */
INLINE void quotient_block(vec acc[2 * BLOCK], const limb *m, const limb *inverse, limb *q)
{
    const limb k0 = inverse[0];

    UNROLL for (int r = 0; r < BLOCK; r++)
    {
        vec digit = v_set(0);
        add_low(&digit, acc[r], k0); /* which takes the lowest 52 bits */
        add_row(acc + r, digit, m, 0);
        acc[r + 1] = v_add(acc[r + 1], v_shr(acc[r], 52));
        q[r] = digit;
    }
}

#include "engine/montvec.h"

#endif
