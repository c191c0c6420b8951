#ifndef CM_ENGINE_MONT4_H
#define CM_ENGINE_MONT4_H

#include "engine/limbs.h"

#include <immintrin.h>

/* mont4.h - montvec.h for four numbers side by side, in the lanes of a 256-bit vector, by the fused
 * multiply-adds of doubles that AVX2's contemporaries have: two of them give both halves of a product
 * of 52-bit limbs (Emmart, Zheng, Weems, "Faster Modular Exponentiation Using Double Precision Floating
 * Point Arithmetic on the GPU", ARITH 2018).
 *
 * Limbs are whole numbers in doubles. Rounded towards zero, which vectors_begin() sets, a * b + 2^104 is
 * 2^104 + h * 2^52 with the high half h of a * b, for its last bit is worth 2^52. Then
 * 2^104 + 2^52 - that is exact, and so is a * b + that, which is 2^52 + the low half. The halves are read off
 * the last 52 bits; columns add up the doubles as integers, with their exponents, which what a column
 * begins with takes off again: v_start. No operand and no result is subnormal, infinite or out of range,
 * so that the time of an operation does not depend on its operands.
 */
enum { LANES = 4, INVERSE = BLOCK };

typedef __m256i vec;
typedef __m256d limb;

#define TARGET __attribute__((target("avx2,fma")))
#define INLINE TARGET __attribute__((always_inline)) static inline
#define UNROLL _Pragma("GCC unroll 10")

/* The bits of 2^52 and of 2^104. */
static const uint64_t low_bits = UINT64_C(0x433) << 52, high_bits = UINT64_C(0x467) << 52;

/* --- columns and limbs ----------------------------------------------------------- */

INLINE vec v_set(uint64_t a)
{
    return _mm256_set1_epi64x((long long) a);
}

INLINE vec v_add(vec a, vec b)
{
    return _mm256_add_epi64(a, b);
}

INLINE vec v_or(vec a, vec b)
{
    return _mm256_or_si256(a, b);
}

INLINE vec v_xor(vec a, vec b)
{
    return _mm256_xor_si256(a, b);
}

INLINE vec v_shl(vec a, vec by)
{
    return _mm256_sllv_epi64(a, by);
}

INLINE vec v_carry(vec a)
{
    return _mm256_srli_epi64(a, 52);
}

/* One bit of each lane's word. */
INLINE vec v_bit(vec word, uint32_t at)
{
    return _mm256_and_si256(_mm256_srlv_epi64(word, v_set(at)), v_set(1));
}

/* Bit i: lane i is zero. */
INLINE uint32_t v_zeros(vec a)
{
    return (uint32_t) _mm256_movemask_pd(_mm256_castsi256_pd(_mm256_cmpeq_epi64(a, v_set(0))));
}

INLINE limb l_set(uint64_t a)
{
    return _mm256_set1_pd((double) a);
}

INLINE limb l_less(limb a, limb b)
{
    return _mm256_sub_pd(a, b);
}

/* 2^52 + the column's lowest bits, put together, less 2^52. */
INLINE limb l_low(vec column)
{
    const vec bits = v_or(_mm256_and_si256(column, v_set(limb_mask)), v_set(low_bits));

    return _mm256_sub_pd(_mm256_castsi256_pd(bits), _mm256_set1_pd(0x1p52));
}

INLINE vec l_bits(limb a)
{
    return _mm256_castpd_si256(a);
}

INLINE vec l_column(limb a)
{
    return v_xor(l_bits(_mm256_add_pd(a, _mm256_set1_pd(0x1p52))), v_set(low_bits));
}

INLINE limb l_gather(uint64_t (*lane)[LIMBS_MAX], uint32_t i)
{
    return _mm256_set_pd((double) (int64_t) lane[3][i], (double) (int64_t) lane[2][i],
                         (double) (int64_t) lane[1][i], (double) (int64_t) lane[0][i]);
}

/* a == b ? yes : no */
INLINE limb l_choose(uint64_t a, uint64_t b, limb yes, limb no)
{
    return _mm256_blendv_pd(no, yes, _mm256_castsi256_pd(_mm256_cmpeq_epi64(v_set(a), v_set(b))));
}

/* --- products ---------------------------------------------------------------------- */

INLINE vec v_start(const uint64_t *start)
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
            start[PRODUCT][i + j] -= low_bits;
            start[PRODUCT][i + j + 1] -= high_bits;
            start[SQUARE][i + j] -= low_bits / 2;
            start[SQUARE][i + j + 1] -= high_bits / 2;
            start[REDUCTION][i + j] -= own >= BLOCK ? low_bits : 0;
            start[REDUCTION][i + j + 1] -= own >= BLOCK - 1 ? high_bits : 0;
        }
}

INLINE limb high_half(limb a, limb b)
{
    return _mm256_fmadd_pd(a, b, _mm256_set1_pd(0x1p104));
}

INLINE limb low_half(limb a, limb b, limb high)
{
    return _mm256_fmadd_pd(a, b, _mm256_sub_pd(_mm256_set1_pd(0x1p104 + 0x1p52), high));
}

/* The compiler is kept from forming sums of summands first: it runs out of registers over that. */
INLINE void add_bits(vec *acc, limb a)
{
    *acc = v_add(*acc, l_bits(a));
    __asm__("" : "+x"(*acc));
}

INLINE void add_low(vec *acc, limb a, limb b)
{
    add_bits(acc, low_half(a, b, high_half(a, b)));
}

INLINE void add_high(vec *acc, limb a, limb b)
{
    add_bits(acc, high_half(a, b));
}

INLINE void add_both(vec *acc, limb a, limb b)
{
    const limb high = high_half(a, b);

    add_bits(&acc[1], high);
    add_bits(&acc[0], low_half(a, b, high));
}

/* Sixteen registers: ten columns, a and two constants; b is fetched anew for each row. */
INLINE void add_row(vec *acc, limb a, const limb *b, int from)
{
    __asm__ volatile("" ::: "memory");
    UNROLL for (int j = from; j < BLOCK; j++) add_both(&acc[j], a, b[j]);
}

/* The limbs of BLOCK columns; the last carry goes into the next column. */
INLINE void carry_on(vec *acc, limb *out)
{
    UNROLL for (int r = 0; r < BLOCK; r++)
    {
        out[r] = l_low(acc[r]);
        acc[r + 1] = v_add(acc[r + 1], v_carry(acc[r]));
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
    UNROLL for (int r = 0; r <= BLOCK; r++) column[r] =
        v_set(0 - (uint64_t) (r + 1) * low_bits - (uint64_t) r * high_bits);
    UNROLL for (int i = 0; i < BLOCK; i++)
    {
        UNROLL for (int j = 0; j < LAST - i; j++) add_both(&column[i + j], t[i], inverse[j]);
        add_low(&column[LAST], t[i], inverse[LAST - i]);
    }
    carry_on(column, q);
    acc[LAST] = v_add(l_column(t[LAST]), v_set(15 - BLOCK * low_bits - LAST * high_bits));
    UNROLL for (int i = 0; i < BLOCK; i++)
    {
        __asm__ volatile("" ::: "memory");
        if (i < LAST)
            add_high(&acc[LAST], q[i], m[LAST - 1 - i]);
        UNROLL for (int j = LAST - i; j < BLOCK; j++) add_both(&acc[i + j], q[i], m[j]);
    }
    acc[BLOCK] = v_add(acc[BLOCK], v_carry(acc[LAST]));
}

/* --- the processor's state --------------------------------------------------------- */

/* Rounds towards zero, nothing traps; what compilers must not move across stands in a function that is not
 * inline. */
static inline uint32_t vectors_begin(void)
{
    const uint32_t before = _mm_getcsr();

    _mm_setcsr(_MM_MASK_MASK | _MM_ROUND_TOWARD_ZERO);
    return before;
}

static inline void vectors_end(uint32_t state)
{
    _mm_setcsr(state);
}

#include "engine/montvec.h"

#endif
