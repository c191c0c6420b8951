#ifndef CM_ENGINE_VEC8_H
#define CM_ENGINE_VEC8_H

#include "engine/limbs.h"

#include <immintrin.h>
#include <stdbool.h>

/* vec8.h - eight numbers side by side, in the lanes of a 512-bit vector, and the 52-bit multiply-adds of
 * AVX-512 IFMA. vec4.h offers the same for four.
 *
 *   vec, limb, mask      64 bits of each lane; 52 bits as a factor; an answer of each lane
 *   l_of, l_low, l_cut   a factor of what is below 2^52, and of the lowest 52 bits
 *   v_start              what a sum of so many low and high halves starts from
 *   add_low, add_high    acc += the low or the high half of a * b: below 2^52 both
 *   add_both, add_row    both, to acc[0] and acc[1], for one b and for several
 *   vectors_begin, _end  around all arithmetic, outside of inline functions' callers
 */
enum { LANES = 8 };

typedef __m512i vec;
typedef __m512i limb;
typedef __mmask8 mask;

#define TARGET __attribute__((target("avx512f,avx512dq,avx512ifma")))
#define INLINE TARGET __attribute__((always_inline)) static inline
#define UNROLL _Pragma("GCC unroll 12")

/* --- answers ------------------------------------------------------------------------ */

INLINE mask m_or(mask a, mask b)
{
    return a | b;
}

INLINE mask m_and(mask a, mask b)
{
    return a & b;
}

INLINE mask m_not(mask a)
{
    return (mask) ~a;
}

INLINE mask m_from(const bool *a)
{
    uint32_t bits = 0;

    for (int i = 0; i < LANES; i++)
        bits |= (uint32_t) a[i] << i;
    return (mask) bits;
}

/* Bit i is lane i's. */
INLINE uint32_t m_bits(mask a)
{
    return a;
}

/* --- vectors ------------------------------------------------------------------------- */

INLINE vec v_set(uint64_t a)
{
    return _mm512_set1_epi64((long long) a);
}

/* Lane i from word[i * stride]. */
INLINE vec v_gather(const uint64_t *word, int stride)
{
    uint64_t lane[LANES];

    for (int i = 0; i < LANES; i++)
        lane[i] = word[i * stride];
    return _mm512_loadu_si512(lane);
}

INLINE vec v_load(const uint64_t *words)
{
    return _mm512_load_si512(words);
}

INLINE void v_store(uint64_t *words, vec a)
{
    _mm512_store_si512(words, a);
}

INLINE vec v_add(vec a, vec b)
{
    return _mm512_add_epi64(a, b);
}

INLINE vec v_sub(vec a, vec b)
{
    return _mm512_sub_epi64(a, b);
}

INLINE vec v_and(vec a, vec b)
{
    return _mm512_and_si512(a, b);
}

INLINE vec v_or(vec a, vec b)
{
    return _mm512_or_si512(a, b);
}

INLINE vec v_xor(vec a, vec b)
{
    return _mm512_xor_si512(a, b);
}

INLINE vec v_shl(vec a, int by)
{
    return _mm512_sll_epi64(a, _mm_cvtsi32_si128(by));
}

INLINE vec v_shl_each(vec a, vec by)
{
    return _mm512_sllv_epi64(a, by);
}

INLINE vec v_shr(vec a, int by)
{
    return _mm512_srl_epi64(a, _mm_cvtsi32_si128(by));
}

/* With the sign. */
INLINE vec v_sar(vec a, int by)
{
    return _mm512_sra_epi64(a, _mm_cvtsi32_si128(by));
}

INLINE mask v_is_zero(vec a)
{
    return _mm512_testn_epi64_mask(a, a);
}

/* where ? yes : no */
INLINE vec v_pick(mask where, vec yes, vec no)
{
    return _mm512_mask_mov_epi64(no, where, yes);
}

/* One lane in all. */
INLINE vec v_lane(vec a, uint32_t lane)
{
    return _mm512_permutexvar_epi64(v_set(lane), a);
}

/* Eight vectors: rows become columns. */
INLINE void v_transpose(vec *r)
{
    vec low[4], high[4];

    UNROLL for (int i = 0; i < 4; i++)
    {
        low[i] = _mm512_unpacklo_epi64(r[2 * i], r[2 * i + 1]);
        high[i] = _mm512_unpackhi_epi64(r[2 * i], r[2 * i + 1]);
    }
    UNROLL for (int odd = 0; odd < 2; odd++)
    {
        const vec *const t = odd != 0 ? high : low;
        const vec a = _mm512_shuffle_i64x2(t[0], t[1], 0x88), b = _mm512_shuffle_i64x2(t[2], t[3], 0x88),
                  c = _mm512_shuffle_i64x2(t[0], t[1], 0xdd), d = _mm512_shuffle_i64x2(t[2], t[3], 0xdd);
        r[odd] = _mm512_shuffle_i64x2(a, b, 0x88);
        r[odd + 4] = _mm512_shuffle_i64x2(a, b, 0xdd);
        r[odd + 2] = _mm512_shuffle_i64x2(c, d, 0x88);
        r[odd + 6] = _mm512_shuffle_i64x2(c, d, 0xdd);
    }
}

/* --- factors ------------------------------------------------------------------------- */

INLINE limb l_set(uint64_t a)
{
    return v_set(a);
}

INLINE limb l_of(vec a)
{
    return a;
}

INLINE limb l_low(vec a)
{
    return v_and(a, v_set(limb_mask));
}

/* The lowest 52 bits as a factor: products take no others. */
INLINE limb l_cut(vec a)
{
    return a;
}

/* The number; and its representation, to compare. */
INLINE vec l_number(limb a)
{
    return a;
}

INLINE vec l_bits(limb a)
{
    return a;
}

INLINE limb l_sub(limb a, limb b)
{
    return v_sub(a, b);
}

INLINE limb l_pick(mask where, limb yes, limb no)
{
    return v_pick(where, yes, no);
}

/* --- products ------------------------------------------------------------------------ */

/* Halves are added as they are. */
static inline uint64_t v_start(uint64_t low, uint64_t high)
{
    (void) low;
    (void) high;
    return 0;
}

INLINE void add_low(vec *acc, limb a, limb b)
{
    *acc = _mm512_madd52lo_epu64(*acc, a, b);
}

INLINE void add_high(vec *acc, limb a, limb b)
{
    *acc = _mm512_madd52hi_epu64(*acc, a, b);
}

INLINE void add_both(vec *acc, limb a, limb b)
{
    add_low(&acc[0], a, b);
    add_high(&acc[1], a, b);
}

/* The same for a and each of b[from] ... b[to - 1]. */
INLINE void add_row(vec *acc, limb a, const limb *b, int from, int to)
{
    UNROLL for (int j = from; j < to; j++) add_low(&acc[j], a, b[j]);
    UNROLL for (int j = from; j < to; j++) add_high(&acc[j + 1], a, b[j]);
}

static inline uint32_t vectors_begin(void)
{
    return 0;
}

static inline void vectors_end(uint32_t state)
{
    (void) state;
}

#endif
