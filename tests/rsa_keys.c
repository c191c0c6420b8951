/* Goal: RSA keys are what FIPS 186-5 A.1.1 describes, by the crowd: each is sound, none shares a prime, and
 * the primes follow the law of their interval. Method: keys of every size go through our own encoder into
 * libcrypto, whose EVP_PKEY_check judges them; then chi-squared tests of leading bits and residues, a search
 * for repeats, and a batch GCD over all moduli. Generators with a fault on purpose must fail these tests.
 *
 *   rsa_keys own|libcrypto      CM_RSA_2048, CM_RSA_3072, CM_RSA_4096: how many keys of each size
 */
#include "engine/keyenc.h"
#include "engine/keymake.h"
#include "engine/ossl.h"
#include "tests/t_primes.h"

#include <openssl/rand.h>

static unsigned passed, failed;

static void note(bool ok, const char *what)
{
    passed += ok;
    failed += !ok;
    if (!ok)
        (void) printf("FAILED: %s\n", what);
}

struct crowd {
    struct t_primes primes, moduli;
};

/* --- keys ---------------------------------------------------------------------- */

static void add(struct t_primes *set, const uint8_t *be, size_t len)
{
    mpz_t n;

    mpz_init(n);
    mpz_import(n, len, 1, 1, 0, 0, be);
    t_primes_add(set, n);
    mpz_clear(n);
}

/* p^2 >= 2^(2 * bits - 1), in exactly bits bits. */
static bool is_in_range(const mpz_t prime, size_t bits)
{
    mpz_t square;

    mpz_init(square);
    mpz_mul(square, prime, prime);
    const bool in = mpz_sizeinbase(prime, 2) == bits && mpz_sizeinbase(square, 2) == 2 * bits;
    mpz_clear(square);
    return in;
}

static bool are_apart(const mpz_t p, const mpz_t q, size_t bits)
{
    mpz_t gap;

    mpz_init(gap);
    mpz_sub(gap, p, q);
    const bool apart = mpz_sizeinbase(gap, 2) > bits - 100;
    mpz_clear(gap);
    return apart;
}

/* As libcrypto reads it from the octets that a device would get. */
static bool is_sound(const struct cm_keypair *k)
{
    static uint8_t buf[4096];
    struct cm_der d = cm_der(buf, sizeof buf);
    const unsigned char *at = NULL;

    cm_keyenc_pkcs8(&d, k);
    at = cm_der_span(&d).data;
    CM_AUTO(EVP_PKEY) key = d2i_AutoPrivateKey(NULL, &at, (long) cm_der_len(&d));
    CM_AUTO(EVP_PKEY_CTX) ctx = key != NULL ? EVP_PKEY_CTX_new(key, NULL) : NULL;
    return cm_der_ok(&d) && ctx != NULL && EVP_PKEY_get_bits(key) == (int) k->alg->bits &&
           EVP_PKEY_check(ctx) == 1;
}

static bool take(struct crowd *c, const struct cm_keypair *k)
{
    const size_t bits = k->alg->bits / 2;

    add(&c->primes, k->p, k->len / 2);
    add(&c->primes, k->q, k->len / 2);
    add(&c->moduli, k->n, k->len);
    mpz_t *const last = &c->primes.at[c->primes.count - 2];
    return is_in_range(last[0], bits) && is_in_range(last[1], bits) && are_apart(last[0], last[1], bits) &&
           is_sound(k);
}

static void make_keys(const char *name, enum cm_keygen how, size_t count, struct crowd *c)
{
    static struct cm_keypair k;
    struct cm_keymaker *m = NULL;
    struct cm_error err = { 0 };
    size_t good = 0;

    CM_ASSERT(cm_keymaker_open(cm_keyalg_find(name), how, &m, &err) == CM_OK);
    for (size_t i = 0; i < count; i++) {
        memset(&k, 0xa5, sizeof k);
        if (cm_keymaker_make(m, &k, &err) != CM_OK) {
            (void) printf("%s: %s\n", name, err.what);
            break;
        }
        good += take(c, &k);
    }
    cm_keymaker_close(m);
    (void) printf("%s: %zu of %zu keys are sound\n", name, good, count);
    note(good == count, name);
}

static size_t wanted(const char *variable, size_t otherwise)
{
    const char *text = getenv(variable);

    return text != NULL ? (size_t) strtoul(text, NULL, 10) : otherwise;
}

static void check_keys(enum cm_keygen how)
{
#ifdef __SANITIZE_ADDRESS__
    const size_t scale = how == CM_KEYGEN_OWN ? 10 : 30;
#else
    const size_t scale = how == CM_KEYGEN_OWN ? 1 : 5;
#endif
    struct crowd c = { 0 };

    make_keys("RSA-2048", how, wanted("CM_RSA_2048", 300 / scale), &c);
    make_keys("RSA-3072", how, wanted("CM_RSA_3072", 20 / scale + (scale > 20)), &c);
    make_keys("RSA-4096", how, wanted("CM_RSA_4096", 10 / scale + (scale > 10)), &c);
    note(t_primes_distinct(&c.primes), "a prime twice");
    note(t_moduli_coprime(&c.moduli), "a shared factor");
    note(t_primes_leading_bits(&c.primes), "the leading bits");
    note(t_primes_residues(&c.primes), "the residues");
    t_primes_done(&c.primes);
    t_primes_done(&c.moduli);
}

/* --- generators with a fault ------------------------------------------------------ */

enum fault { NONE, TOP_TWO_BITS, THREE_MOD_FOUR, FEW_RESIDUES, FEW_STARTS, FAULTS };

/* Does a right prime of 128 bits come through the fault? */
static bool is_taken(enum fault fault, const BIGNUM *n)
{
    switch (fault) {
    case TOP_TWO_BITS: /* a cheap way to give p * q its full size */
        return BN_is_bit_set(n, 126);
    case THREE_MOD_FOUR: /* a cheap way to a round with one exponentiation: a bit of each prime is known */
        return BN_mod_word(n, 4) == 3;
    case FEW_RESIDUES: /* some never come, as in primes that are built as k * M + (65537^a mod M) */
        return BN_mod_word(n, 11) != 2 && BN_mod_word(n, 13) % 4 != 3 && BN_mod_word(n, 37) % 3 != 0;
    default:
        return true;
    }
}

/* Twelve random bits and the next prime from there. */
static void draw_from_few(BIGNUM *n, BN_CTX *ctx)
{
    unsigned char seed[2] = { 0 };

    CM_ASSERT(RAND_bytes(seed, 2) == 1 && BN_set_word(n, 0xb505u + ((seed[0] & 15u) << 8 | seed[1])) == 1 &&
              BN_lshift(n, n, 112) == 1 && BN_add_word(n, 1) == 1);
    while (BN_check_prime(n, ctx, NULL) != 1)
        CM_ASSERT(BN_add_word(n, 2) == 1);
}

static void draw_prime(enum fault fault, BIGNUM *n, BN_CTX *ctx)
{
    if (fault == FEW_STARTS) {
        draw_from_few(n, ctx);
        return;
    }
    do
        CM_ASSERT(BN_rand(n, 128, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD) == 1);
    while (!is_taken(fault, n) || BN_check_prime(n, ctx, NULL) != 1);
}

/* Nothing against leading bits, residues, repeats, moduli of two neighbours each? */
struct verdict {
    bool bits, residues, distinct, coprime;
};

static struct verdict judge(enum fault fault, size_t count)
{
    static const double least = 0.70710678118654752;
    struct t_primes primes = { 0 }, moduli = { 0 };
    CM_AUTO(BN_CTX) ctx = BN_CTX_new();
    CM_AUTO(BIGNUM) n = BN_new();
    mpz_t p, product;

    mpz_inits(p, product, NULL);
    while (primes.count < count) {
        uint8_t be[16];
        long exponent = 0;
        draw_prime(fault, n, ctx);
        CM_ASSERT(BN_bn2binpad(n, be, sizeof be) == (int) sizeof be);
        mpz_import(p, sizeof be, 1, 1, 0, 0, be);
        if (mpz_get_d_2exp(&exponent, p) < least)
            continue;
        t_primes_add(&primes, p);
        if (primes.count % 2 == 0) {
            mpz_mul(product, p, primes.at[primes.count - 2]);
            t_primes_add(&moduli, product);
        }
    }
    const struct verdict v = { .bits = t_primes_leading_bits(&primes),
                               .residues = t_primes_residues(&primes),
                               .distinct = t_primes_distinct(&primes),
                               .coprime = t_moduli_coprime(&moduli) };
    mpz_clears(p, product, NULL);
    t_primes_done(&primes);
    t_primes_done(&moduli);
    return v;
}

static void check_faults(void)
{
    static const struct {
        const char *name;
        size_t primes; /* as many as it takes to be sure */
        struct verdict want;
    } faults[FAULTS] = { { "without a fault", 600, { true, true, true, true } },
                         { "the top two bits set", 2000, { false, true, true, true } },
                         { "3 modulo 4", 600, { true, false, true, true } },
                         { "few residues", 600, { true, false, true, true } },
                         { "few starts", 600, { false, true, false, false } } };

    for (int f = 0; f < FAULTS; f++) {
        (void) printf("planted: %s\n", faults[f].name);
        const struct verdict v = judge((enum fault) f, faults[f].primes), *w = &faults[f].want;
        note(v.bits == w->bits && v.residues == w->residues && v.distinct == w->distinct &&
                 v.coprime == w->coprime,
             faults[f].name);
    }
}

int main(int argc, char **argv)
{
    const bool own = argc < 2 || strcmp(argv[1], "libcrypto") != 0;

    if (own)
        check_faults();
    check_keys(own ? CM_KEYGEN_OWN : CM_KEYGEN_EVP);
    (void) printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
