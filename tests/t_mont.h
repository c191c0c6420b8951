#ifndef CM_TESTS_T_MONT_H
#define CM_TESTS_T_MONT_H

#include "engine/ossl.h"
#include "tests/t_mill.h"

#include <criterion/criterion.h>
#include <openssl/rand.h>

/* t_mont.h - montvec.h against BN_mul and BN_mod_mul, over the arithmetic of mont8.h or mont4.h, which is
 * included before: products and Montgomery reductions of random operands and of those with limbs of all
 * ones or zeros, for moduli at both ends of their range. */

struct work {
    struct mont mont;
    limb a[LIMBS_MAX], b[LIMBS_MAX], out[LIMBS_MAX];
    BIGNUM *m[LANES], *x[LANES], *y[LANES];
};

/* A column of one lane. */
static uint64_t lane_of(const vec *v, int i)
{
    return ((const uint64_t *) v)[i];
}

static uint64_t limb_of(const limb *l, int lane)
{
    return FLOATING ? (uint64_t) ((const double *) l)[lane] : ((const uint64_t *) l)[lane];
}

static void put(limb *l, int lane, uint64_t value)
{
    if (FLOATING)
        ((double *) l)[lane] = (double) value;
    else
        ((uint64_t *) l)[lane] = value;
}

/* A number of so many limbs of 52 bits into a lane. */
static void to_lane(const BIGNUM *n, int limbs, int lane, limb *out)
{
    CM_AUTO(BIGNUM) t = BN_dup(n);

    for (int i = 0; i < limbs; i++) {
        CM_AUTO(BIGNUM) low = BN_dup(t);
        if (BN_num_bits(low) > 52)
            cr_assert_eq(BN_mask_bits(low, 52), 1);
        put(&out[i], lane, BN_get_word(low));
        cr_assert_eq(BN_rshift(t, t, 52), 1);
    }
    cr_assert(BN_is_zero(t));
}

/* The number in a lane of columns, which may be wider than 52 bits. */
static BIGNUM *of_columns(const vec *v, int columns, int lane)
{
    BIGNUM *n = BN_new();

    for (int i = columns; i-- > 0;)
        cr_assert(BN_lshift(n, n, 52) == 1 && BN_add_word(n, lane_of(&v[i], lane)) == 1);
    return n;
}

static BIGNUM *of_limbs(const limb *l, int limbs, int lane)
{
    BIGNUM *n = BN_new();

    for (int i = limbs; i-- > 0;) {
        cr_assert_leq(limb_of(&l[i], lane), limb_mask);
        cr_assert(BN_lshift(n, n, 52) == 1 && BN_add_word(n, limb_of(&l[i], lane)) == 1);
    }
    return n;
}

enum shape { RANDOM, ZERO, ONE, ONES, HIGH_LIMBS, LOW_LIMBS, SPARSE, SHAPES };

static BIGNUM *shaped(enum shape shape, int bits)
{
    BIGNUM *n = BN_new(), *t = BN_new();

    cr_assert(BN_rand(n, bits, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY) == 1);
    BN_zero(t);
    switch (shape) {
    case ZERO:
        BN_zero(n);
        break;
    case ONE:
        cr_assert_eq(BN_one(n), 1);
        break;
    case ONES:
        cr_assert(BN_set_bit(t, bits) == 1 && BN_sub_word(t, 1) == 1 && BN_copy(n, t) != NULL);
        break;
    case HIGH_LIMBS:
        cr_assert(BN_rshift(n, n, bits / 2) == 1 && BN_lshift(n, n, bits / 2) == 1);
        break;
    case LOW_LIMBS:
        cr_assert_eq(BN_rshift(n, n, bits / 2), 1);
        break;
    case SPARSE:
        for (int i = 0; i < bits; i++)
            if (i % 52 != 51 && i % 52 != 0)
                (void) BN_clear_bit(n, i);
        break;
    default:
        break;
    }
    BN_free(t);
    return n;
}

/* m: an odd number of bits bits with its top bit set: the least, the greatest, or any. */
static BIGNUM *modulus(int which, int bits)
{
    BIGNUM *m = shaped(which % 3 == 1 ? ONES : RANDOM, bits);

    if (which % 3 == 0)
        BN_zero(m);
    cr_assert(BN_set_bit(m, bits - 1) == 1 && BN_set_bit(m, 0) == 1);
    return m;
}

/* -1/m modulo 2^(52 * INVERSE) */
static void put_inverse(struct work *w, int lane)
{
    CM_AUTO(BN_CTX) ctx = BN_CTX_new();
    CM_AUTO(BIGNUM) r = BN_new();
    CM_AUTO(BIGNUM) inverse = BN_new();

    cr_assert(BN_set_bit(r, 52 * INVERSE) == 1 && BN_mod_inverse(inverse, w->m[lane], r, ctx) != NULL &&
              BN_sub(inverse, r, inverse) == 1);
    to_lane(inverse, INVERSE, lane, w->mont.inverse);
}

/* x and y below 8m, as reduce() promises to take. */
static void fill(struct work *w, int limbs, int bits, int round)
{
    for (int i = 0; i < LANES; i++) {
        const int pick = round * LANES + i;
        w->m[i] = modulus(pick, bits);
        w->x[i] = shaped((enum shape)(pick % SHAPES), bits + 2);
        w->y[i] = shaped((enum shape)(pick / SHAPES % SHAPES), bits + 2);
        to_lane(w->m[i], limbs, i, w->mont.m);
        to_lane(w->x[i], limbs, i, w->a);
        to_lane(w->y[i], limbs, i, w->b);
        put_inverse(w, i);
    }
}

static void expect_product(const struct work *w, int limbs, int i, const BIGNUM *x, const BIGNUM *y,
                           const char *what)
{
    CM_AUTO(BN_CTX) ctx = BN_CTX_new();
    CM_AUTO(BIGNUM) want = BN_new();
    CM_AUTO(BIGNUM) got = of_columns(w->mont.product, 2 * limbs, i);

    cr_assert_eq(BN_mul(want, x, y, ctx), 1);
    cr_assert_eq(BN_cmp(got, want), 0, "%s, %d limbs, lane %d", what, limbs, i);
}

/* out = x * y * 2^shift / R mod m, below 2^shift * m * (1 + 2^-9), each limb below 2^52. */
static void expect_reduced(const struct work *w, int limbs, int i, int shift)
{
    CM_AUTO(BN_CTX) ctx = BN_CTX_new();
    CM_AUTO(BIGNUM) want = BN_new();
    CM_AUTO(BIGNUM) got = of_limbs(w->out, limbs, i);
    CM_AUTO(BIGNUM) bound = BN_dup(w->m[i]);

    cr_assert(BN_lshift(bound, bound, shift) == 1 && BN_rshift(want, bound, 9) == 1 &&
              BN_add(bound, bound, want) == 1);
    cr_assert_lt(BN_cmp(got, bound), 0, "%d limbs, lane %d: too large", limbs, i);
    /* got * R = x * y * 2^shift */
    cr_assert(BN_lshift(got, got, 52 * limbs) == 1 && BN_mul(want, w->x[i], w->y[i], ctx) == 1 &&
              BN_lshift(want, want, shift) == 1 && BN_mod(got, got, w->m[i], ctx) == 1 &&
              BN_mod(want, want, w->m[i], ctx) == 1);
    cr_assert_eq(BN_cmp(got, want), 0, "%d limbs, lane %d, shift %d", limbs, i, shift);
}

/* vectors_begin() must stay before. */
#define CALLED TARGET __attribute__((noinline))
#define CALLS(limbs)                                                                                         \
    CALLED static void multiply_##limbs(struct work *w)                                                      \
    {                                                                                                        \
        multiply(limbs, &w->mont, w->a, w->b);                                                               \
    }                                                                                                        \
    CALLED static void square_##limbs(struct work *w)                                                        \
    {                                                                                                        \
        square(limbs, &w->mont, w->a);                                                                       \
    }                                                                                                        \
    CALLED static void reduce_##limbs(struct work *w, const vec *shift)                                      \
    {                                                                                                        \
        reduce(limbs, &w->mont, *shift, w->out);                                                             \
    }
CALLS(20)
CALLS(30)
CALLS(40)

static const struct {
    int limbs, bits;
    void (*multiply)(struct work *w), (*square)(struct work *w);
    void (*reduce)(struct work *w, const vec *shift);
} sizes[] = { { 20, 1024, multiply_20, square_20, reduce_20 },
              { 30, 1536, multiply_30, square_30, reduce_30 },
              { 40, 2048, multiply_40, square_40, reduce_40 } };

static void check_size(size_t s, struct work *w, int round)
{
    const int limbs = sizes[s].limbs;
    vec shift;

    fill(w, limbs, sizes[s].bits, round);
    for (int i = 0; i < LANES; i++)
        ((uint64_t *) &shift)[i] = (uint64_t) ((round + i) % 2);
    uint32_t state = vectors_begin();
    sizes[s].square(w);
    vectors_end(state);
    for (int i = 0; i < LANES; i++)
        expect_product(w, limbs, i, w->x[i], w->x[i], "square");
    state = vectors_begin();
    sizes[s].multiply(w);
    vectors_end(state);
    for (int i = 0; i < LANES; i++)
        expect_product(w, limbs, i, w->x[i], w->y[i], "product");
    state = vectors_begin();
    sizes[s].reduce(w, &shift);
    vectors_end(state);
    for (int i = 0; i < LANES; i++) {
        expect_reduced(w, limbs, i, (int) ((round + i) % 2));
        BN_free(w->m[i]);
        BN_free(w->x[i]);
        BN_free(w->y[i]);
    }
}

static void check_all(void)
{
    struct work *const w = aligned_alloc(64, (sizeof *w + 63) / 64 * 64);

    cr_assert_not_null(w);
    for (size_t s = 0; s < CM_COUNT(sizes); s++) {
        memset(w, 0, sizeof *w);
        set_starts(w->mont.start, sizes[s].limbs);
        for (int round = 0; round < 2 * SHAPES * SHAPES * 8 / LANES; round++)
            check_size(s, w, round);
    }
    free(w);
}

#endif
