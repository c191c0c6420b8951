#ifndef CM_ENGINE_EC_PLAIN_H
#define CM_ENGINE_EC_PLAIN_H

#include "engine/ecway.h"

#include <stdlib.h>
#include <string.h>

/* ec_plain.h - eccore.h for one number at a time, in 64-bit words, on any processor. CURVE and LIMBS are
 * defined before; elements are below p. */
enum { LANES = 1, WIDTH = 6, BUCKET_WORDS = 3 * LIMBS };

#define CORE static

typedef uint64_t vec;
typedef uint64_t mask; /* all ones or 0 */

struct element {
    vec l[LIMBS];
};

static inline mask m_or(mask a, mask b)
{
    return a | b;
}

static inline mask m_and(mask a, mask b)
{
    return a & b;
}

static inline mask m_not(mask a)
{
    return ~a;
}

static inline mask m_from(const bool *a)
{
    return 0 - (uint64_t) *a;
}

static inline uint32_t m_bits(mask a)
{
    return a & 1;
}

static inline vec v_or(vec a, vec b)
{
    return a | b;
}

static inline vec v_shl(vec a, int by)
{
    return a << by;
}

static inline vec v_shr(vec a, int by)
{
    return a >> by;
}

static inline vec v_gather(const uint64_t *word, int stride)
{
    (void) stride;
    return *word;
}

static void fe_mul(const struct element *a, const struct element *b, struct element *out)
{
    cm_mod_mul(CURVE.p, a->l, b->l, out->l);
}

static void fe_sqr(const struct element *a, struct element *out)
{
    fe_mul(a, a, out);
}

static inline void fe_add(const struct element *a, const struct element *b, struct element *out)
{
    cm_mod_add(CURVE.p, a->l, b->l, out->l);
}

static inline void fe_sub(const struct element *a, const struct element *b, struct element *out)
{
    cm_mod_sub(CURVE.p, a->l, b->l, out->l);
}

static void enter(const uint64_t *words, struct element *out)
{
    struct element a;

    memcpy(a.l, words, sizeof a.l);
    cm_mod_mul(CURVE.p, a.l, CURVE.p->rr, out->l);
}

static inline void fe_from_words(cm_num *words, struct element *out)
{
    enter(*words, out);
}

static inline void fe_to_words(const struct element *a, cm_num *words)
{
    memset(words, 0, sizeof *words);
    cm_mod_leave(CURVE.p, a->l, *words);
}

static inline void fe_one(struct element *out)
{
    const cm_num one = { 1 };

    enter(one, out);
}

static inline void fe_b(struct element *out)
{
    enter(CURVE.b, out);
}

static inline mask fe_is_zero(const struct element *a)
{
    return cm_mod_is_zero(CURVE.p, a->l);
}

static inline void fe_pick(mask where, const struct element *a, struct element *out)
{
    for (int i = 0; i < LIMBS; i++)
        out->l[i] = (a->l[i] & where) | (out->l[i] & ~where);
}

static inline void fe_broadcast(const struct element *a, uint32_t lane, struct element *out)
{
    (void) lane;
    *out = *a;
}

#include "engine/ecinvert.h"
#include "engine/ecsum.h"

static void load_buckets(uint64_t *const *at, struct jacobian *out)
{
    memcpy(out, at[0], sizeof *out);
}

static void store_buckets(uint64_t *const *at, const struct jacobian *a)
{
    memcpy(at[0], a, sizeof *a);
}

/* Every entry is looked at. u's top bit: the digit is positive. */
static void find(const uint64_t *table, vec u, struct sum *out)
{
    const uint64_t minus = (u >> (WIDTH - 1) & 1) - 1, at = (u ^ minus) & (ENTRIES - 1);
    uint64_t here[ENTRIES];
    struct element y = { 0 };
    const struct element zero = { 0 };

    memset(out, 0, sizeof *out);
    for (uint64_t j = 0; j < ENTRIES; j++)
        here[j] = ((j ^ at) - 1) >> 63; /* 1 where they are the same */
    for (int l = 0; l < LIMBS; l++) {
        const uint64_t *const x = table + (size_t) l * ENTRIES, *const above = x + (size_t) LIMBS * ENTRIES;
        for (int j = 0; j < ENTRIES; j++) {
            out->x.l[l] |= x[j] & (0 - here[j]);
            out->y.l[l] |= above[j] & (0 - here[j]);
        }
    }
    fe_sub(&zero, &out->y, &y);
    fe_pick(minus, &y, &out->y);
}

static void fill(const struct cm_ecpoint *point, void *table)
{
    const int windows = cm_ec_windows(&CURVE, WIDTH);
    uint64_t *const to = table;

    for (int i = 0; i < windows; i++)
        for (int j = 0; j < ENTRIES; j++) {
            const struct cm_ecpoint *const p = &point[i * ENTRIES + j];
            struct sum s;
            enter(p->x, &s.x);
            enter(p->y, &s.y);
            for (int l = 0; l < LIMBS; l++) {
                to[((2 * i) * LIMBS + l) * ENTRIES + j] = s.x.l[l];
                to[((2 * i + 1) * LIMBS + l) * ENTRIES + j] = s.y.l[l];
            }
        }
}

/* --- what is done once, or once a batch ------------------------------------------------ */

static void to_affine(const struct jacobian *a, const struct element *inverse_z, struct cm_ecpoint *out)
{
    struct element zz, t;

    fe_sqr(inverse_z, &zz);
    fe_mul(&a->x, &zz, &t);
    fe_to_words(&t, &out->x);
    fe_mul(&zz, inverse_z, &zz);
    fe_mul(&a->y, &zz, &t);
    fe_to_words(&t, &out->y);
}

/* The odd multiples of base, affine; base becomes 2^width times itself. */
static void window_multiples(int width, struct jacobian *base, struct jacobian *odd, struct element *product,
                             struct cm_ecpoint *out)
{
    const int count = 1 << (width - 1);
    struct jacobian two = *base;
    struct element run, inverse;

    twice(&two);
    odd[0] = *base;
    fe_one(&run);
    for (int j = 0; j < count; j++) {
        if (j > 0) {
            odd[j] = odd[j - 1];
            add_points(&two, &odd[j]);
        }
        product[j] = run;
        fe_mul(&run, &odd[j].z, &run);
    }
    fe_invert(&run, &run);
    for (int j = count; j-- > 0;) {
        fe_mul(&run, &product[j], &inverse);
        fe_mul(&run, &odd[j].z, &run);
        to_affine(&odd[j], &inverse, &out[j]);
    }
    for (int i = 0; i < width; i++)
        twice(base);
}

static bool multiples(int width, struct cm_ecpoint *out)
{
    const int windows = cm_ec_windows(&CURVE, width), count = 1 << (width - 1);
    struct jacobian *const odd = calloc((size_t) count, sizeof *odd);
    struct element *const product = calloc((size_t) count, sizeof *product);
    const bool ok = odd != NULL && product != NULL;
    struct jacobian base;

    enter(CURVE.gx, &base.x);
    enter(CURVE.gy, &base.y);
    fe_one(&base.z);
    for (int i = 0; ok && i < windows; i++)
        window_multiples(width, &base, odd, product, out + (size_t) i * (size_t) count);
    free(odd);
    free(product);
    return ok;
}

static void invert(cm_num *a)
{
    struct element e;

    enter(*a, &e);
    fe_invert(&e, &e);
    fe_to_words(&e, a);
    cm_secret_wipe(&e, sizeof e);
}

static bool combine(const struct cm_ecjac place[CM_EC_PLACES], struct cm_ecpoint *out)
{
    struct jacobian sum = { 0 }, here;
    struct element inverse;

    for (int j = CM_EC_PLACES; j-- > 0;) {
        for (int i = 0; i < CM_EC_DIGIT_BITS; i++)
            twice(&sum);
        enter(place[j].x, &here.x);
        enter(place[j].y, &here.y);
        enter(place[j].z, &here.z);
        add_points(&here, &sum);
    }
    fe_invert(&sum.z, &inverse);
    to_affine(&sum, &inverse, out);
    return m_bits(fe_is_zero(&sum.z)) == 0;
}

enum { TABLE_OCTETS = ((CURVE_BITS + WIDTH - 1) / WIDTH) * ENTRIES * 2 * LIMBS * 8 };

#endif
