/* Goal: primes pass whatever the base, composites when the mathematics says so, in every way alike, and a
 * round's bases are drawn from all of [2, w-2]. Method: primes from libcrypto, with w - 1 divisible by many
 * twos, too; composites with liars; bases at the edges; each answer against BN_mod_exp. */
#include "tests/t_mill.h"
#include "tests/t_plant.h"

#include "engine/ossl.h"
#include "engine/primetest.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

struct way {
    enum cm_way way;
    uint32_t bits;
};

static struct way ways[] = {
    { CM_WAY_IFMA, 1024 },   { CM_WAY_IFMA, 1536 },   { CM_WAY_IFMA, 2048 },
    { CM_WAY_FMA, 1024 },    { CM_WAY_FMA, 1536 },    { CM_WAY_FMA, 2048 },
    { CM_WAY_BIGNUM, 1024 }, { CM_WAY_BIGNUM, 1536 }, { CM_WAY_BIGNUM, 2048 },
};

static void to_nat(const BIGNUM *n, cm_nat *out)
{
    uint8_t octets[sizeof *out];

    cr_assert_eq(BN_bn2lebinpad(n, octets, sizeof octets), (int) sizeof octets);
    memset(*out, 0, sizeof *out);
    for (size_t i = 0; i < sizeof octets; i++)
        (*out)[i / 8] |= (uint64_t) octets[i] << (i % 8 * 8);
}

static struct cm_primetest *open_way(const struct way *w)
{
    struct cm_primetest *t = NULL;
    struct cm_error err = { 0 };

    if (!cm_primetest_runs(w->way))
        cr_skip_test("not on this processor: %s", cm_primetest_name(w->way));
    cr_assert_eq(cm_primetest_open(w->bits, w->way, &t, &err), CM_OK, "%s", err.what);
    return t;
}

/* What FIPS 186-5 B.3.1 answers for one base, with libcrypto's plainest exponentiation. */
static bool passes(const BIGNUM *w, const BIGNUM *base)
{
    CM_AUTO(BN_CTX) ctx = BN_CTX_new();
    CM_AUTO(BIGNUM) minus_one = BN_dup(w);
    CM_AUTO(BIGNUM) m = BN_new();
    CM_AUTO(BIGNUM) z = BN_new();
    int a = 0;

    cr_assert_eq(BN_sub_word(minus_one, 1), 1);
    while (!BN_is_bit_set(minus_one, a))
        a++;
    cr_assert(BN_rshift(m, minus_one, a) == 1 && BN_mod_exp(z, base, m, w, ctx) == 1);
    if (BN_is_one(z) || BN_cmp(z, minus_one) == 0)
        return true;
    for (int j = 1; j < a; j++) {
        cr_assert_eq(BN_mod_sqr(z, z, w, ctx), 1);
        if (BN_cmp(z, minus_one) == 0)
            return true;
    }
    return false;
}

static bool passes_filter(const BIGNUM *w)
{
    CM_AUTO(BN_CTX) ctx = BN_CTX_new();
    CM_AUTO(BIGNUM) minus_one = BN_dup(w);
    CM_AUTO(BIGNUM) two = BN_new();
    CM_AUTO(BIGNUM) z = BN_new();

    cr_assert(BN_sub_word(minus_one, 1) == 1 && BN_set_word(two, 2) == 1 &&
              BN_mod_exp(z, two, minus_one, w, ctx) == 1);
    return BN_is_one(z);
}

/* Filter in every lane, and rounds with eight bases: random ones and both ends of the range. */
static void check(struct cm_primetest *t, const BIGNUM *w)
{
    static cm_nat n[CM_LANES_MAX], base[CM_LANES_MAX];
    const uint32_t lanes = cm_primetest_lanes(t);
    uint32_t passed = 0, want = 0;
    CM_AUTO(BIGNUM) b = BN_new();
    CM_AUTO(BIGNUM) range = BN_dup(w);

    for (uint32_t i = 0; i < lanes; i++)
        to_nat(w, &n[i]);
    for (uint32_t count = 1; count <= lanes; count += lanes > 1 ? lanes - 1 : 1) {
        cr_assert_eq(cm_primetest_filter(t, (const cm_nat *) n, count, &passed, NULL), CM_OK);
        cr_assert_eq(passed, passes_filter(w) ? (1u << count) - 1 : 0, "the filter of %u", count);
    }
    cr_assert_eq(BN_sub_word(range, 3), 1);
    for (uint32_t i = 0; i < CM_LANES_MAX; i++) {
        cr_assert(BN_rand_range(b, range) == 1 && BN_add_word(b, 2) == 1);
        if (i == 0)
            cr_assert_eq(BN_set_word(b, 2), 1);
        if (i == 1)
            cr_assert(BN_copy(b, w) != NULL && BN_sub_word(b, 2) == 1);
        to_nat(b, &base[i]);
        want |= (uint32_t) passes(w, b) << i;
    }
    cr_assert_eq(
        cm_primetest_bases(t, (const cm_nat *) &n[0], (const cm_nat *) base, CM_LANES_MAX, &passed, NULL),
        CM_OK);
    cr_assert_eq(passed, want, "rounds: %x, wanted %x", passed, want);
}

ParameterizedTestParameters(primetest, primes_pass)
{
    return cr_make_param_array(struct way, ways, CM_COUNT(ways));
}

ParameterizedTest(struct way *w, primetest, primes_pass, .timeout = 240)
{
    static const int twos[] = { 1, 2, 3, 5, 8, 63, 64, 65, 128, 500 };
    struct cm_primetest *t = open_way(w);
    static cm_nat n;
    bool yes = false;

    for (size_t i = 0; i < CM_COUNT(twos); i++) {
        CM_AUTO(BIGNUM) p = BN_new();
        CM_AUTO(BIGNUM) add = BN_new();
        CM_AUTO(BIGNUM) rem = BN_new();
        /* p - 1 = odd * 2^twos */
        cr_assert(BN_set_bit(add, twos[i] + 1) == 1 && BN_set_bit(rem, twos[i]) == 1 &&
                  BN_add_word(rem, 1) == 1);
        cr_assert_eq(BN_generate_prime_ex(p, (int) w->bits, 0, add, rem, NULL), 1);
        check(t, p);
        to_nat(p, &n);
        cr_assert_eq(cm_primetest_rounds(t, (const cm_nat *) &n, 5, &yes, NULL), CM_OK);
        cr_assert(yes, "a prime with %d twos fails", twos[i]);
    }
    cm_primetest_close(t);
}

ParameterizedTestParameters(primetest, composites_fail_as_they_must)
{
    return cr_make_param_array(struct way, ways, CM_COUNT(ways));
}

/* Ends of the range, products of few small primes, squares: 2^bits - 1 and its neighbours among them. */
ParameterizedTest(struct way *w, primetest, composites_fail_as_they_must, .timeout = 240)
{
    struct cm_primetest *t = open_way(w);

    for (int i = 0; i < 24; i++) {
        CM_AUTO(BN_CTX) ctx = BN_CTX_new();
        CM_AUTO(BIGNUM) n = BN_new();
        CM_AUTO(BIGNUM) p = BN_new();
        cr_assert_eq(BN_rand(n, (int) w->bits, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD), 1);
        if (i < 8) { /* 2^bits - 1, - 3, … */
            BN_zero(n);
            cr_assert(BN_set_bit(n, (int) w->bits) == 1 && BN_sub_word(n, (BN_ULONG) (2 * i + 1)) == 1);
        } else if (i < 16) { /* 2^(bits-1) + 1, + 3, … */
            BN_zero(n);
            cr_assert(BN_set_bit(n, (int) w->bits - 1) == 1 && BN_add_word(n, (BN_ULONG) (2 * i - 15)) == 1);
        } else if (i == 16) { /* a square */
            cr_assert(BN_rand(p, (int) w->bits / 2, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ODD) == 1 &&
                      BN_sqr(n, p, ctx) == 1);
        }
        check(t, n);
    }
    cm_primetest_close(t);
}

ParameterizedTestParameters(primetest, lanes_do_not_mix)
{
    return cr_make_param_array(struct way, ways, CM_COUNT(ways));
}

/* Primes in some lanes, composites in the others. */
ParameterizedTest(struct way *w, primetest, lanes_do_not_mix, .timeout = 240)
{
    struct cm_primetest *t = open_way(w);
    const uint32_t lanes = cm_primetest_lanes(t);
    static cm_nat prime, composite, n[CM_LANES_MAX];
    uint64_t random = t_seed();
    CM_AUTO(BIGNUM) p = BN_new();

    cr_assert_eq(BN_generate_prime_ex(p, (int) w->bits, 0, NULL, NULL, NULL), 1);
    to_nat(p, &prime);
    for (int round = 0; round < 20; round++) {
        const uint32_t want = (uint32_t) t_random(&random, 1u << lanes);
        uint32_t passed = 0;
        for (uint32_t i = 0; i < lanes; i++) {
            cr_assert_eq(BN_rand(p, (int) w->bits, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ODD), 1);
            cr_assert(BN_sub_word(p, BN_mod_word(p, 6)) == 1 && BN_add_word(p, 3) == 1);
            to_nat(p, &composite);
            memcpy(n[i], want >> i & 1 ? prime : composite, sizeof n[i]);
        }
        cr_assert_eq(cm_primetest_filter(t, (const cm_nat *) n, lanes, &passed, NULL), CM_OK);
        cr_expect_eq(passed, want, "%x, wanted %x", passed, want);
    }
    cm_primetest_close(t);
}
