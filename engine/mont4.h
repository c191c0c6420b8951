#ifndef CM_ENGINE_MONT4_H
#define CM_ENGINE_MONT4_H

#include "engine/vec4.h"

/* mont4.h - montvec.h over vec4.h. */
enum { INVERSE = BLOCK };

INLINE vec start_at(const uint64_t *start)
{
    return v_set(*start);
}

/* What the exponents of all that is added to each column come to, taken off: all products, or one for each
 * pair of limbs and half a square, as columns are doubled; of a reduction's, those that quotient_block()
 * leaves out or sees to itself are not counted. */
static inline void set_starts(uint64_t start[SUMS][COLUMNS], int limbs)
{
    for (int i = 0; i < limbs; i++)
        for (int j = 0; j < limbs; j++) {
            const int own = j < BLOCK ? i % BLOCK + j : BLOCK;
            start[PRODUCT][i + j] += v_start(1, 0);
            start[PRODUCT][i + j + 1] += v_start(0, 1);
            start[SQUARE][i + j] -= low_bits / 2;
            start[SQUARE][i + j + 1] -= high_bits / 2;
            start[REDUCTION][i + j] += v_start(own >= BLOCK, 0);
            start[REDUCTION][i + j + 1] += v_start(0, own >= BLOCK - 1);
        }
}

/* The limbs of BLOCK columns; the last carry goes into the next column. */
INLINE void carry_on(vec *acc, limb *out)
{
    UNROLL for (int r = 0; r < BLOCK; r++)
    {
        out[r] = l_low(acc[r]);
        acc[r + 1] = v_add(acc[r + 1], v_shr(acc[r], 52));
    }
}

/* All five limbs at once, q = t * inverse modulo 2^(52 * BLOCK) for the limbs t of the lowest columns; one
 * after the other would wait for four multiplications each. t + q * m is a multiple of 2^(52 * BLOCK), so
 * that only its columns from the last of the five on are formed: what carry the others would bring that
 * one is at most 8, and rounds it up to the multiple of 2^52 that it must come to. */
INLINE void quotient_block(vec acc[2 * BLOCK], const limb *m, const limb *inverse, limb *q)
{
    enum { LAST = BLOCK - 1 };
    limb t[BLOCK];
    vec column[BLOCK + 1];

    carry_on(acc, t);
    UNROLL for (int r = 0; r <= BLOCK; r++) column[r] = v_set(v_start((uint64_t) r + 1, (uint64_t) r));
    UNROLL for (int i = 0; i < BLOCK; i++)
    {
        UNROLL for (int j = 0; j < LAST - i; j++) add_both(&column[i + j], t[i], inverse[j]);
        add_low(&column[LAST], t[i], inverse[LAST - i]);
    }
    carry_on(column, q);
    acc[LAST] = v_add(l_number(t[LAST]), v_set(15 + v_start(BLOCK, LAST)));
    UNROLL for (int i = 0; i < BLOCK; i++)
    {
        __asm__ volatile("" ::: "memory");
        if (i < LAST)
            add_high(&acc[LAST], q[i], m[LAST - 1 - i]);
        UNROLL for (int j = LAST - i; j < BLOCK; j++) add_both(&acc[i + j], q[i], m[j]);
    }
    acc[BLOCK] = v_add(acc[BLOCK], v_shr(acc[LAST], 52));
}

#include "engine/montvec.h"

#endif
