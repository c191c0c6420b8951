#include "engine/deep_impl.h"

#include <openssl/core_names.h>

/* FIPS 186-5 A.1.1 and A.1.3, RFC 8017 3.2, over libcrypto's BIGNUMs, nothing else of it.
 * keymatch.c asks some of these too, of the numbers that our own reader found; it
 * stops at the first "no", and its test of the primes is one for every device. */

struct rsa {
    BIGNUM *n, *e, *d, *p, *q, *dp, *dq, *qinv;
    BIGNUM *p1, *q1, *t, *u; /* p-1, q-1, scratch */
    BN_CTX *ctx;
    int half; /* bits of each prime: nlen/2 */
};

static bool load(struct rsa *r, const EVP_PKEY *key)
{
    const struct {
        BIGNUM **to;
        const char *from;
    } parts[] = {
        { &r->n, OSSL_PKEY_PARAM_RSA_N },          { &r->e, OSSL_PKEY_PARAM_RSA_E },
        { &r->d, OSSL_PKEY_PARAM_RSA_D },          { &r->p, OSSL_PKEY_PARAM_RSA_FACTOR1 },
        { &r->q, OSSL_PKEY_PARAM_RSA_FACTOR2 },    { &r->dp, OSSL_PKEY_PARAM_RSA_EXPONENT1 },
        { &r->dq, OSSL_PKEY_PARAM_RSA_EXPONENT2 }, { &r->qinv, OSSL_PKEY_PARAM_RSA_COEFFICIENT1 },
    };
    BIGNUM **const scratch[] = { &r->p1, &r->q1, &r->t, &r->u };

    for (size_t i = 0; i < CM_COUNT(parts); i++)
        if (EVP_PKEY_get_bn_param(key, parts[i].from, parts[i].to) != 1)
            return false;
    for (size_t i = 0; i < CM_COUNT(scratch); i++)
        if ((*scratch[i] = BN_secure_new()) == NULL)
            return false;
    r->ctx = BN_CTX_secure_new();
    r->half = BN_num_bits(r->n) / 2;
    return r->ctx != NULL && BN_sub(r->p1, r->p, BN_value_one()) == 1 &&
           BN_sub(r->q1, r->q, BN_value_one()) == 1;
}

static void unload(struct rsa *r)
{
    BIGNUM *const all[] = { r->n, r->e, r->d, r->p, r->q, r->dp, r->dq, r->qinv, r->p1, r->q1, r->t, r->u };

    for (size_t i = 0; i < CM_COUNT(all); i++)
        BN_clear_free(all[i]);
    BN_CTX_free(r->ctx);
}

/* Each question: 1 yes, 0 no, -1 libcrypto failed. */

/* A.1.1 3: 2^16 < e < 2^256, odd. */
static int e_is_in_range(const struct rsa *r)
{
    return BN_is_odd(r->e) && BN_num_bits(r->e) >= 17 && BN_num_bits(r->e) <= 256;
}

static int product_is_n(const struct rsa *r)
{
    return BN_mul(r->t, r->p, r->q, r->ctx) != 1 ? -1 : BN_cmp(r->t, r->n) == 0;
}

/* A.1.3 4.4: prime >= sqrt(2) * 2^(nlen/2-1), that is prime^2 >= 2^(nlen-1). */
static int is_large(const struct rsa *r, const BIGNUM *prime)
{
    if (BN_num_bits(prime) != r->half)
        return 0;
    return BN_sqr(r->t, prime, r->ctx) != 1 ? -1 : BN_num_bits(r->t) >= 2 * r->half;
}

static int p_is_large(const struct rsa *r)
{
    return is_large(r, r->p);
}

static int q_is_large(const struct rsa *r)
{
    return is_large(r, r->q);
}

/* A.1.3 5.4: |p-q| > 2^(nlen/2-100). */
static int primes_are_apart(const struct rsa *r)
{
    BN_zero(r->u);
    if (r->half <= 100)
        return 0;
    if (BN_sub(r->t, r->p, r->q) != 1 || BN_set_bit(r->u, r->half - 100) != 1)
        return -1;
    return BN_ucmp(r->t, r->u) > 0;
}

/* A.1.1 4: d > 2^(nlen/2); RFC 8017 3.2: d < n. */
static int d_is_long(const struct rsa *r)
{
    return BN_num_bits(r->d) > r->half && BN_cmp(r->d, r->n) < 0;
}

/* A.1.1 4: d*e = 1 mod lcm(p-1, q-1). */
static int d_inverts_e(const struct rsa *r)
{
    CM_AUTO(BIGNUM) lcm = BN_secure_new();

    if (lcm == NULL || BN_gcd(r->t, r->p1, r->q1, r->ctx) != 1 || BN_is_zero(r->t) ||
        BN_mul(r->u, r->p1, r->q1, r->ctx) != 1 || BN_div(lcm, NULL, r->u, r->t, r->ctx) != 1)
        return -1;
    return BN_mod_mul(r->t, r->d, r->e, lcm, r->ctx) != 1 ? -1 : BN_is_one(r->t);
}

static int is_residue(const struct rsa *r, const BIGNUM *value, const BIGNUM *of, const BIGNUM *modulus)
{
    return BN_mod(r->t, of, modulus, r->ctx) != 1 ? -1 : BN_cmp(r->t, value) == 0;
}

static int dp_is_right(const struct rsa *r)
{
    return is_residue(r, r->dp, r->d, r->p1);
}

static int dq_is_right(const struct rsa *r)
{
    return is_residue(r, r->dq, r->d, r->q1);
}

static int qinv_is_right(const struct rsa *r)
{
    if (BN_cmp(r->qinv, r->p) >= 0)
        return 0;
    return BN_mod_mul(r->t, r->qinv, r->q, r->p, r->ctx) != 1 ? -1 : BN_is_one(r->t);
}

/* B.3 with at least 64 rounds: these numbers come from outside, they were not drawn here. */
static int p_is_prime(const struct rsa *r)
{
    return BN_check_prime(r->p, r->ctx, NULL);
}

static int q_is_prime(const struct rsa *r)
{
    return BN_check_prime(r->q, r->ctx, NULL);
}

/* All are asked: one "no" doesn't hide the next. */
static void ask(struct cm_deep *d, const struct rsa *r)
{
    static const struct {
        int (*ask)(const struct rsa *r);
        const char *no;
    } questions[] = {
        { e_is_in_range, "e is even, or not between 2^16 and 2^256" },
        { product_is_n, "p times q isn't n" },
        { p_is_large, "p is shorter than half of n, or below sqrt(2)*2^(nlen/2-1)" },
        { q_is_large, "q is shorter than half of n, or below sqrt(2)*2^(nlen/2-1)" },
        { primes_are_apart, "p and q are closer than 2^(nlen/2-100)" },
        { d_is_long, "d isn't between 2^(nlen/2) and n" },
        { d_inverts_e, "d times e isn't 1 mod lcm(p-1, q-1)" },
        { dp_is_right, "dP isn't d mod p-1" },
        { dq_is_right, "dQ isn't d mod q-1" },
        { qinv_is_right, "qInv isn't 1/q mod p" },
        { p_is_prime, "p isn't prime" },
        { q_is_prime, "q isn't prime" },
    };

    for (size_t i = 0; i < CM_COUNT(questions); i++) {
        const int yes = questions[i].ask(r);
        if (yes < 0)
            cm_deep_say_why(d, "key: RSA couldn't be checked");
        else if (yes == 0)
            cm_deep_say(d, "key: RSA (FIPS 186-5): %s", questions[i].no);
    }
}

/* A digest of a prime tells nothing about it, and the same for the same. */
static bool digest(const struct cm_deep *d, const BIGNUM *prime, uint8_t out[32])
{
    uint8_t octets[1024];
    const int len = BN_num_bytes(prime);

    if (len <= 0 || len > (int) sizeof octets || BN_bn2bin(prime, octets) != len)
        return false;
    const bool ok = EVP_Digest(octets, (size_t) len, out, NULL, d->sha256, NULL) == 1;
    OPENSSL_cleanse(octets, sizeof octets);
    return ok;
}

void cm_deep_rsa(struct cm_deep *d, const EVP_PKEY *key, struct cm_audit_ids *ids)
{
    struct rsa r = { .n = NULL };

    if (!load(&r, key) || BN_is_zero(r.p1) || BN_is_zero(r.q1))
        cm_deep_say_why(d, "key: RSA without all its numbers");
    else
        ask(d, &r);
    if (r.p != NULL && r.q != NULL &&
        (!digest(d, r.p, ids->prime_sha256[0]) || !digest(d, r.q, ids->prime_sha256[1])))
        cm_deep_say(d, "key: its primes couldn't be remembered for comparison");
    unload(&r);
}
