#ifndef CM_ENGINE_EC_IFMA_H
#define CM_ENGINE_EC_IFMA_H

#include "engine/ecway.h"

#include <immintrin.h>
#include <string.h>

/* ec_ifma.h - eccore.h for eight numbers side by side, one in each lane of a 512-bit vector, by the
 * 52-bit multiply-adds of AVX-512 IFMA; R = 2^(52 * LIMBS).
 *
 * Defined before: CURVE, CURVE_BITS, LIMBS; fe_p, the limbs of p; fe_rr, R^2 mod p; QUOTIENT, -1/p
 * modulo 2^52; and FOLD(r, q), which takes q * p from the limbs r by shifts.
 *
 * Bounds (tests/ec_bounds.py derives them again). Limbs of an element are below 2^52, the last one
 * takes the rest. An operation's result is in (0, 2.6 p): fold() subtracts one less p than the
 * last limb asks for, so that neither the carries that it does not know nor the difference of p and
 * 2^CURVE_BITS can make it negative. A product of two such numbers is below 2.6^2 p^2, and
 * reduced below (2.6^2 p / R + 1) p, which is 1.43 p for P-256 and all but p for the others. A
 * column of a product takes at most 4 * LIMBS numbers below 2^52 in its 64 bits. A y out of a table may
 * be negative and its limbs too: it is an operand of differences only.
 */
enum { LANES = 8, WIDTH = 7, BUCKET_WORDS = (3 * LIMBS + 7) / 8 * 8, TOP = CURVE_BITS - 52 * (LIMBS - 1) };

#define TARGET __attribute__((target("avx512f,avx512dq,avx512ifma")))
#define CORE TARGET static
#define INLINE TARGET __attribute__((always_inline)) static inline
#define UNROLL _Pragma("GCC unroll 12")

typedef __m512i vec;
typedef __mmask8 mask;

static const uint64_t limb_mask = (UINT64_C(1) << 52) - 1;

struct element {
    vec l[LIMBS];
};

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

INLINE uint32_t m_bits(mask a)
{
    return a;
}

INLINE vec v_set(uint64_t a)
{
    return _mm512_set1_epi64((long long) a);
}

INLINE vec v_or(vec a, vec b)
{
    return _mm512_or_si512(a, b);
}

INLINE vec v_shl(vec a, int by)
{
    return _mm512_sll_epi64(a, _mm_cvtsi32_si128(by));
}

INLINE vec v_shr(vec a, int by)
{
    return _mm512_srl_epi64(a, _mm_cvtsi32_si128(by));
}

INLINE vec v_gather(uint64_t (*number)[CM_EC_WORDS + 1], int i)
{
    return _mm512_set_epi64((long long) number[7][i], (long long) number[6][i], (long long) number[5][i],
                            (long long) number[4][i], (long long) number[3][i], (long long) number[2][i],
                            (long long) number[1][i], (long long) number[0][i]);
}

/* --- field elements -------------------------------------------------------------- */

/* Any signed limbs to those of an element, the same modulo p. */
INLINE void fold(vec *r, struct element *out)
{
    const vec q = _mm512_sub_epi64(_mm512_srai_epi64(r[LIMBS - 1], TOP), v_set(1));

    FOLD(r, q);
    UNROLL for (int i = 0; i + 1 < LIMBS; i++)
    {
        r[i + 1] = _mm512_add_epi64(r[i + 1], _mm512_srai_epi64(r[i], 52));
        out->l[i] = _mm512_and_si512(r[i], v_set(limb_mask));
    }
    out->l[LIMBS - 1] = r[LIMBS - 1];
}

INLINE void fe_add(const struct element *a, const struct element *b, struct element *out)
{
    vec r[LIMBS];

    UNROLL for (int i = 0; i < LIMBS; i++) r[i] = _mm512_add_epi64(a->l[i], b->l[i]);
    fold(r, out);
}

INLINE void fe_sub(const struct element *a, const struct element *b, struct element *out)
{
    vec r[LIMBS];

    UNROLL for (int i = 0; i < LIMBS; i++) r[i] = _mm512_sub_epi64(a->l[i], b->l[i]);
    fold(r, out);
}

/* One limb of Montgomery's quotient: makes column acc[0] a multiple of 2^52, and hands it on. Where
 * the quotient is the column itself, acc + q * p = (acc - q) + q * (p + 1), and p + 1 has few limbs. */
INLINE void reduce_step(vec *acc)
{
    if (QUOTIENT == 1) {
        const vec q = acc[0];
        UNROLL for (int j = 1; j < LIMBS; j++)
        {
            if (fe_p_plus_one[j] == 0)
                continue;
            acc[j] = _mm512_madd52lo_epu64(acc[j], q, v_set(fe_p_plus_one[j]));
            acc[j + 1] = _mm512_madd52hi_epu64(acc[j + 1], q, v_set(fe_p_plus_one[j]));
        }
    } else {
        const vec q = _mm512_madd52lo_epu64(_mm512_setzero_si512(), acc[0], v_set(QUOTIENT));
        UNROLL for (int j = 0; j < LIMBS; j++)
        {
            acc[j] = _mm512_madd52lo_epu64(acc[j], q, v_set(fe_p[j]));
            acc[j + 1] = _mm512_madd52hi_epu64(acc[j + 1], q, v_set(fe_p[j]));
        }
    }
    acc[1] = _mm512_add_epi64(acc[1], _mm512_srli_epi64(acc[0], 52));
}

INLINE void reduce(vec *acc, struct element *out)
{
    UNROLL for (int i = 0; i < LIMBS; i++) reduce_step(acc + i);
    UNROLL for (int i = 0; i + 1 < LIMBS; i++)
    {
        acc[LIMBS + i + 1] = _mm512_add_epi64(acc[LIMBS + i + 1], _mm512_srli_epi64(acc[LIMBS + i], 52));
        out->l[i] = _mm512_and_si512(acc[LIMBS + i], v_set(limb_mask));
    }
    out->l[LIMBS - 1] = acc[2 * LIMBS - 1];
}

MUL_CORE void fe_mul(const struct element *a, const struct element *b, struct element *out)
{
    vec acc[2 * LIMBS];

    UNROLL for (int i = 0; i < LIMBS; i++) acc[i] = acc[LIMBS + i] = _mm512_setzero_si512();
    UNROLL for (int i = 0; i < LIMBS; i++)
    {
        UNROLL for (int j = 0; j < LIMBS; j++) acc[i + j] =
            _mm512_madd52lo_epu64(acc[i + j], a->l[i], b->l[j]);
        UNROLL for (int j = 0; j < LIMBS; j++) acc[i + j + 1] =
            _mm512_madd52hi_epu64(acc[i + j + 1], a->l[i], b->l[j]);
    }
    reduce(acc, out);
}

MUL_CORE void fe_sqr(const struct element *a, struct element *out)
{
    vec acc[2 * LIMBS];

    UNROLL for (int i = 0; i < LIMBS; i++) acc[i] = acc[LIMBS + i] = _mm512_setzero_si512();
    UNROLL for (int i = 0; i < LIMBS; i++)
    {
        UNROLL for (int j = i + 1; j < LIMBS; j++) acc[i + j] =
            _mm512_madd52lo_epu64(acc[i + j], a->l[i], a->l[j]);
        UNROLL for (int j = i + 1; j < LIMBS; j++) acc[i + j + 1] =
            _mm512_madd52hi_epu64(acc[i + j + 1], a->l[i], a->l[j]);
    }
    UNROLL for (int i = 0; i < LIMBS; i++)
    {
        acc[2 * i] = _mm512_madd52lo_epu64(_mm512_add_epi64(acc[2 * i], acc[2 * i]), a->l[i], a->l[i]);
        acc[2 * i + 1] =
            _mm512_madd52hi_epu64(_mm512_add_epi64(acc[2 * i + 1], acc[2 * i + 1]), a->l[i], a->l[i]);
    }
    reduce(acc, out);
}

/* a / R: at most p, and p only for a multiple of p. */
INLINE void leave(const struct element *a, struct element *out)
{
    vec acc[2 * LIMBS];

    UNROLL for (int i = 0; i < LIMBS; i++)
    {
        acc[i] = a->l[i];
        acc[LIMBS + i] = _mm512_setzero_si512();
    }
    reduce(acc, out);
}

CORE mask fe_is_zero(const struct element *a)
{
    vec any = _mm512_setzero_si512(), differs = _mm512_setzero_si512();
    struct element t;

    leave(a, &t);
    UNROLL for (int i = 0; i < LIMBS; i++)
    {
        any = _mm512_or_si512(any, t.l[i]);
        differs = _mm512_or_si512(differs, _mm512_xor_si512(t.l[i], v_set(fe_p[i])));
    }
    return _mm512_testn_epi64_mask(any, any) | _mm512_testn_epi64_mask(differs, differs);
}

INLINE void fe_pick(mask where, const struct element *a, struct element *out)
{
    UNROLL for (int i = 0; i < LIMBS; i++) out->l[i] = _mm512_mask_mov_epi64(out->l[i], where, a->l[i]);
}

INLINE void fe_broadcast(const struct element *a, uint32_t lane, struct element *out)
{
    UNROLL for (int i = 0; i < LIMBS; i++) out->l[i] = _mm512_permutexvar_epi64(v_set(lane), a->l[i]);
}

/* Limb i of numbers given by their words. */
INLINE vec limb_of(const vec *word, int i)
{
    const int at = 52 * i / 64, shift = 52 * i % 64;
    vec l = v_shr(word[at], shift);

    if (shift > 12 && at + 1 < CM_EC_WORDS)
        l = v_or(l, v_shl(word[at + 1], 64 - shift));
    return _mm512_and_si512(l, v_set(limb_mask));
}

CORE void enter(const vec *word, struct element *out)
{
    struct element a, rr;

    UNROLL for (int i = 0; i < LIMBS; i++)
    {
        a.l[i] = limb_of(word, i);
        rr.l[i] = v_set(fe_rr[i]);
    }
    fe_mul(&a, &rr, out);
}

CORE void fe_from_words(cm_num *words, struct element *out)
{
    vec word[CM_EC_WORDS];

    for (int i = 0; i < CM_EC_WORDS; i++)
        word[i] = _mm512_set_epi64((long long) words[7][i], (long long) words[6][i], (long long) words[5][i],
                                   (long long) words[4][i], (long long) words[3][i], (long long) words[2][i],
                                   (long long) words[1][i], (long long) words[0][i]);
    enter(word, out);
}

CORE void enter_constant(const uint64_t *words, struct element *out)
{
    vec word[CM_EC_WORDS];

    for (int i = 0; i < CM_EC_WORDS; i++)
        word[i] = v_set(words[i]);
    enter(word, out);
}

CORE void fe_one(struct element *out)
{
    const cm_num one = { 1 };

    enter_constant(one, out);
}

CORE void fe_b(struct element *out)
{
    enter_constant(CURVE.b, out);
}

CORE void fe_to_words(const struct element *a, cm_num *words)
{
    uint64_t lane[LIMBS][LANES];
    struct element t;

    leave(a, &t);
    for (int i = 0; i < LIMBS; i++)
        _mm512_storeu_si512(lane[i], t.l[i]);
    memset(words, 0, LANES * sizeof *words);
    for (int k = 0; k < LANES; k++) {
        for (int i = 0; i < LIMBS; i++) {
            const int at = 52 * i / 64, shift = 52 * i % 64;
            words[k][at] |= lane[i][k] << shift;
            if (shift > 12 && at + 1 < CM_EC_WORDS)
                words[k][at + 1] |= lane[i][k] >> (64 - shift);
        }
        cm_mod_trim(CURVE.p, 0, words[k], words[k]);
    }
}

#include "engine/ecsum.h"

/* --- tables and buckets ------------------------------------------------------------ */

/* One of 64 words for each lane: at's lowest four bits choose in registers, two bits between them. */
INLINE vec choose(const uint64_t *words, vec at, mask bit4, mask bit5)
{
    vec r[ENTRIES / 16];

    UNROLL for (int i = 0; i < ENTRIES / 16; i++) r[i] = _mm512_permutex2var_epi64(
        _mm512_load_si512(words + 16 * i), at, _mm512_load_si512(words + 16 * i + 8));
    const vec low = _mm512_mask_mov_epi64(r[0], bit4, r[1]), high = _mm512_mask_mov_epi64(r[2], bit4, r[3]);
    return _mm512_mask_mov_epi64(low, bit5, high);
}

/* u's top bit: the digit is positive. Every entry is read, whichever is wanted. */
CORE void find(const uint64_t *table, vec u, struct sum *out)
{
    const mask minus = _mm512_testn_epi64_mask(u, v_set(ENTRIES));
    const vec at = _mm512_mask_xor_epi64(u, minus, u, v_set(ENTRIES - 1));
    const mask bit4 = _mm512_test_epi64_mask(at, v_set(16)), bit5 = _mm512_test_epi64_mask(at, v_set(32));

    UNROLL for (int i = 0; i < LIMBS; i++)
    {
        const vec y = choose(table + (LIMBS + i) * ENTRIES, at, bit4, bit5);
        out->x.l[i] = choose(table + i * ENTRIES, at, bit4, bit5);
        out->y.l[i] = _mm512_mask_sub_epi64(y, minus, v_set(fe_p[i]), y);
    }
}

/* Eight vectors of eight words: rows become columns. */
INLINE void transpose(vec *r)
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

CORE void load_buckets(uint64_t *const *at, struct jacobian *out)
{
    vec flat[BUCKET_WORDS];

    UNROLL for (int b = 0; b < BUCKET_WORDS; b += 8)
    {
        UNROLL for (int i = 0; i < LANES; i++) flat[b + i] = _mm512_load_si512(at[i] + b);
        transpose(flat + b);
    }
    memcpy(out, flat, sizeof *out);
}

CORE void store_buckets(uint64_t *const *at, const struct jacobian *a)
{
    vec flat[BUCKET_WORDS] = { 0 };

    memcpy(flat, a, sizeof *a);
    UNROLL for (int b = 0; b < BUCKET_WORDS; b += 8)
    {
        transpose(flat + b);
        UNROLL for (int i = 0; i < LANES; i++) _mm512_store_si512(at[i] + b, flat[b + i]);
    }
}

/* Eight points of a window, from entry j on. */
CORE void fill_eight(const struct cm_ecpoint *point, uint64_t *window, int j)
{
    struct element x, y;

    take_points(point, LANES, &x, &y);
    for (int l = 0; l < LIMBS; l++) {
        _mm512_store_si512(window + l * ENTRIES + j, x.l[l]);
        _mm512_store_si512(window + (LIMBS + l) * ENTRIES + j, y.l[l]);
    }
}

CORE void fill(const struct cm_ecpoint *point, void *table)
{
    const int windows = cm_ec_windows(&CURVE, WIDTH);

    for (int i = 0; i < windows; i++)
        for (int j = 0; j < ENTRIES; j += LANES)
            fill_eight(point + i * ENTRIES + j, (uint64_t *) table + (size_t) i * 2 * LIMBS * ENTRIES, j);
}

enum { TABLE_OCTETS = ((CURVE_BITS + WIDTH - 1) / WIDTH) * ENTRIES * 2 * LIMBS * 8 };

#endif
