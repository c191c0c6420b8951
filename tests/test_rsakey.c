/* Goal: a key of given primes has the numbers that FIPS 186-5 A.1.1 and RFC 8017 ask for, and pairs that
 * A.1.1 does not want are dropped. Method: pairs of primes of libcrypto's against its own key check; pairs
 * that are too close. That drawn keys are right in their thousands is rsa_keys' business. */
#include "tests/t_mill.h"

#include "engine/ossl.h"
#include "engine/primegen.h"
#include "engine/rsakey.h"

#include <criterion/criterion.h>

static void to_nat(const BIGNUM *n, cm_nat *out)
{
    uint8_t octets[sizeof *out];

    cr_assert_eq(BN_bn2lebinpad(n, octets, sizeof octets), (int) sizeof octets);
    memset(*out, 0, sizeof *out);
    for (size_t i = 0; i < sizeof octets; i++)
        (*out)[i / 8] |= (uint64_t) octets[i] << (i % 8 * 8);
}

static struct cm_rsakey *open_key(const char *name, enum cm_way way)
{
    struct cm_rsakey *r = NULL;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_rsakey_open(cm_keyalg_find(name), way, &r, &err), CM_OK, "%s", err.what);
    return r;
}

static void expect_sound(const struct cm_keypair *k)
{
    CM_AUTO(EVP_PKEY) key = t_oracle_key(k);
    CM_AUTO(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new(key, NULL);

    cr_expect_eq(EVP_PKEY_check(ctx), 1, "%s", k->alg->name);
    cr_expect_gt(memcmp(k->p, k->q, k->len / 2), 0, "p is the larger");
}

Test(rsakey, every_way_makes_sound_keys, .timeout = 240)
{
    static const char *const names[] = { "RSA-2048", "RSA-3072", "RSA-4096" };
    static struct cm_keypair k;
    struct cm_error err = { 0 };

    for (size_t i = 0; i < CM_COUNT(names); i++)
        for (int way = CM_WAY_BEST; way < CM_WAYS; way++) {
            if (!cm_primetest_runs((enum cm_way) way))
                continue;
            struct cm_rsakey *r = open_key(names[i], (enum cm_way) way);
            memset(&k, 0xa5, sizeof k);
            cr_assert_eq(cm_rsakey_make(r, &k, &err), CM_OK, "%s", err.what);
            expect_sound(&k);
            cm_rsakey_close(r);
        }
}

/* The order in which the primes come makes no difference. */
Test(rsakey, a_key_of_given_primes, .timeout = 120)
{
    struct cm_rsakey *r = open_key("RSA-2048", CM_WAY_BIGNUM);
    struct cm_primegen *g = NULL;
    static struct cm_keypair one, other;
    static cm_nat p, q;
    bool fits = false;

    cr_assert_eq(cm_primegen_open(1024, CM_WAY_BEST, &g, NULL), CM_OK);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(cm_primegen_next(g, &p, NULL), CM_OK);
        cr_assert_eq(cm_primegen_next(g, &q, NULL), CM_OK);
        cr_assert_eq(cm_rsakey_of_primes(r, (const cm_nat *) &p, (const cm_nat *) &q, &one, &fits, NULL),
                     CM_OK);
        cr_assert(fits);
        expect_sound(&one);
        cr_assert_eq(cm_rsakey_of_primes(r, (const cm_nat *) &q, (const cm_nat *) &p, &other, &fits, NULL),
                     CM_OK);
        cr_assert(fits);
        cr_expect_arr_eq(one.p, other.p, 128);
        cr_expect_arr_eq(one.d, other.d, 256);
        cr_expect_arr_eq(one.qinv, other.qinv, 128);
    }
    cm_primegen_close(g);
    cm_rsakey_close(r);
}

/* q is the next prime above p + distance: 2^924 and less is too close. */
Test(rsakey, primes_that_are_too_close_are_dropped, .timeout = 120)
{
    static const int distance[] = { 64, 600, 923, 926, 1000 };
    struct cm_rsakey *r = open_key("RSA-2048", CM_WAY_BEST);
    static struct cm_keypair k;
    static cm_nat p, q;
    CM_AUTO(BN_CTX) ctx = BN_CTX_new();
    CM_AUTO(BIGNUM) n = BN_new();

    for (size_t i = 0; i < CM_COUNT(distance); i++) {
        bool fits = false;
        do { /* in the lower half, so that q is of the same size */
            cr_assert_eq(BN_generate_prime_ex(n, 1024, 0, NULL, NULL, NULL), 1);
            to_nat(n, &p);
        } while (p[15] >> 56 > 0xd0 || BN_mod_word(n, CM_RSA_E) == 1);
        CM_AUTO(BIGNUM) gap = BN_new();
        cr_assert(BN_set_bit(gap, distance[i]) == 1 && BN_add(n, n, gap) == 1);
        while (BN_check_prime(n, ctx, NULL) != 1)
            cr_assert_eq(BN_add_word(n, 2), 1);
        to_nat(n, &q);
        cr_assert_eq(cm_rsakey_of_primes(r, (const cm_nat *) &p, (const cm_nat *) &q, &k, &fits, NULL),
                     CM_OK);
        cr_expect_eq(fits, distance[i] > 924, "2^%d apart", distance[i]);
    }
    /* the same prime twice */
    bool fits = true;
    cr_assert_eq(cm_rsakey_of_primes(r, (const cm_nat *) &p, (const cm_nat *) &p, &k, &fits, NULL), CM_OK);
    cr_expect_not(fits);
    cm_rsakey_close(r);
}

/* A composite in a prime's place gives no key: the CRT values would not fit. */
Test(rsakey, numbers_that_do_not_fit_are_an_error, .timeout = 120)
{
    struct cm_rsakey *r = open_key("RSA-2048", CM_WAY_BEST);
    static struct cm_keypair k;
    static cm_nat p, q;
    struct cm_error err = { 0 };
    bool fits = true;
    CM_AUTO(BIGNUM) n = BN_new();

    cr_assert_eq(BN_generate_prime_ex(n, 1024, 0, NULL, NULL, NULL), 1);
    to_nat(n, &p);
    do { /* q = 1 mod e: there is no d */
        cr_assert_eq(BN_rand(n, 1024, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ODD), 1);
        cr_assert_eq(BN_sub_word(n, BN_mod_word(n, 2 * CM_RSA_E) - 1), 1);
        to_nat(n, &q);
    } while (BN_mod_word(n, 2 * CM_RSA_E) != 1);
    cr_expect_eq(cm_rsakey_of_primes(r, (const cm_nat *) &p, (const cm_nat *) &q, &k, &fits, &err),
                 CM_E_CRYPTO);
    cr_expect_not(fits);
    cr_expect_not_null(strstr(err.what, "RSA-2048"), "%s", err.what);
    cm_rsakey_close(r);
}
