#ifndef CM_ENGINE_EC_VEC_H
#define CM_ENGINE_EC_VEC_H

#include "engine/ecway.h"

#include <string.h>

/* ec_vec.h - eccore.h for LANES numbers side by side, one in each lane of a vector, by multiply-adds of
 * 52 bits; R = 2^(52 * LIMBS).
 *
 * Included before: vec8.h or vec4.h, and ec_p256.h, ec_p384.h or ec_p521.h, which define CURVE, CURVE_BITS,
 * LIMBS; fe_p, the limbs of p; fe_rr, R^2 mod p; QUOTIENT, -1/p modulo 2^52; and FOLD(r, q), which
 * takes q * p from the limbs r by shifts. Also SHIFTS_ARE_FASTER, than products; WIDTH, the bits of a window,
 * and choose(), which picks one word of a table's for each lane.
 *
 * Bounds (tests/ec_bounds.py derives them again). Limbs of an element are below 2^52, the last one
 * takes the rest. An operation's result is in (0, 2.6 p): fold() subtracts one less p than the
 * last limb asks for, so that neither the carries that it does not know nor the difference of p and
 * 2^CURVE_BITS can make it negative. A product of two such numbers is below 2.6^2 p^2, and
 * reduced below (2.6^2 p / R + 1) p, which is 1.43 p for P-256 and all but p for the others. A
 * column of a product takes at most 4 * LIMBS numbers below 2^52 in its 64 bits. A y out of a table may
 * be negative and its limbs too: it is an operand of differences only.
 */
enum { BUCKET_WORDS = (3 * LIMBS + LANES - 1) / LANES * LANES, TOP = CURVE_BITS - 52 * (LIMBS - 1) };

#define CORE TARGET static

struct element {
    vec l[LIMBS];
};

/* --- field elements -------------------------------------------------------------- */

/* Any signed limbs to those of an element, the same modulo p. */
INLINE void fold(vec *r, struct element *out)
{
    const vec q = v_sub(v_sar(r[LIMBS - 1], TOP), v_set(1));

    FOLD(r, q);
    UNROLL for (int i = 0; i + 1 < LIMBS; i++)
    {
        r[i + 1] = v_add(r[i + 1], v_sar(r[i], 52));
        out->l[i] = v_and(r[i], v_set(limb_mask));
    }
    out->l[LIMBS - 1] = r[LIMBS - 1];
}

INLINE void fe_add(const struct element *a, const struct element *b, struct element *out)
{
    vec r[LIMBS];

    UNROLL for (int i = 0; i < LIMBS; i++) r[i] = v_add(a->l[i], b->l[i]);
    fold(r, out);
}

INLINE void fe_sub(const struct element *a, const struct element *b, struct element *out)
{
    vec r[LIMBS];

    UNROLL for (int i = 0; i < LIMBS; i++) r[i] = v_sub(a->l[i], b->l[i]);
    fold(r, out);
}

/* What column i starts from: products of all pairs of limbs that end there, or, for a square, which is
 * doubled, half of them; and those of the reduction. */
INLINE uint64_t pairs(int i)
{
    return (uint64_t) (i < 0 ? 0 : i < LIMBS ? i + 1 : 2 * LIMBS - 1 - i);
}

/* Is p's limb j, or that of p + 1, multiplied by quotients? */
INLINE bool is_factor(int j)
{
    return QUOTIENT != 1 || fe_p_plus_one[j] != 0;
}

/* Are these products shifts? Limbs of p + 1 are 0, a power of two or a difference of two. */
enum { SHIFTS = QUOTIENT == 1 && SHIFTS_ARE_FASTER };

/* The lower power of a difference; 0: it is none. */
INLINE uint64_t taken_off(int j)
{
    const uint64_t f = fe_p_plus_one[j], lowest = f & (0 - f);

    return f == lowest ? 0 : lowest;
}

/* With shifts: what a column would owe, 2^52 at most, is lent to it by the next one. */
INLINE vec start_of_reduction(int i)
{
    uint64_t low = 0, high = 0, lent = 0;

    UNROLL for (int j = 0; j < LIMBS; j++)
    {
        low += is_factor(j) && i - j >= 0 && i - j < LIMBS;
        high += is_factor(j) && i - 1 - j >= 0 && i - 1 - j < LIMBS;
        lent += taken_off(j) != 0 && i >= j && i < 2 * LIMBS - 1 ? UINT64_C(1) << 52 : 0;
        lent -= taken_off(j) != 0 && i > j;
    }
    return v_set(SHIFTS ? lent : v_start(low, high));
}

INLINE vec start_of_product(int i)
{
    return v_set(v_start(pairs(i), pairs(i - 1)));
}

/* acc += q * f * 2^52j for the limb f of p + 1. */
INLINE void add_shifts(vec *acc, vec q, int j)
{
    const uint64_t off = taken_off(j), on = fe_p_plus_one[j] + off;

    acc[j] = v_add(acc[j], v_and(v_shl(q, __builtin_ctzll(on)), v_set(limb_mask)));
    acc[j + 1] = v_add(acc[j + 1], v_shr(q, 52 - __builtin_ctzll(on)));
    if (off != 0) {
        acc[j] = v_sub(acc[j], v_and(v_shl(q, __builtin_ctzll(off)), v_set(limb_mask)));
        acc[j + 1] = v_sub(acc[j + 1], v_shr(q, 52 - __builtin_ctzll(off)));
    }
}

/* acc += q * p, or q * (p + 1), for a q of the lowest 52 bits. */
INLINE void add_multiple(vec *acc, vec q)
{
    limb p[LIMBS];

    UNROLL for (int j = 0; j < LIMBS; j++) p[j] = l_set(QUOTIENT == 1 ? fe_p_plus_one[j] : fe_p[j]);
    if (QUOTIENT != 1) {
        add_row(acc, l_cut(q), p, 0, LIMBS);
        return;
    }
    UNROLL for (int j = 0; j < LIMBS; j++)
    {
        if (is_factor(j) && SHIFTS)
            add_shifts(acc, v_and(q, v_set(limb_mask)), j);
        else if (is_factor(j))
            add_both(&acc[j], l_cut(q), p[j]);
    }
}

/* One limb of Montgomery's quotient: makes column acc[0] a multiple of 2^52, and hands it on. Where
 * the quotient is the column itself, acc + q * p = (acc - q) + q * (p + 1), and p + 1 has few limbs. */
INLINE void reduce_step(vec *acc)
{
    vec q = acc[0];

    if (QUOTIENT != 1) {
        q = v_set(v_start(1, 0));
        add_low(&q, l_cut(acc[0]), l_set(QUOTIENT & limb_mask));
    }
    add_multiple(acc, q);
    acc[1] = v_add(acc[1], v_shr(acc[0], 52));
}

/* Of columns that started from start_of_reduction(), too. */
INLINE void reduce(vec *acc, struct element *out)
{
    UNROLL for (int i = 0; i < LIMBS; i++) reduce_step(acc + i);
    UNROLL for (int i = 0; i + 1 < LIMBS; i++)
    {
        acc[LIMBS + i + 1] = v_add(acc[LIMBS + i + 1], v_shr(acc[LIMBS + i], 52));
        out->l[i] = v_and(acc[LIMBS + i], v_set(limb_mask));
    }
    out->l[LIMBS - 1] = acc[2 * LIMBS - 1];
}

INLINE void factors(const struct element *a, limb *out)
{
    UNROLL for (int i = 0; i < LIMBS; i++) out[i] = l_of(a->l[i]);
}

MUL_CORE void fe_mul(const struct element *a, const struct element *b, struct element *out)
{
    vec acc[2 * LIMBS];
    limb x[LIMBS], y[LIMBS];

    factors(a, x);
    factors(b, y);
    UNROLL for (int i = 0; i < 2 * LIMBS; i++) acc[i] = v_add(start_of_product(i), start_of_reduction(i));
    UNROLL for (int i = 0; i < LIMBS; i++) add_row(acc + i, x[i], y, 0, LIMBS);
    reduce(acc, out);
}

MUL_CORE void fe_sqr(const struct element *a, struct element *out)
{
    vec acc[2 * LIMBS];
    limb x[LIMBS];

    factors(a, x);
    UNROLL for (int i = 0; i < 2 * LIMBS; i++) acc[i] = v_set(0);
    UNROLL for (int i = 0; i < LIMBS; i++) add_row(acc + i, x[i], x, i + 1, LIMBS);
    UNROLL for (int i = 0; i < 2 * LIMBS; i++) acc[i] =
        v_add(v_add(acc[i], acc[i]), v_add(start_of_product(i), start_of_reduction(i)));
    UNROLL for (int i = 0; i < LIMBS; i++) add_both(&acc[2 * i], x[i], x[i]);
    reduce(acc, out);
}

/* a / R: at most p, and p only for a multiple of p. */
INLINE void leave(const struct element *a, struct element *out)
{
    vec acc[2 * LIMBS];

    UNROLL for (int i = 0; i < LIMBS; i++)
    {
        acc[i] = v_add(a->l[i], start_of_reduction(i));
        acc[LIMBS + i] = start_of_reduction(LIMBS + i);
    }
    reduce(acc, out);
}

CORE mask fe_is_zero(const struct element *a)
{
    vec any = v_set(0), differs = v_set(0);
    struct element t;

    leave(a, &t);
    UNROLL for (int i = 0; i < LIMBS; i++)
    {
        any = v_or(any, t.l[i]);
        differs = v_or(differs, v_xor(t.l[i], v_set(fe_p[i])));
    }
    return m_or(v_is_zero(any), v_is_zero(differs));
}

INLINE void fe_pick(mask where, const struct element *a, struct element *out)
{
    UNROLL for (int i = 0; i < LIMBS; i++) out->l[i] = v_pick(where, a->l[i], out->l[i]);
}

INLINE void fe_broadcast(const struct element *a, uint32_t lane, struct element *out)
{
    UNROLL for (int i = 0; i < LIMBS; i++) out->l[i] = v_lane(a->l[i], lane);
}

/* Limb i of numbers given by their words. */
INLINE vec limb_of(const vec *word, int i)
{
    const int at = 52 * i / 64, shift = 52 * i % 64;
    vec l = v_shr(word[at], shift);

    if (shift > 12 && at + 1 < CM_EC_WORDS)
        l = v_or(l, v_shl(word[at + 1], 64 - shift));
    return v_and(l, v_set(limb_mask));
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
        word[i] = v_gather(&words[0][i], CM_EC_WORDS);
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
    uint64_t lane[LIMBS][LANES] __attribute__((aligned(64)));
    struct element t;

    leave(a, &t);
    for (int i = 0; i < LIMBS; i++)
        v_store(lane[i], t.l[i]);
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

/* One of a window's words for each lane, which holds its number in v; every one is read. */
INLINE vec choose(const uint64_t *words, vec v);

/* u's top bit: the digit is positive. Every entry is read, whichever is wanted. */
CORE void find(const uint64_t *table, vec u, struct sum *out)
{
    const mask minus = v_is_zero(v_and(u, v_set(ENTRIES)));
    const vec at = v_and(v_xor(u, v_pick(minus, v_set(ENTRIES - 1), v_set(0))), v_set(ENTRIES - 1));

    UNROLL for (int i = 0; i < LIMBS; i++)
    {
        const vec y = choose(table + (LIMBS + i) * ENTRIES, at);
        out->x.l[i] = choose(table + i * ENTRIES, at);
        out->y.l[i] = v_pick(minus, v_sub(v_set(fe_p[i]), y), y);
    }
}

CORE void load_buckets(uint64_t *const *at, struct jacobian *out)
{
    vec flat[BUCKET_WORDS];

    UNROLL for (int b = 0; b < BUCKET_WORDS; b += LANES)
    {
        UNROLL for (int i = 0; i < LANES; i++) flat[b + i] = v_load(at[i] + b);
        v_transpose(flat + b);
    }
    memcpy(out, flat, sizeof *out);
}

CORE void store_buckets(uint64_t *const *at, const struct jacobian *a)
{
    vec flat[BUCKET_WORDS] = { 0 };

    memcpy(flat, a, sizeof *a);
    UNROLL for (int b = 0; b < BUCKET_WORDS; b += LANES)
    {
        v_transpose(flat + b);
        UNROLL for (int i = 0; i < LANES; i++) v_store(at[i] + b, flat[b + i]);
    }
}

/* LANES points of a window, from entry j on. */
CORE void fill_lanes(const struct cm_ecpoint *point, uint64_t *window, int j)
{
    struct element x, y;

    take_points(point, LANES, &x, &y);
    for (int l = 0; l < LIMBS; l++) {
        v_store(window + l * ENTRIES + j, x.l[l]);
        v_store(window + (LIMBS + l) * ENTRIES + j, y.l[l]);
    }
}

CORE void fill(const struct cm_ecpoint *point, void *table)
{
    const int windows = cm_ec_windows(&CURVE, WIDTH);

    for (int i = 0; i < windows; i++)
        for (int j = 0; j < ENTRIES; j += LANES)
            fill_lanes(point + i * ENTRIES + j, (uint64_t *) table + (size_t) i * 2 * LIMBS * ENTRIES, j);
}

enum { TABLE_OCTETS = ((CURVE_BITS + WIDTH - 1) / WIDTH) * ENTRIES * 2 * LIMBS * 8 };

#endif
