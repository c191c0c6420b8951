#ifndef CM_ENGINE_ECSUM_H
#define CM_ENGINE_ECSUM_H

#include "engine/eccore.h"

/* ecsum.h - sums of points with public weights, over the same arithmetic as eccore.h and by other
 * formulas: they check what it computes.
 *
 * A digit of a weight adds its point, or minus it, to one of sixteen buckets of its place; bucket m
 * stands for the digits 2m + 1 and -2m - 1. BUCKET_WORDS is what a point takes in a bucket. Nothing here
 * is secret.
 */
enum { BUCKETS = 1 << (CM_EC_DIGIT_BITS - 1) };

struct jacobian {
    struct element x, y, z;
};

/* Of the way: */
CORE void load_buckets(uint64_t *const *at, struct jacobian *out);
CORE void store_buckets(uint64_t *const *at, const struct jacobian *a);

/* What both additions below have in common, from h = U2 - U1, r = S2 - S1, U1, S1 and Z1 * Z2. */
CORE void finish_add(const struct element *h, const struct element *r, const struct element *u1,
                     const struct element *s1, const struct element *zz, struct jacobian *out)
{
    struct element hh, hhh, v, t;

    fe_sqr(h, &hh);
    fe_mul(h, &hh, &hhh);
    fe_mul(u1, &hh, &v);
    fe_mul(s1, &hhh, &t);
    fe_mul(zz, h, &out->z);
    fe_sqr(r, &out->x);
    fe_sub(&out->x, &hhh, &out->x);
    fe_sub(&out->x, &v, &out->x);
    fe_sub(&out->x, &v, &out->x);
    fe_sub(&v, &out->x, &v);
    fe_mul(r, &v, &out->y);
    fe_sub(&out->y, &t, &out->y);
}

CORE void pick_point(mask where, const struct jacobian *a, struct jacobian *out)
{
    fe_pick(where, &a->x, &out->x);
    fe_pick(where, &a->y, &out->y);
    fe_pick(where, &a->z, &out->z);
}

/* a + (x, y), for an a that is infinity (Z = 0) or not. A point that meets itself here gives infinity, which
 * is wrong: the check that asked for the sum then fails. Different keys meet with negligible chance. */
CORE void add_affine(const struct element *x, const struct element *y, struct jacobian *a)
{
    const mask none = fe_is_zero(&a->z);
    struct element zz, h, r;
    struct jacobian sum, only;

    fe_sqr(&a->z, &zz);
    fe_mul(x, &zz, &h);
    fe_sub(&h, &a->x, &h);
    fe_mul(&a->z, &zz, &zz);
    fe_mul(y, &zz, &r);
    fe_sub(&r, &a->y, &r);
    finish_add(&h, &r, &a->x, &a->y, &a->z, &sum);
    fe_copy(x, &only.x);
    fe_copy(y, &only.y);
    fe_one(&only.z);
    pick_point(none, &only, &sum);
    *a = sum;
}

/* a = 2a; infinity of infinity. */
CORE void twice(struct jacobian *a)
{
    struct element zz, yy, s, m, t;

    fe_sqr(&a->z, &zz);
    fe_sqr(&a->y, &yy);
    fe_mul(&a->x, &yy, &s);
    fe_add(&s, &s, &s);
    fe_add(&s, &s, &s); /* 4 X Y^2 */
    fe_sub(&a->x, &zz, &m);
    fe_add(&a->x, &zz, &t);
    fe_mul(&m, &t, &m);
    fe_add(&m, &m, &t);
    fe_add(&m, &t, &m); /* 3 (X - Z^2) (X + Z^2) */
    fe_mul(&a->y, &a->z, &t);
    fe_add(&t, &t, &a->z);
    fe_sqr(&m, &t);
    fe_sub(&t, &s, &t);
    fe_sub(&t, &s, &a->x);
    fe_sqr(&yy, &yy);
    fe_add(&yy, &yy, &yy);
    fe_add(&yy, &yy, &yy);
    fe_add(&yy, &yy, &yy); /* 8 Y^4 */
    fe_sub(&s, &a->x, &s);
    fe_mul(&m, &s, &a->y);
    fe_sub(&a->y, &yy, &a->y);
}

/* a += b, whatever they are. */
CORE void add_points(const struct jacobian *b, struct jacobian *a)
{
    const mask no_a = fe_is_zero(&a->z), no_b = fe_is_zero(&b->z);
    struct element aa, bb, u1, s1, h, r;
    struct jacobian sum, same = *a;

    fe_sqr(&a->z, &aa);
    fe_sqr(&b->z, &bb);
    fe_mul(&a->x, &bb, &u1);
    fe_mul(&b->x, &aa, &h);
    fe_sub(&h, &u1, &h);
    fe_mul(&bb, &b->z, &bb);
    fe_mul(&aa, &a->z, &aa);
    fe_mul(&a->y, &bb, &s1);
    fe_mul(&b->y, &aa, &r);
    fe_sub(&r, &s1, &r);
    fe_mul(&a->z, &b->z, &aa);
    finish_add(&h, &r, &u1, &s1, &aa, &sum);
    twice(&same);
    pick_point(m_and(fe_is_zero(&h), fe_is_zero(&r)), &same, &sum);
    pick_point(no_a, b, &sum);
    pick_point(no_b, a, &sum);
    *a = sum;
}

/* Lanes whose point is not on the curve. */
CORE mask off_curve(const struct element *x, const struct element *y)
{
    struct element t, u, b;

    fe_b(&b);
    fe_sqr(x, &t);
    fe_mul(&t, x, &t);
    fe_add(x, x, &u);
    fe_add(&u, x, &u);
    fe_sub(&t, &u, &t);
    fe_add(&t, &b, &t);
    fe_sqr(y, &u);
    fe_sub(&t, &u, &t);
    return m_not(fe_is_zero(&t));
}

/* A point, times one digit of its weight for each lane, to the buckets of the places from g on. */
CORE void drop(uint64_t *bucket, const uint8_t *digit, int g, const struct element *x,
               const struct element *y)
{
    struct element zero = { 0 }, signed_y;
    struct jacobian a;
    uint64_t *at[LANES];
    bool minus[LANES];

    for (int i = 0; i < LANES; i++) {
        const int b = digit[g + i];
        minus[i] = b < BUCKETS;
        at[i] =
            bucket + (size_t) ((g + i) * BUCKETS + (minus[i] ? BUCKETS - 1 - b : b - BUCKETS)) * BUCKET_WORDS;
    }
    fe_sub(&zero, y, &signed_y);
    fe_pick(m_not(m_from(minus)), y, &signed_y);
    load_buckets(at, &a);
    add_affine(x, &signed_y, &a);
    store_buckets(at, &a);
}

/* The sum of (2m + 1) * bucket[m] for the places from g on: twice the sum of the sums from the top
 * down to each m > 0, and the sum of all. */
CORE void add_buckets(uint64_t *bucket, int g, struct jacobian *out)
{
    struct jacobian all, some, here;
    uint64_t *at[LANES];

    for (int m = BUCKETS; m-- > 0;) {
        for (int i = 0; i < LANES; i++)
            at[i] = bucket + (size_t) ((g + i) * BUCKETS + m) * BUCKET_WORDS;
        load_buckets(at, &here);
        if (m == BUCKETS - 1)
            some = all = here;
        else
            add_points(&here, &all);
        if (m < BUCKETS - 1 && m > 0)
            add_points(&all, &some);
    }
    twice(&some);
    add_points(&all, &some);
    *out = some;
}

/* Points from..., the last one in the lanes that are over. */
CORE void take_points(const struct cm_ecpoint *point, uint32_t count, struct element *x, struct element *y)
{
    cm_num words[2][LANES];

    for (uint32_t i = 0; i < LANES; i++) {
        const struct cm_ecpoint *const p = &point[i < count ? i : count - 1];
        memcpy(words[0][i], p->x, sizeof p->x);
        memcpy(words[1][i], p->y, sizeof p->y);
    }
    fe_from_words(words[0], x);
    fe_from_words(words[1], y);
}

CORE void give_places(const struct jacobian *sum, struct cm_ecjac *out)
{
    cm_num words[3][LANES];

    fe_to_words(&sum->x, words[0]);
    fe_to_words(&sum->y, words[1]);
    fe_to_words(&sum->z, words[2]);
    for (int i = 0; i < LANES; i++) {
        memcpy(out[i].x, words[0][i], sizeof out[i].x);
        memcpy(out[i].y, words[1][i], sizeof out[i].y);
        memcpy(out[i].z, words[2][i], sizeof out[i].z);
    }
}

static size_t bucket_octets(void)
{
    return (size_t) CM_EC_PLACES * BUCKETS * BUCKET_WORDS * sizeof(uint64_t);
}

CORE bool weigh(void *memory, const struct cm_ecpoint *point, cm_ecweight *weight, uint32_t count,
                struct cm_ecjac out[CM_EC_PLACES])
{
    struct element x, y, lane_x, lane_y;
    struct jacobian sum;
    uint64_t *const bucket = memory;

    memset(bucket, 0, bucket_octets());
    for (uint32_t from = 0; from < count; from += LANES) {
        take_points(point + from, count - from, &x, &y);
        if (m_bits(off_curve(&x, &y)) != 0)
            return false;
        for (uint32_t k = 0; k < LANES && from + k < count; k++) {
            fe_broadcast(&x, k, &lane_x);
            fe_broadcast(&y, k, &lane_y);
            for (int g = 0; g < CM_EC_PLACES; g += LANES)
                drop(bucket, weight[from + k], g, &lane_x, &lane_y);
        }
    }
    for (int g = 0; g < CM_EC_PLACES; g += LANES) {
        add_buckets(bucket, g, &sum);
        give_places(&sum, out + g);
    }
    return true;
}

static size_t work_octets(uint32_t count)
{
    const size_t octets = multiply_octets(count);

    return octets > bucket_octets() ? octets : bucket_octets();
}

#endif
