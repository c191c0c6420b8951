/* Goal: each round of Miller and Rabin's test counts: bases are fresh and from the whole range, and all must
 * pass. Method: the stage is called many times on composites n = (2r+1)(4r+1), r odd and both factors prime,
 * which a quarter of all bases call prime; how often it accepts with one, four and five rounds must be what
 * chance says. CM_RSA_ROUNDS: how many calls (50,000).
 *
 * The bounds for 50,000 calls are those asked for: 25 +- 1 % with one round (5 standard deviations), 125 to
 * 265 with four (195.3 expected), 20 to 85 with five (48.8). For another number they are 5 standard
 * deviations, and 5 devices, around what is expected. */
#include "engine/ossl.h"
#include "engine/primetest.h"

#include <math.h>
#include <string.h>

static unsigned passed, failed;

static void note(bool ok, const char *what)
{
    passed += ok;
    failed += !ok;
    if (!ok)
        (void) printf("FAILED: %s\n", what);
}

/* An odd r with 2r+1 and 4r+1 prime, so that the product has `bits` bits. */
static void find_liar(int bits, BIGNUM *n)
{
    CM_AUTO(BN_CTX) ctx = BN_CTX_new();
    CM_AUTO(BIGNUM) r = BN_new();
    CM_AUTO(BIGNUM) p = BN_new();
    CM_AUTO(BIGNUM) q = BN_new();

    do { /* r must be a multiple of 3, or 3 divides one of the two */
        CM_ASSERT(BN_rand(r, bits / 2 - 1, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1);
        CM_ASSERT(BN_sub_word(r, BN_mod_word(r, 6)) == 1 && BN_add_word(r, 3) == 1);
        CM_ASSERT(BN_lshift1(p, r) == 1 && BN_add_word(p, 1) == 1 && BN_lshift(q, r, 2) == 1 &&
                  BN_add_word(q, 1) == 1 && BN_mul(n, p, q, ctx) == 1);
    } while (BN_num_bits(n) != bits || BN_check_prime(p, ctx, NULL) != 1 ||
             BN_check_prime(q, ctx, NULL) != 1);
}

static void to_nat(const BIGNUM *n, cm_nat *out)
{
    uint8_t octets[sizeof *out];

    CM_ASSERT(BN_bn2lebinpad(n, octets, sizeof octets) == (int) sizeof octets);
    memset(*out, 0, sizeof *out);
    for (size_t i = 0; i < sizeof octets; i++)
        (*out)[i / 8] |= (uint64_t) octets[i] << (i % 8 * 8);
}

static unsigned long accepts(struct cm_primetest *t, const cm_nat *n, uint32_t rounds, unsigned long calls)
{
    unsigned long count = 0;

    for (unsigned long i = 0; i < calls; i++) {
        bool yes = false;
        CM_ASSERT(cm_primetest_rounds(t, n, rounds, &yes, NULL) == CM_OK);
        count += yes;
    }
    return count;
}

static void check(const char *way, struct cm_primetest *t, const cm_nat *n, uint32_t rounds,
                  unsigned long calls)
{
    const double part = pow(0.25, rounds), want = part * (double) calls;
    double least = want - 5 * sqrt(want * (1 - part)) - 5, most = want + 5 * sqrt(want * (1 - part)) + 5;

    if (calls == 50000) {
        least = rounds == 1 ? 12000 : rounds == 4 ? 125 : 20;
        most = rounds == 1 ? 13000 : rounds == 4 ? 265 : 85;
    }
    const double got = (double) accepts(t, n, rounds, calls);
    (void) printf("%s: %.0f of %lu accepted with %u rounds; expected %.1f, allowed %.0f to %.0f\n", way, got,
                  calls, rounds, want, least, most);
    note(got >= least && got <= most, way);
}

int main(void)
{
    static const uint32_t rounds[] = { 1, 4, 5 };
    const char *const text = getenv("CM_RSA_ROUNDS");
#ifdef __SANITIZE_ADDRESS__
    const unsigned long ordinary = 200;
#else
    const unsigned long ordinary = 50000;
#endif
    const unsigned long calls = text != NULL ? strtoul(text, NULL, 10) : ordinary;
    struct cm_primetest *best = NULL, *bignum = NULL;
    static cm_nat n;
    CM_AUTO(BIGNUM) liar = BN_new();

    CM_ASSERT(cm_primetest_open(1024, CM_WAY_BEST, &best, NULL) == CM_OK);
    CM_ASSERT(cm_primetest_open(1024, CM_WAY_BIGNUM, &bignum, NULL) == CM_OK);
    find_liar(1024, liar);
    to_nat(liar, &n);
    for (size_t i = 0; i < CM_COUNT(rounds); i++) {
        check("the best way", best, (const cm_nat *) &n, rounds[i], calls);
        if (cm_primetest_lanes(best) > 1) /* the other one too, sampled */
            check("by BIGNUM", bignum, (const cm_nat *) &n, rounds[i], calls / 10);
    }
    cm_primetest_close(best);
    cm_primetest_close(bignum);
    (void) printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
