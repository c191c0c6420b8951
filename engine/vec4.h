#ifndef CM_ENGINE_VEC4_H
#define CM_ENGINE_VEC4_H

#include "engine/limbs.h"

#include <immintrin.h>
#include <stdbool.h>

/* vec4.h - what vec8.h offers, for four numbers side by side in the lanes of a 256-bit vector, by AVX2 and
 * the fused multiply-adds of doubles that its processors have: two of them give both halves of a product
 * of 52-bit limbs (Emmart, Zheng, Weems, "Faster Modular Exponentiation Using Double Precision Floating
 * Point Arithmetic on the GPU", ARITH 2018).
 *
 * Factors are whole numbers in doubles. Rounded towards zero, which vectors_begin() sets, a * b + 2^104 is
 * 2^104 + h * 2^52 with the high half h of a * b, for its last bit is worth 2^52. Then
 * 2^104 + 2^52 - that is exact, and so is a * b + that, which is 2^52 + the low half. The halves are read off
 * the last 52 bits: sums add up the doubles as integers, with their exponents, and start from what takes
 * these off again. No operand and no result is subnormal, infinite or out of range, so that the time of an
 * operation does not depend on its operands.
 */
enum { LANES = 4 };

typedef __m256i vec;
typedef __m256d limb;
typedef __m256i mask; /* all ones or 0 */

#define TARGET __attribute__((target("avx2,fma")))
#define INLINE TARGET __attribute__((always_inline)) static inline
#define UNROLL _Pragma("GCC unroll 12")

/* The bits of 2^52 and of 2^104. */
static const uint64_t low_bits = UINT64_C(0x433) << 52, high_bits = UINT64_C(0x467) << 52;

/* --- answers ------------------------------------------------------------------------ */

INLINE mask m_or(mask a, mask b)
{
    return _mm256_or_si256(a, b);
}

INLINE mask m_and(mask a, mask b)
{
    return _mm256_and_si256(a, b);
}

INLINE mask m_not(mask a)
{
    return _mm256_xor_si256(a, _mm256_set1_epi64x(-1));
}

INLINE mask m_from(const bool *a)
{
    return _mm256_set_epi64x(-(int64_t) a[3], -(int64_t) a[2], -(int64_t) a[1], -(int64_t) a[0]);
}

/* Bit i is lane i's. */
INLINE uint32_t m_bits(mask a)
{
    return (uint32_t) _mm256_movemask_pd(_mm256_castsi256_pd(a));
}

/* --- vectors ------------------------------------------------------------------------- */

INLINE vec v_set(uint64_t a)
{
    return _mm256_set1_epi64x((long long) a);
}

/* Lane i from word[i * stride]. */
INLINE vec v_gather(const uint64_t *word, int stride)
{
    return _mm256_set_epi64x((long long) word[3 * stride], (long long) word[2 * stride],
                             (long long) word[stride], (long long) word[0]);
}

INLINE vec v_load(const uint64_t *words)
{
    return _mm256_load_si256((const vec *) (const void *) words);
}

INLINE void v_store(uint64_t *words, vec a)
{
    _mm256_store_si256((vec *) (void *) words, a);
}

INLINE vec v_add(vec a, vec b)
{
    return _mm256_add_epi64(a, b);
}

INLINE vec v_sub(vec a, vec b)
{
    return _mm256_sub_epi64(a, b);
}

INLINE vec v_and(vec a, vec b)
{
    return _mm256_and_si256(a, b);
}

INLINE vec v_or(vec a, vec b)
{
    return _mm256_or_si256(a, b);
}

INLINE vec v_xor(vec a, vec b)
{
    return _mm256_xor_si256(a, b);
}

INLINE vec v_shl(vec a, int by)
{
    return _mm256_sll_epi64(a, _mm_cvtsi32_si128(by));
}

INLINE vec v_shl_each(vec a, vec by)
{
    return _mm256_sllv_epi64(a, by);
}

INLINE vec v_shr(vec a, int by)
{
    return _mm256_srl_epi64(a, _mm_cvtsi32_si128(by));
}

/* With the sign: 2^63 is added for the shift, and what became of it taken off. */
INLINE vec v_sar(vec a, int by)
{
    const uint64_t top = UINT64_C(1) << 63;

    return v_sub(v_shr(v_xor(a, v_set(top)), by), v_set(top >> by));
}

INLINE mask v_is_zero(vec a)
{
    return _mm256_cmpeq_epi64(a, _mm256_setzero_si256());
}

/* where ? yes : no */
INLINE vec v_pick(mask where, vec yes, vec no)
{
    return _mm256_blendv_epi8(no, yes, where);
}

/* One lane in all. */
INLINE vec v_lane(vec a, uint32_t lane)
{
    const vec halves = _mm256_set1_epi64x((long long) (2 * lane + ((uint64_t) (2 * lane + 1) << 32)));

    return _mm256_permutevar8x32_epi32(a, halves);
}

/* Four vectors: rows become columns. */
INLINE void v_transpose(vec *r)
{
    const vec a = _mm256_unpacklo_epi64(r[0], r[1]), b = _mm256_unpackhi_epi64(r[0], r[1]),
              c = _mm256_unpacklo_epi64(r[2], r[3]), d = _mm256_unpackhi_epi64(r[2], r[3]);

    r[0] = _mm256_permute2x128_si256(a, c, 0x20);
    r[1] = _mm256_permute2x128_si256(b, d, 0x20);
    r[2] = _mm256_permute2x128_si256(a, c, 0x31);
    r[3] = _mm256_permute2x128_si256(b, d, 0x31);
}

/* --- factors ------------------------------------------------------------------------- */

INLINE limb l_set(uint64_t a)
{
    return _mm256_set1_pd((double) a);
}

/* 2^52 + a, put together, less 2^52. */
INLINE limb l_of(vec a)
{
    return _mm256_sub_pd(_mm256_castsi256_pd(v_or(a, v_set(low_bits))), _mm256_set1_pd(0x1p52));
}

INLINE limb l_low(vec a)
{
    return l_of(v_and(a, v_set(limb_mask)));
}

INLINE limb l_cut(vec a)
{
    return l_low(a);
}

/* The number; and its representation, to compare. */
INLINE vec l_number(limb a)
{
    return v_xor(_mm256_castpd_si256(_mm256_add_pd(a, _mm256_set1_pd(0x1p52))), v_set(low_bits));
}

INLINE vec l_bits(limb a)
{
    return _mm256_castpd_si256(a);
}

INLINE limb l_sub(limb a, limb b)
{
    return _mm256_sub_pd(a, b);
}

INLINE limb l_pick(mask where, limb yes, limb no)
{
    return _mm256_blendv_pd(no, yes, _mm256_castsi256_pd(where));
}

/* --- products ------------------------------------------------------------------------ */

/* The exponents, taken off. */
static inline uint64_t v_start(uint64_t low, uint64_t high)
{
    return 0 - low * low_bits - high * high_bits;
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

/* Sixteen registers: they are a, two constants and ten columns, so that b is fetched anew for each row. */
INLINE void add_row(vec *acc, limb a, const limb *b, int from, int to)
{
    __asm__ volatile("" ::: "memory");
    UNROLL for (int j = from; j < to; j++) add_both(&acc[j], a, b[j]);
}

/* Rounds towards zero, nothing traps. Compilers know nothing of it: what computes in between is called by
 * pointer, or is not inline. */
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

#endif
