/* Goal: what a sieve leaves of a window is what division by each small prime leaves, and nothing that is 1
 * modulo e. Method: random windows of every size, and starts at the edges of words, against BN_mod_word. */
#include "tests/t_mill.h"

#include "engine/ossl.h"
#include "engine/sieve.h"

#include <criterion/criterion.h>
#include <openssl/rand.h>

/* start + 2i, by libcrypto. */
static BIGNUM *number(const uint64_t *start, uint32_t words, uint32_t i)
{
    uint8_t octets[8 * CM_NAT_WORDS];

    for (uint32_t k = 0; k < 8 * words; k++)
        octets[k] = (uint8_t) (start[k / 8] >> (k % 8 * 8));
    BIGNUM *n = BN_lebin2bn(octets, (int) (8 * words), NULL);
    cr_assert(n != NULL && BN_add_word(n, 2 * i) == 1);
    return n;
}

static bool is_small_prime(uint32_t n)
{
    for (uint32_t d = 2; d * d <= n; d++)
        if (n % d == 0)
            return false;
    return true;
}

/* Must it go? */
static bool must_go(const BIGNUM *n, uint32_t limit)
{
    if (BN_mod_word(n, CM_RSA_E) == 1)
        return true;
    for (uint32_t p = 3; p < limit; p += 2)
        if (is_small_prime(p) && BN_mod_word(n, p) == 0)
            return true;
    return false;
}

static void check_window(const struct cm_sieve *s, const uint64_t *start, uint32_t words, uint32_t odds,
                         uint32_t limit)
{
    static struct cm_sieved got;
    uint32_t at = 0;

    memset(&got, 0xa5, sizeof got);
    cm_sieve_window(s, start, &got);
    for (uint32_t i = 0; i < odds; i++) {
        CM_AUTO(BIGNUM) n = number(start, words, i);
        const bool left = at < got.count && got.left[at] == i;
        cr_assert_eq(left, !must_go(n, limit), "%u words, limit %u, number %u", words, limit, i);
        at += left;
    }
    cr_assert_eq(at, got.count);
}

Test(sieve, leaves_what_no_small_prime_divides, .timeout = 120)
{
    static const uint32_t words[] = { 2, 16, 24, 32 }, limits[] = { 4, 6, 14, 100, 1009, 1010, 5000 };

    for (size_t w = 0; w < CM_COUNT(words); w++)
        for (size_t l = 0; l < CM_COUNT(limits); l++) {
            struct cm_sieve *s = NULL;
            uint64_t start[CM_NAT_WORDS] = { 0 };
            cr_assert_eq(cm_sieve_open(words[w], 128, limits[l], &s, NULL), CM_OK);
            for (int n = 0; n < 4; n++) {
                cr_assert_eq(RAND_bytes((unsigned char *) start, (int) (8 * words[w])), 1);
                if (n == 1) /* the window crosses the end of a word, and of all but the last */
                    memset(start, 0xff, 8 * (size_t) (words[w] - 1));
                if (n == 2) /* all words but the last are zero */
                    memset(start, 0, 8 * (size_t) (words[w] - 1));
                start[0] |= 1;
                start[words[w] - 1] |= UINT64_C(1) << 63;
                check_window(s, start, words[w], 128, limits[l]);
            }
            cm_sieve_close(s);
        }
}

/* The depth and length that RSA keys use; every small prime is met as a factor. */
Test(sieve, finds_every_prime_below_its_limit, .timeout = 120)
{
    enum { WORDS = 16, ODDS = 2048, LIMIT = 1 << 18 };
    static struct cm_sieved got;
    struct cm_sieve *s = NULL;
    uint64_t start[CM_NAT_WORDS] = { 0 };

    cr_assert_eq(cm_sieve_open(WORDS, ODDS, LIMIT, &s, NULL), CM_OK);
    CM_AUTO(BIGNUM) n = BN_new();
    for (uint32_t p = 3; p < LIMIT; p += 2) {
        uint8_t octets[8 * WORDS];
        if (!is_small_prime(p) || (p > 2000 && p < LIMIT - 2000 && p % 32 != 1 && p != CM_RSA_E))
            continue;
        /* n = an odd multiple of p, 2i above the start */
        const uint32_t i = p % ODDS;
        cr_assert_eq(BN_rand(n, 64 * WORDS - 1 - 18, BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ODD), 1);
        cr_assert(BN_mul_word(n, p) == 1 && BN_sub_word(n, 2 * i) == 1);
        cr_assert_eq(BN_bn2lebinpad(n, octets, sizeof octets), (int) sizeof octets);
        for (uint32_t k = 0; k < WORDS; k++)
            start[k] = 0;
        for (uint32_t k = 0; k < sizeof octets; k++)
            start[k / 8] |= (uint64_t) octets[k] << (k % 8 * 8);
        cm_sieve_window(s, start, &got);
        for (uint32_t k = 0; k < got.count; k++)
            cr_assert_neq(got.left[k], i, "a multiple of %u is left", p);
    }
    cm_sieve_close(s);
}

Test(sieve, numbers_that_are_1_modulo_e_go, .timeout = 60)
{
    enum { WORDS = 16, ODDS = 2048 };
    static struct cm_sieved got;
    struct cm_sieve *s = NULL;
    unsigned left_beside = 0;

    cr_assert_eq(cm_sieve_open(WORDS, ODDS, 4, &s, NULL), CM_OK);
    for (uint32_t i = 0; i < ODDS; i += 7) {
        uint64_t start[CM_NAT_WORDS] = { 0 };
        cr_assert_eq(RAND_bytes((unsigned char *) start, 8 * WORDS), 1);
        start[WORDS - 1] |= UINT64_C(1) << 63;
        start[0] |= 1;
        CM_AUTO(BIGNUM) n = number(start, WORDS, i);
        const uint32_t r = (uint32_t) BN_mod_word(n, CM_RSA_E);
        uint64_t back =
            2 * (uint64_t) ((r + CM_RSA_E - 1) % CM_RSA_E * (uint64_t) ((CM_RSA_E + 1) / 2) % CM_RSA_E);
        for (uint32_t k = 0; k < WORDS; k++) /* to n = 1 mod e, start still odd */
            back = __builtin_sub_overflow(start[k], back, &start[k]);
        cm_sieve_window(s, start, &got);
        for (uint32_t k = 0; k < got.count; k++) {
            cr_assert_neq(got.left[k], i, "start + 2*%u is 1 modulo e and is left", i);
            left_beside += got.left[k] == i + 1 || got.left[k] + 1 == (int) i;
        }
    }
    cr_expect_gt(left_beside, ODDS / 7, "its neighbours stay where 3 does not divide them");
    cm_sieve_close(s);
}
