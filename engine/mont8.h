#ifndef CM_ENGINE_MONT8_H
#define CM_ENGINE_MONT8_H

#include "engine/limbs.h"

#include <immintrin.h>

/* mont8.h - montvec.h for eight numbers side by side, in the lanes of a 512-bit vector, by the 52-bit
 * multiply-adds of AVX-512 IFMA. */
enum { LANES = 8, INVERSE = 1 };

typedef __m512i vec;
typedef __m512i limb;

#define TARGET __attribute__((target("avx512f,avx512ifma")))
#define INLINE TARGET __attribute__((always_inline)) static inline
#define UNROLL _Pragma("GCC unroll 10")

/* --- columns and limbs ----------------------------------------------------------- */

INLINE vec v_set(uint64_t a)
{
    return _mm512_set1_epi64((long long) a);
}

INLINE vec v_add(vec a, vec b)
{
    return _mm512_add_epi64(a, b);
}

INLINE vec v_or(vec a, vec b)
{
    return _mm512_or_si512(a, b);
}

INLINE vec v_xor(vec a, vec b)
{
    return _mm512_xor_si512(a, b);
}

INLINE vec v_shl(vec a, vec by)
{
    return _mm512_sllv_epi64(a, by);
}

INLINE vec v_carry(vec a)
{
    return _mm512_srli_epi64(a, 52);
}

/* One bit of each lane's word. */
INLINE vec v_bit(vec word, uint32_t at)
{
    return _mm512_and_si512(_mm512_srlv_epi64(word, v_set(at)), v_set(1));
}

/* Bit i: lane i is zero. */
INLINE uint32_t v_zeros(vec a)
{
    return _mm512_testn_epi64_mask(a, a);
}

INLINE limb l_low(vec column)
{
    return _mm512_and_si512(column, v_set(limb_mask));
}

INLINE vec l_column(limb a)
{
    return a;
}

INLINE vec l_bits(limb a)
{
    return a;
}

INLINE limb l_set(uint64_t a)
{
    return v_set(a);
}

INLINE limb l_less(limb a, limb b)
{
    return _mm512_sub_epi64(a, b);
}

INLINE limb l_gather(uint64_t (*lane)[LIMBS_MAX], uint32_t i)
{
    return _mm512_set_epi64((long long) lane[7][i], (long long) lane[6][i], (long long) lane[5][i],
                            (long long) lane[4][i], (long long) lane[3][i], (long long) lane[2][i],
                            (long long) lane[1][i], (long long) lane[0][i]);
}

/* a == b ? yes : no */
INLINE limb l_choose(uint64_t a, uint64_t b, limb yes, limb no)
{
    return _mm512_mask_mov_epi64(no, _mm512_cmpeq_epi64_mask(v_set(a), v_set(b)), yes);
}

/* --- products ---------------------------------------------------------------------- */

INLINE vec v_start(const uint64_t *start)
{
    (void) start;
    return _mm512_setzero_si512();
}

static inline void set_starts(uint64_t start[SUMS][COLUMNS], int limbs)
{
    (void) start;
    (void) limbs;
}

INLINE void add_low(vec *acc, limb a, limb b)
{
    *acc = _mm512_madd52lo_epu64(*acc, a, b);
}

INLINE void add_high(vec *acc, limb a, limb b)
{
    *acc = _mm512_madd52hi_epu64(*acc, a, b);
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
        vec digit = _mm512_setzero_si512();
        add_low(&digit, acc[r], k0);
        add_row(acc + r, digit, m, 0);
        acc[r + 1] = v_add(acc[r + 1], v_carry(acc[r]));
        q[r] = digit;
    }
}

/* --- the processor's state --------------------------------------------------------- */

static inline uint32_t vectors_begin(void)
{
    return 0;
}

static inline void vectors_end(uint32_t state)
{
    (void) state;
}

#include "engine/montvec.h"

#endif
