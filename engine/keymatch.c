#include "engine/keymatch.h"
#include "engine/ossl.h"

#include <openssl/crypto.h>

enum { ALGS_MAX = 32, POINT_MAX = 1 + 2 * 66 };

struct cm_keymatch {
    struct curve {
        EC_GROUP *group; /* NULL: the row isn't EC */
        EC_POINT *point; /* scratch */
    } curve[ALGS_MAX];   /* as the keyalg table */
};

static bool curve_open(struct curve *c, const struct cm_keyalg *alg)
{
    CM_ASSERT(cm_keyread_scalar_len(alg) * 2 + 1 <= POINT_MAX);
    c->group = EC_GROUP_new_by_curve_name_ex(NULL, NULL, cm_keyread_curve(alg));
    if (c->group == NULL)
        return false;
    c->point = EC_POINT_new(c->group);
    return c->point != NULL;
}

cm_err cm_keymatch_open(struct cm_keymatch **out, struct cm_error *err)
{
    struct cm_keymatch *m = calloc(1, sizeof *m);

    CM_ASSERT(cm_keyalg_count() <= ALGS_MAX);
    if (m == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory to check keys");
    for (size_t i = 0; i < cm_keyalg_count(); i++) {
        const struct cm_keyalg *alg = cm_keyalg_at(i);
        if (alg->family == CM_KEYFAM_EC && !curve_open(&m->curve[i], alg)) {
            cm_keymatch_close(m);
            CM_FAIL(err, CM_E_CRYPTO, "libcrypto has no curve %s", alg->name);
        }
    }
    *out = m;
    return CM_OK;
}

void cm_keymatch_close(struct cm_keymatch *m)
{
    for (size_t i = 0; m != NULL && i < ALGS_MAX; i++) {
        EC_POINT_free(m->curve[i].point);
        EC_GROUP_free(m->curve[i].group);
    }
    free(m);
}

static struct curve *find_curve(struct cm_keymatch *m, const struct cm_keyalg *alg)
{
    size_t i = 0;

    while (cm_keyalg_at(i) != alg)
        i++;
    return &m->curve[i];
}

/* ---- EC ---- */

static cm_err match_ec(struct cm_keymatch *m, const struct cm_keyread_priv *priv,
                       const struct cm_keyread_pub *pub, struct cm_error *err)
{
    const struct curve *c = find_curve(m, priv->alg);
    /* A context of its own for each key: libcrypto leaves parts of the scalar in the
     * context's pool, and freeing the context is what clears it. */
    CM_AUTO(BN_CTX) ctx = BN_CTX_secure_new();
    CM_AUTO(BIGNUM) k = BN_secure_new();
    uint8_t made[POINT_MAX];

    if (ctx == NULL || k == NULL || BN_bin2bn(priv->secret.data, (int) priv->secret.len, k) == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "the EC scalar couldn't be read");
    BN_set_flags(k, BN_FLG_CONSTTIME);
    if (BN_is_zero(k) || BN_cmp(k, EC_GROUP_get0_order(c->group)) >= 0)
        CM_FAIL(err, CM_E_INPUT, "the EC scalar isn't in [1, n-1]");
    if (EC_POINT_mul(c->group, c->point, k, NULL, NULL, ctx) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "the EC scalar couldn't be multiplied");
    const size_t len =
        EC_POINT_point2oct(c->group, c->point, POINT_CONVERSION_UNCOMPRESSED, made, sizeof made, ctx);
    if (len == 0)
        CM_FAIL(err, CM_E_CRYPTO, "the EC point couldn't be written");
    if (!cm_span_eq(cm_span(made, len), pub->bits))
        CM_FAIL(err, CM_E_INPUT, "the EC scalar isn't that of the certificate's public key");
    return CM_OK;
}

cm_err cm_keymatch_public(struct cm_keymatch *m, const struct cm_keyread_pub *pub, struct cm_error *err)
{
    if (pub->alg->family != CM_KEYFAM_EC)
        return CM_OK;
    const struct curve *c = find_curve(m, pub->alg);
    if (EC_POINT_oct2point(c->group, c->point, pub->bits.data, pub->bits.len, NULL) != 1)
        CM_FAIL(err, CM_E_INPUT, "the public key isn't a point of %s", pub->alg->name);
    return CM_OK;
}

/* ---- RSA ---- */

struct rsa {
    BIGNUM *n, *e, *d, *p, *q, *dp, *dq, *qinv, *p1, *q1, *t;
    BN_CTX *ctx;
    int half; /* bits of each prime */
};

static bool rsa_load(struct rsa *r, const struct cm_keyread_priv *priv)
{
    const struct {
        BIGNUM **to;
        struct cm_span from;
    } parts[] = {
        { &r->n, priv->n }, { &r->e, priv->e },   { &r->d, priv->d },   { &r->p, priv->p },
        { &r->q, priv->q }, { &r->dp, priv->dp }, { &r->dq, priv->dq }, { &r->qinv, priv->qinv },
    };

    r->half = (int) priv->alg->bits / 2;
    for (size_t i = 0; i < CM_COUNT(parts); i++) {
        *parts[i].to = BN_CTX_get(r->ctx);
        if (*parts[i].to == NULL ||
            BN_bin2bn(parts[i].from.data, (int) parts[i].from.len, *parts[i].to) == NULL)
            return false;
    }
    r->p1 = BN_CTX_get(r->ctx);
    r->q1 = BN_CTX_get(r->ctx);
    r->t = BN_CTX_get(r->ctx); /* the last: NULL when any failed */
    return r->t != NULL && BN_sub(r->p1, r->p, BN_value_one()) == 1 &&
           BN_sub(r->q1, r->q, BN_value_one()) == 1;
}

/* Each question below: 1 yes, 0 no, -1 libcrypto failed. */

static int primes_make_n(const struct rsa *r)
{
    if (BN_mul(r->t, r->p, r->q, r->ctx) != 1)
        return -1;
    return BN_cmp(r->t, r->n) == 0;
}

/* |p - q| > 2^(half - 100). */
static int primes_are_sized(const struct rsa *r)
{
    if (BN_sub(r->t, r->p, r->q) != 1)
        return -1;
    return BN_num_bits(r->p) == r->half && BN_num_bits(r->q) == r->half && BN_num_bits(r->t) > r->half - 100;
}

static int d_is_sized(const struct rsa *r)
{
    return BN_num_bits(r->d) > r->half && BN_cmp(r->d, r->n) < 0;
}

static int inverts(const struct rsa *r, const BIGNUM *a, const BIGNUM *b, const BIGNUM *modulus)
{
    return BN_mod_mul(r->t, a, b, modulus, r->ctx) != 1 ? -1 : BN_is_one(r->t);
}

static int d_inverts_e(const struct rsa *r)
{
    const int with_p = inverts(r, r->d, r->e, r->p1);

    return with_p != 1 ? with_p : inverts(r, r->d, r->e, r->q1);
}

static int dp_is_right(const struct rsa *r)
{
    return BN_mod(r->t, r->d, r->p1, r->ctx) != 1 ? -1 : BN_cmp(r->t, r->dp) == 0;
}

static int dq_is_right(const struct rsa *r)
{
    return BN_mod(r->t, r->d, r->q1, r->ctx) != 1 ? -1 : BN_cmp(r->t, r->dq) == 0;
}

static int qinv_is_right(const struct rsa *r)
{
    return BN_cmp(r->qinv, r->p) >= 0 ? 0 : inverts(r, r->q, r->qinv, r->p);
}

/* 2^(p-1) mod p is 1: finds any composite that wasn't built to pass. */
static int fermat(const struct rsa *r, const BIGNUM *prime, const BIGNUM *prime_1)
{
    CM_AUTO(BIGNUM) two = BN_new();

    if (two == NULL || BN_set_word(two, 2) != 1 ||
        BN_mod_exp_mont_consttime(r->t, two, prime_1, prime, r->ctx, NULL) != 1)
        return -1;
    return BN_is_one(r->t);
}

static int p_is_prime(const struct rsa *r)
{
    return fermat(r, r->p, r->p1);
}

static int q_is_prime(const struct rsa *r)
{
    return fermat(r, r->q, r->q1);
}

static cm_err match_rsa(const struct cm_keyread_priv *priv, const struct cm_keyread_pub *pub,
                        struct cm_error *err)
{
    static const struct {
        int (*ask)(const struct rsa *r);
        const char *no;
    } questions[] = {
        /* in this order: later ones rely on earlier ones */
        { primes_make_n, "p times q isn't the modulus" },
        { primes_are_sized, "p or q isn't of half the modulus' length, or they are too close" },
        { d_is_sized, "d is too short or too long" },
        { d_inverts_e, "d doesn't invert e" },
        { dp_is_right, "d mod p-1 is wrong" },
        { dq_is_right, "d mod q-1 is wrong" },
        { qinv_is_right, "1/q mod p is wrong" },
        { p_is_prime, "p isn't prime" },
        { q_is_prime, "q isn't prime" },
    };
    /* Freed, and so cleared, with the call. */
    CM_AUTO(BN_CTX) ctx = BN_CTX_secure_new();
    struct rsa r = { .ctx = ctx };

    if (!cm_span_eq(priv->n, pub->n) || !cm_span_eq(priv->e, pub->e))
        CM_FAIL(err, CM_E_INPUT, "its modulus and exponent aren't the certificate's");
    if (ctx == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "no memory to check an RSA key");
    BN_CTX_start(ctx);
    int yes = rsa_load(&r, priv) ? 1 : -1;
    size_t asked = 0;
    for (; yes == 1 && asked < CM_COUNT(questions); asked++)
        yes = questions[asked].ask(&r);
    BN_CTX_end(ctx);
    if (yes < 0)
        CM_FAIL(err, CM_E_CRYPTO, "the RSA key couldn't be checked");
    if (yes == 0)
        CM_FAIL(err, CM_E_INPUT, "RSA: %s", questions[asked - 1].no);
    return CM_OK;
}

/* ---- Ed25519 ---- */

static cm_err match_ed25519(const struct cm_keyread_priv *priv, const struct cm_keyread_pub *pub,
                            struct cm_error *err)
{
    CM_AUTO(EVP_PKEY)
    key = EVP_PKEY_new_raw_private_key_ex(NULL, "ED25519", NULL, priv->secret.data, priv->secret.len);
    uint8_t made[32];
    size_t len = sizeof made;

    if (key == NULL || EVP_PKEY_get_raw_public_key(key, made, &len) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "the Ed25519 public key couldn't be derived");
    if (!cm_span_eq(cm_span(made, len), pub->bits))
        CM_FAIL(err, CM_E_INPUT, "the Ed25519 seed isn't that of the certificate's public key");
    return CM_OK;
}

cm_err cm_keymatch_check(struct cm_keymatch *m, const struct cm_keyread_priv *priv,
                         const struct cm_keyread_pub *pub, struct cm_error *err)
{
    if (priv->alg != pub->alg)
        CM_FAIL(err, CM_E_INPUT, "it is %s, the certificate's is %s", priv->alg->name, pub->alg->name);
    switch (priv->alg->family) {
    case CM_KEYFAM_EC:
        return match_ec(m, priv, pub, err);
    case CM_KEYFAM_RSA:
        return match_rsa(priv, pub, err);
    case CM_KEYFAM_ED25519:
        return match_ed25519(priv, pub, err);
    }
    CM_FAIL(err, CM_E_INPUT, "no such kind of key");
}
