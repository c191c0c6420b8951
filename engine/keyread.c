#include "engine/keyread.h"
#include "engine/derread.h"

#include <openssl/ec.h>
#include <openssl/objects.h>

static const char ec_public_key[] = "\x2a\x86\x48\xce\x3d\x02\x01";
static const char rsa_encryption[] = "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
static const char ed25519[] = "\x2b\x65\x70";

int cm_keyread_curve(const struct cm_keyalg *alg)
{
    const int nid = EC_curve_nist2nid(alg->group);

    return nid != NID_undef ? nid : OBJ_sn2nid(alg->group);
}

size_t cm_keyread_scalar_len(const struct cm_keyalg *alg)
{
    return (alg->bits + 7) / 8;
}

/* The EC row whose curve has this object identifier. */
static const struct cm_keyalg *find_curve(struct cm_span oid)
{
    for (size_t i = 0; i < cm_keyalg_count(); i++) {
        const struct cm_keyalg *alg = cm_keyalg_at(i);
        if (alg->family != CM_KEYFAM_EC)
            continue;
        const ASN1_OBJECT *object = OBJ_nid2obj(cm_keyread_curve(alg));
        if (object != NULL && cm_span_eq(oid, cm_span(OBJ_get0_data(object), OBJ_length(object))))
            return alg;
    }
    return NULL;
}

static const struct cm_keyalg *find_family(enum cm_keyfam family, size_t bits)
{
    for (size_t i = 0; i < cm_keyalg_count(); i++)
        if (cm_keyalg_at(i)->family == family && (family != CM_KEYFAM_RSA || cm_keyalg_at(i)->bits == bits))
            return cm_keyalg_at(i);
    return NULL;
}

static cm_err read_curve(struct cm_span *in, const char *what, const struct cm_keyalg **alg,
                         struct cm_error *err)
{
    struct cm_span oid;

    CM_TRY(cm_derread_oid(in, what, &oid, err));
    *alg = find_curve(oid);
    if (*alg == NULL)
        CM_FAIL(err, CM_E_INPUT, "%s: an EC curve that isn't in the table", what);
    return CM_OK;
}

/* A key's AlgorithmIdentifier. *alg stays NULL for RSA, whose row the modulus decides. */
static cm_err read_algid(struct cm_span *in, const char *what, enum cm_keyfam *family,
                         const struct cm_keyalg **alg, struct cm_error *err)
{
    struct cm_span id, oid, null;

    *alg = NULL;
    CM_TRY(cm_derread_take(in, CM_TAG_SEQUENCE, what, &id, NULL, err));
    CM_TRY(cm_derread_oid(&id, what, &oid, err));
    if (cm_span_eq(oid, cm_span_str(ec_public_key))) {
        *family = CM_KEYFAM_EC;
        CM_TRY(read_curve(&id, what, alg, err));
    } else if (cm_span_eq(oid, cm_span_str(rsa_encryption))) {
        *family = CM_KEYFAM_RSA;
        CM_TRY(cm_derread_take(&id, CM_TAG_NULL, what, &null, NULL, err));
        CM_TRY(cm_derread_end(null, what, err));
    } else if (cm_span_eq(oid, cm_span_str(ed25519))) {
        *family = CM_KEYFAM_ED25519;
        *alg = find_family(CM_KEYFAM_ED25519, 0);
    } else {
        CM_FAIL(err, CM_E_INPUT, "%s: a key type that isn't in the table", what);
    }
    return cm_derread_end(id, what, err);
}

/* ---- public ---- */

static size_t bit_length(struct cm_span magnitude)
{
    return magnitude.len * 8 - (size_t) (__builtin_clz((unsigned) magnitude.data[0] | 1) - 24) -
           (size_t) (magnitude.data[0] == 0);
}

/* n and e of an RSA key; decides the row. */
static cm_err check_rsa_public(struct cm_span n, struct cm_span e, const struct cm_keyalg **alg,
                               struct cm_error *err)
{
    *alg = find_family(CM_KEYFAM_RSA, bit_length(n));
    if (*alg == NULL)
        CM_FAIL(err, CM_E_INPUT, "an RSA modulus of %zu bits, which isn't in the table", bit_length(n));
    if ((n.data[n.len - 1] & 1) == 0)
        CM_FAIL(err, CM_E_INPUT, "the RSA modulus is even");
    /* Odd, and 17 bits or more: at least 65537. FIPS 186-5 A.1.1: below 2^256. */
    if ((e.data[e.len - 1] & 1) == 0 || bit_length(e) < 17 || bit_length(e) > 256)
        CM_FAIL(err, CM_E_INPUT, "the RSA exponent is even, below 65537 or above 2^256");
    return CM_OK;
}

static cm_err read_rsa_public(struct cm_span der, struct cm_keyread_pub *out, struct cm_error *err)
{
    struct cm_span in;

    CM_TRY(cm_derread_take(&der, CM_TAG_SEQUENCE, "RSAPublicKey", &in, NULL, err));
    CM_TRY(cm_derread_end(der, "RSAPublicKey", err));
    CM_TRY(cm_derread_uint(&in, "RSA modulus", &out->n, err));
    CM_TRY(cm_derread_uint(&in, "RSA exponent", &out->e, err));
    CM_TRY(cm_derread_end(in, "RSAPublicKey", err));
    return check_rsa_public(out->n, out->e, &out->alg, err);
}

static cm_err check_point(const struct cm_keyalg *alg, struct cm_span point, const char *what,
                          struct cm_error *err)
{
    const size_t expect = 1 + 2 * cm_keyread_scalar_len(alg);

    if (point.len == 0 || point.data[0] != 0x04)
        CM_FAIL(err, CM_E_INPUT, "%s: not an uncompressed point", what);
    if (point.len != expect)
        CM_FAIL(err, CM_E_INPUT, "%s: a point of %zu octets where %s has %zu", what, point.len, alg->name,
                expect);
    return CM_OK;
}

cm_err cm_keyread_spki(struct cm_span der, struct cm_keyread_pub *out, struct cm_error *err)
{
    struct cm_span in;
    enum cm_keyfam family = CM_KEYFAM_EC;

    *out = (struct cm_keyread_pub) { 0 };
    CM_TRY(cm_derread_take(&der, CM_TAG_SEQUENCE, "subjectPublicKeyInfo", &in, NULL, err));
    CM_TRY(cm_derread_end(der, "subjectPublicKeyInfo", err));
    CM_TRY(read_algid(&in, "public key algorithm", &family, &out->alg, err));
    CM_TRY(cm_derread_octet_bits(&in, "public key", &out->bits, err));
    CM_TRY(cm_derread_end(in, "subjectPublicKeyInfo", err));
    if (family == CM_KEYFAM_EC)
        return check_point(out->alg, out->bits, "public key", err);
    if (family == CM_KEYFAM_RSA)
        return read_rsa_public(out->bits, out, err);
    if (out->bits.len != 32)
        CM_FAIL(err, CM_E_INPUT, "an Ed25519 public key of %zu octets", out->bits.len);
    return CM_OK;
}

/* ---- private ---- */

/* ECPrivateKey, RFC 5915. outer: the curve that PKCS#8 named around it, or NULL. */
static cm_err read_ec(struct cm_span der, const struct cm_keyalg *outer, struct cm_keyread_priv *out,
                      struct cm_error *err)
{
    struct cm_span in, tagged;

    out->alg = outer;
    CM_TRY(cm_derread_take(&der, CM_TAG_SEQUENCE, "ECPrivateKey", &in, NULL, err));
    CM_TRY(cm_derread_end(der, "ECPrivateKey", err));
    CM_TRY(cm_derread_version(&in, "ECPrivateKey version", 1, err));
    CM_TRY(cm_derread_take(&in, CM_TAG_OCTET_STRING, "EC scalar", &out->secret, NULL, err));
    if (outer == NULL) {
        CM_TRY(cm_derread_take(&in, CM_TAG_CONTEXT_IN(0), "ECPrivateKey parameters", &tagged, NULL, err));
        CM_TRY(read_curve(&tagged, "ECPrivateKey parameters", &out->alg, err));
        CM_TRY(cm_derread_end(tagged, "ECPrivateKey parameters", err));
    }
    if (out->secret.len != cm_keyread_scalar_len(out->alg))
        CM_FAIL(err, CM_E_INPUT, "an EC scalar of %zu octets where %s has %zu", out->secret.len,
                out->alg->name, cm_keyread_scalar_len(out->alg));
    CM_TRY(cm_derread_take(&in, CM_TAG_CONTEXT_IN(1), "ECPrivateKey public key", &tagged, NULL, err));
    CM_TRY(cm_derread_octet_bits(&tagged, "ECPrivateKey public key", &out->point, err));
    CM_TRY(cm_derread_end(tagged, "ECPrivateKey public key", err));
    CM_TRY(check_point(out->alg, out->point, "ECPrivateKey public key", err));
    return cm_derread_end(in, "ECPrivateKey", err);
}

/* RSAPrivateKey, RFC 8017 A.1.2, with two primes. */
static cm_err read_rsa(struct cm_span der, struct cm_keyread_priv *out, struct cm_error *err)
{
    struct cm_span in;
    const struct {
        const char *what;
        struct cm_span *part;
    } parts[] = {
        { "RSA modulus", &out->n },    { "RSA exponent", &out->e },
        { "RSA d", &out->d },          { "RSA p", &out->p },
        { "RSA q", &out->q },          { "RSA d mod p-1", &out->dp },
        { "RSA d mod q-1", &out->dq }, { "RSA 1/q mod p", &out->qinv },
    };

    CM_TRY(cm_derread_take(&der, CM_TAG_SEQUENCE, "RSAPrivateKey", &in, NULL, err));
    CM_TRY(cm_derread_end(der, "RSAPrivateKey", err));
    CM_TRY(cm_derread_version(&in, "RSAPrivateKey version", 0, err));
    for (size_t i = 0; i < CM_COUNT(parts); i++)
        CM_TRY(cm_derread_uint(&in, parts[i].what, parts[i].part, err));
    CM_TRY(cm_derread_end(in, "RSAPrivateKey", err));
    return check_rsa_public(out->n, out->e, &out->alg, err);
}

/* CurvePrivateKey, RFC 8410 7: an OCTET STRING in the OCTET STRING. */
static cm_err read_seed(struct cm_span der, const struct cm_keyalg *alg, struct cm_keyread_priv *out,
                        struct cm_error *err)
{
    out->alg = alg;
    CM_TRY(cm_derread_take(&der, CM_TAG_OCTET_STRING, "Ed25519 seed", &out->secret, NULL, err));
    CM_TRY(cm_derread_end(der, "Ed25519 seed", err));
    if (out->secret.len != 32)
        CM_FAIL(err, CM_E_INPUT, "an Ed25519 seed of %zu octets", out->secret.len);
    return CM_OK;
}

static cm_err read_pkcs8(struct cm_span der, struct cm_keyread_priv *out, struct cm_error *err)
{
    const struct cm_keyalg *alg = NULL;
    enum cm_keyfam family = CM_KEYFAM_EC;
    struct cm_span in, key;

    CM_TRY(cm_derread_take(&der, CM_TAG_SEQUENCE, "PKCS#8", &in, NULL, err));
    CM_TRY(cm_derread_end(der, "PKCS#8", err));
    CM_TRY(cm_derread_version(&in, "PKCS#8 version", 0, err));
    CM_TRY(read_algid(&in, "PKCS#8 algorithm", &family, &alg, err));
    CM_TRY(cm_derread_take(&in, CM_TAG_OCTET_STRING, "PKCS#8 key", &key, NULL, err));
    CM_TRY(cm_derread_end(in, "PKCS#8", err));
    if (family == CM_KEYFAM_EC)
        return read_ec(key, alg, out, err);
    return family == CM_KEYFAM_RSA ? read_rsa(key, out, err) : read_seed(key, alg, out, err);
}

cm_err cm_keyread_priv(struct cm_span der, enum cm_keyread_form form, struct cm_keyread_priv *out,
                       struct cm_error *err)
{
    *out = (struct cm_keyread_priv) { 0 };
    switch (form) {
    case CM_KEYREAD_PKCS8:
        return read_pkcs8(der, out, err);
    case CM_KEYREAD_SEC1:
        return read_ec(der, NULL, out, err);
    case CM_KEYREAD_PKCS1:
        return read_rsa(der, out, err);
    }
    CM_FAIL(err, CM_E_INPUT, "no such form of key");
}

enum cm_keyread_form cm_keyread_guess(struct cm_span der)
{
    struct cm_span in, version;

    if (cm_derread_take(&der, CM_TAG_SEQUENCE, "key", &in, NULL, NULL) != CM_OK ||
        cm_derread_uint(&in, "key", &version, NULL) != CM_OK)
        return CM_KEYREAD_PKCS8;
    if (cm_derread_is(in, CM_TAG_OCTET_STRING))
        return CM_KEYREAD_SEC1;
    return cm_derread_is(in, CM_TAG_INTEGER) ? CM_KEYREAD_PKCS1 : CM_KEYREAD_PKCS8;
}

const char *cm_keyread_label(enum cm_keyread_form form)
{
    return form == CM_KEYREAD_SEC1    ? "EC PRIVATE KEY"
           : form == CM_KEYREAD_PKCS1 ? "RSA PRIVATE KEY"
                                      : "PRIVATE KEY";
}
