#include "engine/keyenc.h"

/* Algorithm identifiers and curve OIDs, whole TLVs: RFC 5480 2.1.1, RFC 3279
 * 2.3.1 (parameters NULL), RFC 8410 3 (parameters absent). */
static const uint8_t oid_ec_public_key[] = { 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01 };
static const uint8_t oid_p256[] = { 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07 };
static const uint8_t oid_p384[] = { 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22 };
static const uint8_t oid_p521[] = { 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23 };
static const uint8_t algid_rsa[] = { 0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                                     0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00 };
static const uint8_t algid_ed25519[] = { 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70 };

static void put_curve(struct cm_der *d, const struct cm_keyalg *alg)
{
    if (alg->bits == 256)
        cm_der_raw(d, oid_p256, sizeof oid_p256);
    else if (alg->bits == 384)
        cm_der_raw(d, oid_p384, sizeof oid_p384);
    else
        cm_der_raw(d, oid_p521, sizeof oid_p521);
}

static void put_algid(struct cm_der *d, const struct cm_keyalg *alg)
{
    const size_t mark = cm_der_len(d);

    switch (alg->family) {
    case CM_KEYFAM_EC:
        put_curve(d, alg);
        cm_der_raw(d, oid_ec_public_key, sizeof oid_ec_public_key);
        cm_der_wrap(d, CM_DER_SEQUENCE, mark);
        break;
    case CM_KEYFAM_RSA:
        cm_der_raw(d, algid_rsa, sizeof algid_rsa);
        break;
    case CM_KEYFAM_ED25519:
        cm_der_raw(d, algid_ed25519, sizeof algid_ed25519);
        break;
    }
}

void cm_keyenc_public(struct cm_der *d, const struct cm_keypair *k)
{
    const size_t mark = cm_der_len(d);

    if (k->alg->family != CM_KEYFAM_RSA) {
        cm_der_raw(d, k->pub, k->pub_len);
        return;
    }
    cm_der_uint(d, k->e, sizeof k->e);
    cm_der_uint(d, k->n, k->len);
    cm_der_wrap(d, CM_DER_SEQUENCE, mark);
}

/* The public key as a BIT STRING of whole octets. */
static void put_public_bits(struct cm_der *d, const struct cm_keypair *k)
{
    const size_t mark = cm_der_len(d);

    cm_keyenc_public(d, k);
    cm_der_byte(d, 0);
    cm_der_wrap(d, CM_DER_BIT_STRING, mark);
}

void cm_keyenc_spki(struct cm_der *d, const struct cm_keypair *k)
{
    const size_t mark = cm_der_len(d);

    put_public_bits(d, k);
    put_algid(d, k->alg);
    cm_der_wrap(d, CM_DER_SEQUENCE, mark);
}

/* RFC 5915 3: ECPrivateKey, the scalar always ceil(log2(n)/8) octets. */
static void put_ec_private(struct cm_der *d, const struct cm_keypair *k, bool with_curve)
{
    const size_t mark = cm_der_len(d);
    size_t inner = 0;

    put_public_bits(d, k);
    cm_der_wrap(d, CM_DER_CONTEXT_1, mark);
    if (with_curve) {
        inner = cm_der_len(d);
        put_curve(d, k->alg);
        cm_der_wrap(d, CM_DER_CONTEXT_0, inner);
    }
    cm_der_raw(d, k->priv, k->len);
    cm_der_header(d, CM_DER_OCTET_STRING, k->len);
    cm_der_raw(d, (const uint8_t[]) { CM_DER_INTEGER, 1, 1 }, 3);
    cm_der_wrap(d, CM_DER_SEQUENCE, mark);
}

/* RFC 8017 A.1.2: RSAPrivateKey, two-prime. */
static void put_rsa_private(struct cm_der *d, const struct cm_keypair *k)
{
    const size_t mark = cm_der_len(d), half = k->len / 2;

    cm_der_uint(d, k->qinv, half);
    cm_der_uint(d, k->dq, half);
    cm_der_uint(d, k->dp, half);
    cm_der_uint(d, k->q, half);
    cm_der_uint(d, k->p, half);
    cm_der_uint(d, k->d, k->len);
    cm_der_uint(d, k->e, sizeof k->e);
    cm_der_uint(d, k->n, k->len);
    cm_der_raw(d, (const uint8_t[]) { CM_DER_INTEGER, 1, 0 }, 3);
    cm_der_wrap(d, CM_DER_SEQUENCE, mark);
}

void cm_keyenc_pkcs8(struct cm_der *d, const struct cm_keypair *k)
{
    const size_t mark = cm_der_len(d);

    switch (k->alg->family) {
    case CM_KEYFAM_EC:
        put_ec_private(d, k, false);
        break;
    case CM_KEYFAM_RSA:
        put_rsa_private(d, k);
        break;
    case CM_KEYFAM_ED25519: /* RFC 8410 7: an OCTET STRING inside the OCTET STRING */
        cm_der_raw(d, k->priv, k->len);
        cm_der_header(d, CM_DER_OCTET_STRING, k->len);
        break;
    }
    cm_der_wrap(d, CM_DER_OCTET_STRING, mark);
    put_algid(d, k->alg);
    cm_der_raw(d, (const uint8_t[]) { CM_DER_INTEGER, 1, 0 }, 3);
    cm_der_wrap(d, CM_DER_SEQUENCE, mark);
}

void cm_keyenc_traditional(struct cm_der *d, const struct cm_keypair *k)
{
    CM_ASSERT(cm_keyenc_traditional_label(k->alg) != NULL);
    if (k->alg->family == CM_KEYFAM_EC)
        put_ec_private(d, k, true);
    else
        put_rsa_private(d, k);
}

const char *cm_keyenc_traditional_label(const struct cm_keyalg *alg)
{
    switch (alg->family) {
    case CM_KEYFAM_EC:
        return "EC PRIVATE KEY";
    case CM_KEYFAM_RSA:
        return "RSA PRIVATE KEY";
    case CM_KEYFAM_ED25519:
        break;
    }
    return NULL;
}

size_t cm_keyenc_spki_max(const struct cm_keyalg *alg)
{
    return alg->family == CM_KEYFAM_RSA ? alg->bits / 8 + 48 : 2 * (alg->bits / 8 + 1) + 40;
}

/* RSA: two numbers of the modulus' length, five of half of it, nine headers. */
size_t cm_keyenc_private_max(const struct cm_keyalg *alg)
{
    return alg->family == CM_KEYFAM_RSA ? alg->bits / 8 * 9 / 2 + 128 : 3 * (alg->bits / 8 + 1) + 64;
}
