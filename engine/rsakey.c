#include "engine/rsakey.h"

#include "engine/ossl.h"
#include "engine/primegen.h"
#include "engine/secret.h"

/* All are "secure" and constant-time but for e and n, which everybody may know. */
enum { N, E, D, P, Q, DP, DQ, QINV, P1, Q1, LCM, T, U, NUMBERS };

struct cm_rsakey {
    const struct cm_keyalg *alg;
    struct cm_primegen *gen;
    struct cm_secret secret;
    cm_nat *prime; /* two, in secret */
    BIGNUM *bn[NUMBERS];
    BN_CTX *ctx;
    int half; /* bits of a prime */
};

static bool open_numbers(struct cm_rsakey *r)
{
    bool ok = true;

    for (size_t i = 0; i < NUMBERS; i++) {
        r->bn[i] = BN_secure_new();
        ok &= r->bn[i] != NULL;
        if (r->bn[i] != NULL && i != N && i != E)
            BN_set_flags(r->bn[i], BN_FLG_CONSTTIME);
    }
    r->ctx = BN_CTX_secure_new();
    return ok && r->ctx != NULL && BN_set_word(r->bn[E], CM_RSA_E) == 1;
}

cm_err cm_rsakey_open(const struct cm_keyalg *alg, enum cm_way way, struct cm_rsakey **out,
                      struct cm_error *err)
{
    struct cm_rsakey *r = calloc(1, sizeof *r);
    cm_err rc = CM_OK;

    CM_ASSERT(alg->family == CM_KEYFAM_RSA && alg->bits / 8 <= CM_RSA_MAX);
    if (r == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for an RSA key generator");
    r->alg = alg;
    r->half = (int) alg->bits / 2;
    rc = cm_secret_init(&r->secret, 2 * sizeof *r->prime, err);
    if (rc == CM_OK && !open_numbers(r))
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "no memory for an RSA key generator");
    if (rc == CM_OK)
        rc = cm_primegen_open(alg->bits / 2, way, &r->gen, err);
    if (rc != CM_OK) {
        cm_rsakey_close(r);
        return rc;
    }
    r->prime = (cm_nat *) (void *) r->secret.base;
    *out = r;
    return CM_OK;
}

void cm_rsakey_close(struct cm_rsakey *r)
{
    if (r == NULL)
        return;
    for (size_t i = 0; i < NUMBERS; i++)
        BN_clear_free(r->bn[i]);
    BN_CTX_free(r->ctx);
    cm_primegen_close(r->gen);
    cm_secret_done(&r->secret);
    free(r);
}

/* --- from two primes to a key ------------------------------------------------ */

static bool load(const cm_nat *from, BIGNUM *to)
{
    uint8_t octets[sizeof *from];

    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (uint8_t) ((*from)[i / 8] >> (i % 8 * 8));
    const bool ok = BN_lebin2bn(octets, sizeof octets, to) != NULL;
    cm_secret_wipe(octets, sizeof octets);
    return ok;
}

/* p and q, the larger first as everybody has it, and p-1, q-1. */
static bool load_primes(struct cm_rsakey *r, const cm_nat *p, const cm_nat *q)
{
    BIGNUM **bn = r->bn;

    if (!load(p, bn[P]) || !load(q, bn[Q]))
        return false;
    if (BN_ucmp(bn[P], bn[Q]) < 0) { /* BN_swap would lose their flags */
        BIGNUM *const larger = bn[Q];
        bn[Q] = bn[P];
        bn[P] = larger;
    }
    return BN_sub(bn[P1], bn[P], BN_value_one()) == 1 && BN_sub(bn[Q1], bn[Q], BN_value_one()) == 1;
}

/* A.1.3 5.4: p - q > 2^(nlen/2-100). -1: libcrypto failed. */
static int primes_are_apart(struct cm_rsakey *r)
{
    BIGNUM **bn = r->bn;

    BN_zero(bn[U]);
    if (BN_sub(bn[T], bn[P], bn[Q]) != 1 || BN_set_bit(bn[U], r->half - 100) != 1)
        return -1;
    return BN_ucmp(bn[T], bn[U]) > 0;
}

/* n, lcm(p-1, q-1), d and what speeds signing up. */
static bool compute(struct cm_rsakey *r)
{
    BIGNUM **bn = r->bn;

    return BN_mul(bn[N], bn[P], bn[Q], r->ctx) == 1 && BN_gcd(bn[T], bn[P1], bn[Q1], r->ctx) == 1 &&
           BN_mul(bn[U], bn[P1], bn[Q1], r->ctx) == 1 && BN_div(bn[LCM], NULL, bn[U], bn[T], r->ctx) == 1 &&
           BN_mod_inverse(bn[D], bn[E], bn[LCM], r->ctx) != NULL &&
           BN_mod(bn[DP], bn[D], bn[P1], r->ctx) == 1 && BN_mod(bn[DQ], bn[D], bn[Q1], r->ctx) == 1 &&
           BN_mod_inverse(bn[QINV], bn[Q], bn[P], r->ctx) != NULL;
}

/* a * b = 1 mod m? */
static bool is_inverse(struct cm_rsakey *r, int a, int b, int m)
{
    BIGNUM **bn = r->bn;

    return BN_mul(bn[T], bn[a], bn[b], r->ctx) == 1 && BN_mod(bn[U], bn[T], bn[m], r->ctx) == 1 &&
           BN_is_one(bn[U]);
}

static bool is_right(struct cm_rsakey *r)
{
    BIGNUM **bn = r->bn;

    return BN_num_bits(bn[N]) == 2 * r->half && BN_div(bn[T], bn[U], bn[N], bn[P], r->ctx) == 1 &&
           BN_is_zero(bn[U]) && BN_cmp(bn[T], bn[Q]) == 0 && is_inverse(r, E, D, P1) &&
           is_inverse(r, E, D, Q1) && is_inverse(r, E, DP, P1) && is_inverse(r, E, DQ, Q1) &&
           is_inverse(r, Q, QINV, P) && BN_ucmp(bn[D], bn[LCM]) < 0 && BN_ucmp(bn[DP], bn[P1]) < 0 &&
           BN_ucmp(bn[DQ], bn[Q1]) < 0 && BN_ucmp(bn[QINV], bn[P]) < 0;
}

static bool store(const struct cm_rsakey *r, struct cm_keypair *out)
{
    const int len = (int) r->alg->bits / 8, half = len / 2;
    const struct {
        int number, len;
        uint8_t *at;
    } part[] = { { N, len, out->n },    { E, sizeof out->e, out->e }, { D, len, out->d },
                 { P, half, out->p },   { Q, half, out->q },          { DP, half, out->dp },
                 { DQ, half, out->dq }, { QINV, half, out->qinv } };

    for (size_t i = 0; i < CM_COUNT(part); i++)
        if (BN_bn2binpad(r->bn[part[i].number], part[i].at, part[i].len) != part[i].len)
            return false;
    out->alg = r->alg;
    out->len = (size_t) len;
    return true;
}

cm_err cm_rsakey_of_primes(struct cm_rsakey *r, const cm_nat *p, const cm_nat *q, struct cm_keypair *out,
                           bool *fits, struct cm_error *err)
{
    int apart = load_primes(r, p, q) ? primes_are_apart(r) : -1;
    bool ok = apart >= 0;

    *fits = false;
    if (apart == 1) {
        ok = compute(r);
        *fits = ok && BN_num_bits(r->bn[D]) > r->half;
    }
    if (*fits && !is_right(r))
        ok = *fits = false;
    if (*fits)
        ok = store(r, out);
    for (int i = 0; i < NUMBERS; i++)
        if (i != E)
            BN_clear(r->bn[i]);
    if (!ok)
        CM_FAIL(err, CM_E_CRYPTO, "%s: the key's numbers can't be computed, or don't fit each other",
                r->alg->name);
    return CM_OK;
}

cm_err cm_rsakey_make(struct cm_rsakey *r, struct cm_keypair *out, struct cm_error *err)
{
    cm_err rc = CM_OK;

    for (bool fits = false; rc == CM_OK && !fits;) {
        rc = cm_primegen_next(r->gen, &r->prime[0], err);
        if (rc == CM_OK)
            rc = cm_primegen_next(r->gen, &r->prime[1], err);
        if (rc == CM_OK)
            rc = cm_rsakey_of_primes(r, (const cm_nat *) &r->prime[0], (const cm_nat *) &r->prime[1], out,
                                     &fits, err);
    }
    cm_secret_wipe(r->prime, 2 * sizeof *r->prime);
    return rc;
}
