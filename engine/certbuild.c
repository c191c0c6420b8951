#include "engine/certbuild_impl.h"

#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>

cm_err cm_certbuild_serial(X509 *x, struct cm_error *err)
{
    uint8_t serial[20];
    CM_AUTO(BIGNUM) bn = NULL;

    do { /* first octet 01-7f: always 20 octets, always positive */
        if (RAND_bytes(serial, sizeof serial) != 1)
            CM_FAIL(err, CM_E_CRYPTO, "no random numbers");
        serial[0] &= 0x7f;
    } while (serial[0] == 0);
    bn = BN_bin2bn(serial, sizeof serial, NULL);
    if (bn == NULL || BN_to_ASN1_INTEGER(bn, X509_get_serialNumber(x)) == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "can't set the serial number");
    return CM_OK;
}

cm_err cm_certbuild_time(ASN1_TIME *field, cm_when t, struct cm_error *err)
{
    char text[24] = "";
    uint8_t der[24];
    struct cm_writer w = cm_writer(der, sizeof der);

    /* The text after tag and length: a UTCTime through 2049, then a
     * GeneralizedTime, which is what libcrypto makes of the two lengths. */
    cm_put_der_time(&w, t);
    CM_ASSERT(cm_writer_ok(&w) && w.len > 2 && w.len - 2 < sizeof text);
    memcpy(text, der + 2, w.len - 2);
    if (ASN1_TIME_set_string_X509(field, text) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't set the time %s", text);
    return CM_OK;
}

/* libcrypto's own encoding of an extension's value (`critical`: the flag). */
cm_err cm_certbuild_extension(X509 *x, int nid, void *value, bool critical, struct cm_error *err)
{
    if (value == NULL || X509_add1_ext_i2d(x, nid, value, critical ? 1 : 0, X509V3_ADD_DEFAULT) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't add the extension %s", OBJ_nid2sn(nid));
    return CM_OK;
}

cm_err cm_certbuild_constraints(X509 *x, bool is_ca, int pathlen, struct cm_error *err)
{
    BASIC_CONSTRAINTS *bc = BASIC_CONSTRAINTS_new();
    cm_err rc = CM_OK;

    if (bc != NULL && is_ca)
        bc->ca = 0xff;
    if (bc != NULL && pathlen >= 0) {
        bc->pathlen = ASN1_INTEGER_new();
        if (bc->pathlen == NULL || ASN1_INTEGER_set(bc->pathlen, pathlen) != 1)
            rc = cm_fail(err, CM_E_CRYPTO, CM_HERE, "can't set the path length");
    }
    if (rc == CM_OK)
        rc = cm_certbuild_extension(x, NID_basic_constraints, bc, true, err);
    BASIC_CONSTRAINTS_free(bc);
    return rc;
}

cm_err cm_certbuild_usage(X509 *x, unsigned bits, struct cm_error *err)
{
    ASN1_BIT_STRING *ku = ASN1_BIT_STRING_new();
    cm_err rc = ku != NULL ? CM_OK : cm_fail(err, CM_E_CRYPTO, CM_HERE, "can't set the key usage");

    for (int bit = 0; rc == CM_OK && bit < 9; bit++)
        if ((bits >> bit & 1) != 0 && ASN1_BIT_STRING_set_bit(ku, bit, 1) != 1)
            rc = cm_fail(err, CM_E_CRYPTO, CM_HERE, "can't set the key usage");
    if (rc == CM_OK)
        rc = cm_certbuild_extension(x, NID_key_usage, ku, true, err);
    ASN1_BIT_STRING_free(ku);
    return rc;
}

cm_err cm_certbuild_key_ids(X509 *x, const struct cm_ca *issuer, struct cm_error *err)
{
    ASN1_OCTET_STRING *own = ASN1_OCTET_STRING_new();
    AUTHORITY_KEYID *aki = AUTHORITY_KEYID_new();
    uint8_t sha1[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    cm_err rc = CM_OK;

    if (own == NULL || aki == NULL || (aki->keyid = ASN1_OCTET_STRING_new()) == NULL ||
        X509_pubkey_digest(x, EVP_sha1(), sha1, &len) != 1 ||
        ASN1_OCTET_STRING_set(own, sha1, (int) len) != 1) {
        rc = cm_fail(err, CM_E_CRYPTO, CM_HERE, "can't make the key identifiers");
    } else {
        const struct cm_span id = issuer != NULL ? cm_ca_key_id(issuer) : cm_span(sha1, len);
        if (ASN1_OCTET_STRING_set(aki->keyid, id.data, (int) id.len) != 1)
            rc = cm_fail(err, CM_E_CRYPTO, CM_HERE, "can't make the key identifiers");
    }
    if (rc == CM_OK)
        rc = cm_certbuild_extension(x, NID_subject_key_identifier, own, false, err);
    if (rc == CM_OK)
        rc = cm_certbuild_extension(x, NID_authority_key_identifier, aki, false, err);
    AUTHORITY_KEYID_free(aki);
    ASN1_OCTET_STRING_free(own);
    return rc;
}

cm_err cm_certbuild_sign(X509 *x, EVP_PKEY *key, const struct cm_sigalg *alg, struct cm_error *err)
{
    CM_AUTO(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL; /* ctx's */

    if (ctx == NULL || EVP_DigestSignInit_ex(ctx, &pctx, alg->digest, NULL, NULL, key, NULL) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: can't start signing", alg->name);
    if (alg->padding != 0 && EVP_PKEY_CTX_set_rsa_padding(pctx, alg->padding) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: padding refused", alg->name);
    if (alg->padding == RSA_PKCS1_PSS_PADDING &&
        EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: salt length refused", alg->name);
    if (X509_sign_ctx(x, ctx) <= 0)
        CM_FAIL(err, CM_E_CRYPTO, "signing the certificate failed");
    return CM_OK;
}

/* A memory BIO's contents, to the end of w. */
cm_err cm_certbuild_drain(BIO *from, struct cm_writer *w, struct cm_error *err)
{
    char *text = NULL;
    const long len = BIO_get_mem_data(from, &text);

    cm_put(w, text, len > 0 ? (size_t) len : 0);
    if (!cm_writer_ok(w))
        CM_FAIL(err, CM_E_NOSPACE, "no room for %ld octets", len);
    return CM_OK;
}
