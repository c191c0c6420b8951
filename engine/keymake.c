#include "engine/keymake.h"

#include "engine/ecbatch.h"
#include "engine/ossl.h"
#include "engine/rsakey.h"
#include "engine/secret.h"

#include <openssl/core_names.h>
#include <openssl/objects.h>
#include <openssl/params.h>

struct cm_keymaker {
    const struct cm_keyalg *alg;
    struct cm_rsakey *rsa; /* RSA of our own; one of rsa, evp and group is there */
    EVP_PKEY_CTX *evp;     /* EVP_PKEY_generate; Ed25519 always */
    EC_GROUP *group;       /* EC of our own, and all below */
    EC_POINT *point;
    BIGNUM *scalar; /* secure memory where libcrypto has it, constant-time, cleared after each key */
    BN_CTX *bn;
    size_t scalar_len;
    bool batches;             /* no: libcrypto multiplies one at a time */
    struct cm_ecbatch *batch; /* from the first key on */
    uint32_t taken, made;     /* pairs of the batch in hand */
    uint32_t expected;
};

static cm_err open_ec(struct cm_keymaker *m, struct cm_error *err)
{
    const int nid = EC_curve_nist2nid(m->alg->group);

    m->group = EC_GROUP_new_by_curve_name_ex(NULL, NULL, nid);
    m->bn = BN_CTX_secure_new();
    m->scalar = BN_secure_new();
    m->point = m->group != NULL ? EC_POINT_new(m->group) : NULL;
    if (m->point == NULL || m->bn == NULL || m->scalar == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "%s: libcrypto does not offer it", m->alg->name);
    BN_set_flags(m->scalar, BN_FLG_CONSTTIME);
    m->scalar_len = ((size_t) EC_GROUP_order_bits(m->group) + 7) / 8;
    CM_ASSERT(m->scalar_len <= CM_EC_MAX);
    m->batches = cm_ecbatch_pays(m->alg);
    return CM_OK;
}

static cm_err set_param(const struct cm_keymaker *m, OSSL_PARAM param, struct cm_error *err)
{
    const OSSL_PARAM params[] = { param, OSSL_PARAM_construct_end() };

    if (EVP_PKEY_CTX_set_params(m->evp, params) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: libcrypto refuses this size or curve", m->alg->name);
    return CM_OK;
}

static cm_err open_evp(struct cm_keymaker *m, struct cm_error *err)
{
    m->evp = EVP_PKEY_CTX_new_from_name(NULL, m->alg->evp_type, NULL);
    if (m->evp == NULL || EVP_PKEY_keygen_init(m->evp) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: libcrypto does not offer it", m->alg->name);
    if (m->alg->family == CM_KEYFAM_RSA) {
        size_t bits = m->alg->bits;
        return set_param(m, OSSL_PARAM_construct_size_t(OSSL_PKEY_PARAM_RSA_BITS, &bits), err);
    }
    if (m->alg->family == CM_KEYFAM_EC) {
        char group[16];
        (void) snprintf(group, sizeof group, "%s", m->alg->group);
        return set_param(m, OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0), err);
    }
    return CM_OK;
}

cm_err cm_keymaker_open(const struct cm_keyalg *alg, enum cm_keygen how, struct cm_keymaker **out,
                        struct cm_error *err)
{
    struct cm_keymaker *m = calloc(1, sizeof *m);
    cm_err rc = CM_OK;

    if (m == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for a key generator");
    m->alg = alg;
    if (how == CM_KEYGEN_OWN && alg->family == CM_KEYFAM_EC)
        rc = open_ec(m, err);
    else if (how == CM_KEYGEN_OWN && alg->family == CM_KEYFAM_RSA)
        rc = cm_rsakey_open(alg, CM_WAY_BEST, &m->rsa, err);
    else
        rc = open_evp(m, err);
    if (rc != CM_OK) {
        cm_keymaker_close(m);
        return rc;
    }
    *out = m;
    return CM_OK;
}

const char *cm_keymaker_arithmetic(const struct cm_keyalg *alg)
{
    return alg->family == CM_KEYFAM_RSA ? cm_primetest_name(CM_WAY_BEST) : cm_ecbatch_name(alg);
}

void cm_keymaker_close(struct cm_keymaker *m)
{
    if (m == NULL)
        return;
    cm_rsakey_close(m->rsa);
    cm_ecbatch_close(m->batch);
    EVP_PKEY_CTX_free(m->evp);
    EC_POINT_free(m->point);
    EC_GROUP_free(m->group);
    BN_clear_free(m->scalar);
    BN_CTX_free(m->bn);
    free(m);
}

/* The public point of m->scalar, and both in octets. */
static cm_err finish_ec(struct cm_keymaker *m, struct cm_keypair *out, struct cm_error *err)
{
    const size_t pub_len = 1 + 2 * (((size_t) EC_GROUP_get_degree(m->group) + 7) / 8);
    cm_err rc = CM_OK;

    if (EC_POINT_mul(m->group, m->point, m->scalar, NULL, NULL, m->bn) != 1 ||
        EC_POINT_point2oct(m->group, m->point, POINT_CONVERSION_UNCOMPRESSED, out->pub, sizeof out->pub,
                           m->bn) != pub_len ||
        BN_bn2binpad(m->scalar, out->priv, (int) m->scalar_len) != (int) m->scalar_len)
        rc = cm_fail(err, CM_E_CRYPTO, CM_HERE, "%s: can't compute the public key", m->alg->name);
    out->alg = m->alg;
    out->len = m->scalar_len;
    out->pub_len = pub_len;
    BN_clear(m->scalar);
    return rc;
}

void cm_keymaker_expect(struct cm_keymaker *m, uint32_t count)
{
    m->expected = count;
}

uint32_t cm_keymaker_batch(const struct cm_keymaker *m)
{
    return m->batch != NULL && m->batches ? cm_ecbatch_max(m->batch) : 1;
}

/* FIPS 186-5 A.2.2, testing candidates: a uniform number in [0, n-1] from the
 * private DRBG, drawn again when it is zero. The two libcrypto calls are those
 * that its own EC key generation makes (constant-time multiplication); without
 * the EVP_PKEY around them the point is turned into octets once instead of
 * twice, which on P-256 is worth a quarter of the key's cost. */
static cm_err make_ec(struct cm_keymaker *m, struct cm_keypair *out, struct cm_error *err)
{
    do {
        if (BN_priv_rand_range_ex(m->scalar, EC_GROUP_get0_order(m->group), 0, m->bn) != 1)
            CM_FAIL(err, CM_E_CRYPTO, "%s: the random generator failed", m->alg->name);
    } while (BN_is_zero(m->scalar));
    return finish_ec(m, out, err);
}

/* The next pair of the batch in hand. */
static cm_err take_ec(struct cm_keymaker *m, struct cm_keypair *out, struct cm_error *err)
{
    if (m->batch == NULL) {
        const cm_err rc = cm_ecbatch_open(m->alg, &m->batch, err);
        m->batches = rc != CM_E_LIMIT; /* it can't be locked: libcrypto needs less */
        if (rc != CM_OK)
            return m->batches ? rc : make_ec(m, out, err);
    }
    if (m->taken == m->made) {
        const uint32_t max = cm_ecbatch_max(m->batch);
        m->taken = m->made = 0;
        const uint32_t count = m->expected > 0 && m->expected < max ? m->expected : max;
        CM_TRY(cm_ecbatch_make(m->batch, count, err));
        m->made = count;
    }
    m->expected -= m->expected > 0;
    cm_ecbatch_take(m->batch, m->taken++, out);
    return CM_OK;
}

cm_err cm_keymaker_from_scalar(struct cm_keymaker *m, const uint8_t *scalar, size_t len,
                               struct cm_keypair *out, struct cm_error *err)
{
    CM_ASSERT(m->group != NULL);
    if (len != m->scalar_len || BN_bin2bn(scalar, (int) len, m->scalar) == NULL || BN_is_zero(m->scalar) ||
        BN_cmp(m->scalar, EC_GROUP_get0_order(m->group)) >= 0)
        CM_FAIL(err, CM_E_USAGE, "%s: the scalar is out of range", m->alg->name);
    return finish_ec(m, out, err);
}

static cm_err make_ed25519(struct cm_keymaker *m, struct cm_keypair *out, struct cm_error *err)
{
    CM_AUTO(EVP_PKEY) key = NULL;
    size_t priv_len = 32, pub_len = 32;

    if (EVP_PKEY_generate(m->evp, &key) != 1 ||
        EVP_PKEY_get_raw_private_key(key, out->priv, &priv_len) != 1 ||
        EVP_PKEY_get_raw_public_key(key, out->pub, &pub_len) != 1 || priv_len != 32 || pub_len != 32)
        CM_FAIL(err, CM_E_CRYPTO, "%s: key generation failed", m->alg->name);
    out->alg = m->alg;
    out->len = out->pub_len = 32;
    return CM_OK;
}

/* OSSL_PARAM integers come in the machine's order, padded to the buffer. */
static void to_big_endian(uint8_t *p, size_t len)
{
    const uint16_t probe = 1;

    if (*(const uint8_t *) &probe == 0)
        return;
    for (size_t i = 0; i < len / 2; i++) {
        const uint8_t t = p[i];
        p[i] = p[len - 1 - i];
        p[len - 1 - i] = t;
    }
}

/* A number of the key, big-endian. */
struct part {
    const char *name;
    uint8_t *at;
    size_t len;
};

enum { PARTS_MAX = 8 };

static cm_err read_parts(const struct cm_keymaker *m, const EVP_PKEY *key, const struct part *part,
                         size_t count, struct cm_error *err)
{
    OSSL_PARAM params[PARTS_MAX + 1];

    for (size_t i = 0; i < count; i++)
        params[i] = OSSL_PARAM_construct_BN(part[i].name, part[i].at, part[i].len);
    params[count] = OSSL_PARAM_construct_end();
    if (EVP_PKEY_get_params(key, params) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: can't read the new key", m->alg->name);
    for (size_t i = 0; i < count; i++) {
        if (!OSSL_PARAM_modified(&params[i]))
            CM_FAIL(err, CM_E_CRYPTO, "%s: the new key lacks its %s", m->alg->name, part[i].name);
        to_big_endian(part[i].at, part[i].len);
    }
    return CM_OK;
}

static cm_err make_ec_evp(struct cm_keymaker *m, struct cm_keypair *out, struct cm_error *err)
{
    const size_t len = (m->alg->bits + 7) / 8;
    const struct part scalar = { OSSL_PKEY_PARAM_PRIV_KEY, out->priv, len };
    CM_AUTO(EVP_PKEY) key = NULL;

    if (EVP_PKEY_generate(m->evp, &key) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: key generation failed", m->alg->name);
    if (EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, out->pub, sizeof out->pub,
                                        &out->pub_len) != 1 ||
        out->pub_len != 1 + 2 * len || out->pub[0] != POINT_CONVERSION_UNCOMPRESSED)
        CM_FAIL(err, CM_E_CRYPTO, "%s: can't read the new key's public point", m->alg->name);
    CM_TRY(read_parts(m, key, &scalar, 1, err));
    out->alg = m->alg;
    out->len = len;
    return CM_OK;
}

static cm_err make_rsa_evp(struct cm_keymaker *m, struct cm_keypair *out, struct cm_error *err)
{
    const size_t len = m->alg->bits / 8, half = len / 2;
    CM_AUTO(EVP_PKEY) key = NULL;
    const struct part part[PARTS_MAX] = {
        { OSSL_PKEY_PARAM_RSA_N, out->n, len },
        { OSSL_PKEY_PARAM_RSA_D, out->d, len },
        { OSSL_PKEY_PARAM_RSA_E, out->e, sizeof out->e },
        { OSSL_PKEY_PARAM_RSA_FACTOR1, out->p, half },
        { OSSL_PKEY_PARAM_RSA_FACTOR2, out->q, half },
        { OSSL_PKEY_PARAM_RSA_EXPONENT1, out->dp, half },
        { OSSL_PKEY_PARAM_RSA_EXPONENT2, out->dq, half },
        { OSSL_PKEY_PARAM_RSA_COEFFICIENT1, out->qinv, half },
    };

    if (EVP_PKEY_generate(m->evp, &key) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: key generation failed", m->alg->name);
    CM_TRY(read_parts(m, key, part, PARTS_MAX, err));
    out->alg = m->alg;
    out->len = len;
    return CM_OK;
}

cm_err cm_keymaker_make(struct cm_keymaker *m, struct cm_keypair *out, struct cm_error *err)
{
    switch (m->alg->family) {
    case CM_KEYFAM_EC:
        if (m->batches)
            return take_ec(m, out, err);
        return m->group != NULL ? make_ec(m, out, err) : make_ec_evp(m, out, err);
    case CM_KEYFAM_RSA:
        return m->rsa != NULL ? cm_rsakey_make(m->rsa, out, err) : make_rsa_evp(m, out, err);
    case CM_KEYFAM_ED25519:
        return make_ed25519(m, out, err);
    }
    CM_FAIL(err, CM_E_USAGE, "%s: no generator", m->alg->name);
}
