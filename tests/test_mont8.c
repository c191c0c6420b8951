/* Goal: eight numbers at once are multiplied, squared and reduced as one is. Method: products and Montgomery
 * reductions of random operands and of those with limbs of all ones or zeros, for moduli at both ends of
 * their range, against BN_mul and BN_mod_mul. What is left out where the processor lacks AVX-512 IFMA is
 * said. */
#include "engine/ossl.h"
#include "tests/t_mill.h"

#include <criterion/criterion.h>
#include <openssl/rand.h>

#ifdef __x86_64__

#include "engine/mont8.h"

struct work {
    struct mont8 mont;
    vec a[LIMBS_MAX], b[LIMBS_MAX], out[LIMBS_MAX];
    BIGNUM *m[LANES], *x[LANES], *y[LANES];
};

static uint64_t lane_of(const vec *v, int i)
{
    return ((const uint64_t *) v)[i];
}

static void put(vec *v, int lane, uint64_t limb)
{
    ((uint64_t *) v)[lane] = limb;
}

/* A number of so many limbs of 52 bits into a lane. */
static void to_lane(const BIGNUM *n, int limbs, int lane, vec *out)
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

/* The number in a lane; sums in columns may be wider than 52 bits. */
static BIGNUM *of_lane(const vec *v, int limbs, int lane)
{
    BIGNUM *n = BN_new();

    for (int i = limbs; i-- > 0;)
        cr_assert(BN_lshift(n, n, 52) == 1 && BN_add_word(n, lane_of(&v[i], lane)) == 1);
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

static uint64_t minus_inverse(uint64_t n)
{
    uint64_t x = 1;

    for (int i = 0; i < 6; i++)
        x *= 2 - n * x;
    return (0 - x) & limb_mask;
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
        put(&w->mont.k0, i, minus_inverse(lane_of(&w->mont.m[0], i)));
    }
}

static void expect_product(const struct work *w, int limbs, int i, const BIGNUM *x, const BIGNUM *y,
                           const char *what)
{
    CM_AUTO(BN_CTX) ctx = BN_CTX_new();
    CM_AUTO(BIGNUM) want = BN_new();
    CM_AUTO(BIGNUM) got = of_lane(w->mont.product, 2 * limbs, i);

    cr_assert_eq(BN_mul(want, x, y, ctx), 1);
    cr_assert_eq(BN_cmp(got, want), 0, "%s, %d limbs, lane %d", what, limbs, i);
}

/* out = x * y * 2^shift / R mod m, below 2^shift * m * (1 + 2^-9), each limb below 2^52. */
static void expect_reduced(const struct work *w, int limbs, int i, int shift)
{
    CM_AUTO(BN_CTX) ctx = BN_CTX_new();
    CM_AUTO(BIGNUM) want = BN_new();
    CM_AUTO(BIGNUM) got = of_lane(w->out, limbs, i);
    CM_AUTO(BIGNUM) bound = BN_dup(w->m[i]);

    for (int k = 0; k < limbs; k++)
        cr_assert_leq(lane_of(&w->out[k], i), limb_mask);
    cr_assert(BN_lshift(bound, bound, shift) == 1 && BN_rshift(want, bound, 9) == 1 &&
              BN_add(bound, bound, want) == 1);
    cr_assert_lt(BN_cmp(got, bound), 0, "%d limbs, lane %d: too large", limbs, i);
    /* got * R = x * y * 2^shift */
    cr_assert(BN_lshift(got, got, 52 * limbs) == 1 && BN_mul(want, w->x[i], w->y[i], ctx) == 1 &&
              BN_lshift(want, want, shift) == 1 && BN_mod(got, got, w->m[i], ctx) == 1 &&
              BN_mod(want, want, w->m[i], ctx) == 1);
    cr_assert_eq(BN_cmp(got, want), 0, "%d limbs, lane %d, shift %d", limbs, i, shift);
}

#define CALLS(limbs)                                                                                         \
    TARGET static void multiply_##limbs(struct work *w)                                                      \
    {                                                                                                        \
        multiply(limbs, w->a, w->b, w->mont.product);                                                        \
    }                                                                                                        \
    TARGET static void square_##limbs(struct work *w)                                                        \
    {                                                                                                        \
        square(limbs, w->a, w->mont.product);                                                                \
    }                                                                                                        \
    TARGET static void reduce_##limbs(struct work *w, const uint64_t *shift)                                 \
    {                                                                                                        \
        reduce(limbs, &w->mont, _mm512_loadu_si512(shift), w->out);                                          \
    }
CALLS(20)
CALLS(30)
CALLS(40)

static const struct {
    int limbs, bits;
    void (*multiply)(struct work *w), (*square)(struct work *w);
    void (*reduce)(struct work *w, const uint64_t *shift);
} sizes[] = { { 20, 1024, multiply_20, square_20, reduce_20 },
              { 30, 1536, multiply_30, square_30, reduce_30 },
              { 40, 2048, multiply_40, square_40, reduce_40 } };

static void check_size(size_t s, struct work *w, int round)
{
    const int limbs = sizes[s].limbs;
    uint64_t shift[LANES];

    fill(w, limbs, sizes[s].bits, round);
    for (int i = 0; i < LANES; i++)
        shift[i] = (uint64_t) ((round + i) % 2);
    sizes[s].square(w);
    for (int i = 0; i < LANES; i++)
        expect_product(w, limbs, i, w->x[i], w->x[i], "square");
    sizes[s].multiply(w);
    for (int i = 0; i < LANES; i++)
        expect_product(w, limbs, i, w->x[i], w->y[i], "product");
    sizes[s].reduce(w, shift);
    for (int i = 0; i < LANES; i++) {
        expect_reduced(w, limbs, i, (int) shift[i]);
        BN_free(w->m[i]);
        BN_free(w->x[i]);
        BN_free(w->y[i]);
    }
}

Test(mont8, computes_what_libcrypto_computes, .timeout = 120)
{
    struct work *w = NULL;

    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512ifma"))
        cr_skip_test("this processor has no AVX-512 IFMA");
    w = aligned_alloc(64, (sizeof *w + 63) / 64 * 64);
    cr_assert_not_null(w);
    for (size_t s = 0; s < CM_COUNT(sizes); s++)
        for (int round = 0; round < 2 * SHAPES * SHAPES; round++)
            check_size(s, w, round);
    free(w);
}

#endif
