#include "aws/rules.h"

#include "engine/derread.h"
#include "engine/ossl.h"
#include "engine/pem.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/pem.h>

/* facts.c - the facts that rules.c judges, out of a certificate. */

/* Bits of the modulus of an RSAPublicKey; 0: it is none. */
static unsigned modulus_bits(struct cm_span key)
{
    struct cm_span in, n;

    if (cm_derread_take(&key, CM_TAG_SEQUENCE, "RSAPublicKey", &in, NULL, NULL) != CM_OK ||
        cm_derread_uint(&in, "modulus", &n, NULL) != CM_OK || n.data[0] == 0)
        return 0;
    return (unsigned) n.len * 8 - (unsigned) (__builtin_clz(n.data[0]) - 24);
}

static const char *curve_name(const X509_ALGOR *alg)
{
    const void *value = NULL;
    int type = V_ASN1_UNDEF;

    X509_ALGOR_get0(NULL, &type, &value, alg);
    if (type != V_ASN1_OBJECT)
        return "an EC key that spells out its curve";
    const int nid = OBJ_obj2nid(value);
    const char *const nist = EC_curve_nid2nist(nid);
    return nist != NULL ? nist : OBJ_nid2sn(nid);
}

/* By its algorithm, parameters and length, as they stand there: libcrypto's keys also fail to come about when
 * memory runs out, and don't say so. */
static void read_key(X509 *x, struct cm_aws_cert *out)
{
    ASN1_OBJECT *kind = NULL;
    const uint8_t *key = NULL;
    X509_ALGOR *alg = NULL;
    int len = 0;

    (void) X509_PUBKEY_get0_param(&kind, &key, &len, &alg, X509_get_X509_PUBKEY(x));
    switch (OBJ_obj2nid(kind)) {
    case NID_rsaEncryption:
    case NID_rsassaPss:
        out->rsa_bits = modulus_bits(cm_span(key, (size_t) len));
        (void) snprintf(out->key, sizeof out->key, "RSA-%u", out->rsa_bits);
        break;
    case NID_X9_62_id_ecPublicKey:
        (void) snprintf(out->key, sizeof out->key, "%s", curve_name(alg));
        break;
    case NID_ED25519:
        (void) snprintf(out->key, sizeof out->key, "Ed25519");
        break;
    default:
        (void) OBJ_obj2txt(out->key, sizeof out->key, kind, 0);
        break;
    }
}

static void read_signature(X509 *x, struct cm_aws_cert *out)
{
    const int nid = X509_get_signature_nid(x);
    int md = NID_undef, pk = NID_undef;

    (void) X509_get_signature_info(x, &md, &pk, NULL, NULL);
    if (nid == NID_rsassaPss)
        (void) snprintf(out->signature, sizeof out->signature, "RSASSA-PSS-%s", OBJ_nid2sn(md));
    else
        (void) snprintf(out->signature, sizeof out->signature, "%s", OBJ_nid2ln(nid));
}

static cm_err read_constraints(X509 *x, struct cm_aws_cert *out, struct cm_error *err)
{
    int critical = 0;
    BASIC_CONSTRAINTS *const basic = X509_get_ext_d2i(x, NID_basic_constraints, &critical, NULL);

    if (basic == NULL && critical != -1) /* -1: there are none */
        CM_FAIL(err, CM_E_INPUT, "its basicConstraints can't be read");
    out->is_ca = basic != NULL && basic->ca != 0;
    BASIC_CONSTRAINTS_free(basic);
    return CM_OK;
}

static cm_err read_time(const ASN1_TIME *t, cm_when *out, struct cm_error *err)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(t, &tm) != 1)
        CM_FAIL(err, CM_E_INPUT, "its validity can't be read");
    return cm_when_make(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, out,
                        err);
}

void cm_aws_common_name(struct cm_span name, char *out, size_t out_len)
{
    static const uint8_t common_name[] = { 0x55, 0x04, 0x03 };
    struct cm_span rdns, rdn, attribute, oid, value;
    uint8_t tag = 0;

    if (cm_derread_take(&name, CM_TAG_SEQUENCE, "subject", &rdns, NULL, NULL) != CM_OK)
        return;
    while (rdns.len > 0 && cm_derread_take(&rdns, CM_TAG_SET, "RDN", &rdn, NULL, NULL) == CM_OK)
        while (rdn.len > 0 &&
               cm_derread_take(&rdn, CM_TAG_SEQUENCE, "attribute", &attribute, NULL, NULL) == CM_OK) {
            if (cm_derread_oid(&attribute, "type", &oid, NULL) != CM_OK ||
                !cm_span_eq(oid, cm_span(common_name, sizeof common_name)) ||
                cm_derread_any(&attribute, "value", &tag, &value, NULL, NULL) != CM_OK)
                continue;
            (void) snprintf(out, out_len, "%.*s%s", (int) value.len, (const char *) value.data,
                            memchr(value.data, 0, value.len) != NULL ? "\\0" : "");
        }
}

/* The subject is x's. */
static cm_err read_all(X509 *x, size_t der_len, enum cm_aws_role role, struct cm_aws_cert *out,
                       struct cm_span *subject, struct cm_error *err)
{
    const uint8_t *name = NULL;
    size_t name_len = 0;

    *out =
        (struct cm_aws_cert) { .role = role, .dated = true, .pem_len = cm_pem_len("CERTIFICATE", der_len) };
    read_key(x, out);
    read_signature(x, out);
    if (X509_NAME_get0_der(X509_get_subject_name(x), &name, &name_len) == 1)
        cm_aws_common_name(cm_span(name, name_len), out->common_name, sizeof out->common_name);
    *subject = cm_span(name, name_len);
    CM_TRY(read_constraints(x, out, err));
    CM_TRY(read_time(X509_get0_notBefore(x), &out->not_before, err));
    CM_TRY(read_time(X509_get0_notAfter(x), &out->not_after, err));
    ERR_clear_error();
    return CM_OK;
}

static cm_err parse(struct cm_span der, X509 **out, struct cm_error *err)
{
    const uint8_t *in = der.data;

    *out = der.len <= INT32_MAX ? d2i_X509(NULL, &in, (long) der.len) : NULL;
    if (*out != NULL && in == der.data + der.len)
        return CM_OK;
    X509_free(*out);
    *out = NULL;
    CM_FAIL(err, CM_E_INPUT, "it is not exactly one certificate in DER");
}

cm_err cm_aws_cert_der(struct cm_span der, enum cm_aws_role role, struct cm_aws_cert *out,
                       struct cm_error *err)
{
    CM_AUTO(X509) x = NULL;
    struct cm_span subject;

    CM_TRY(parse(der, &x, err));
    return read_all(x, der.len, role, out, &subject, err);
}

/* The first certificate's DER; *out is OPENSSL_free's. */
static cm_err first_der(struct cm_span pem, uint8_t **out, size_t *out_len, struct cm_error *err)
{
    CM_AUTO(BIO) in = pem.len <= INT32_MAX ? BIO_new_mem_buf(pem.data, (int) pem.len) : NULL;
    char *label = NULL, *header = NULL;
    long len = 0;

    *out = NULL;
    while (in != NULL && PEM_read_bio(in, &label, &header, out, &len) == 1) {
        const bool found = strcmp(label, PEM_STRING_X509) == 0 || strcmp(label, PEM_STRING_X509_OLD) == 0;
        OPENSSL_free(label);
        OPENSSL_free(header);
        *out_len = (size_t) len;
        if (found)
            return CM_OK;
        OPENSSL_clear_free(*out, (size_t) len); /* a private key, perhaps */
        *out = NULL;
    }
    CM_FAIL(err, CM_E_INPUT, "it holds no certificate (no \"-----BEGIN CERTIFICATE-----\")");
}

static cm_err read_first(struct cm_span der, enum cm_aws_role role, struct cm_aws_cert *out,
                         uint8_t certificate_id[32], uint8_t subject[32], struct cm_error *err)
{
    CM_AUTO(X509) x = NULL;
    struct cm_span name;

    CM_TRY(parse(der, &x, err));
    CM_TRY(read_all(x, der.len, role, out, &name, err));
    if (name.data == NULL || EVP_Digest(name.data, name.len, subject, NULL, EVP_sha256(), NULL) != 1 ||
        EVP_Digest(der.data, der.len, certificate_id, NULL, EVP_sha256(), NULL) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "no SHA-256 of a certificate");
    return CM_OK;
}

cm_err cm_aws_cert_pem(struct cm_span pem, enum cm_aws_role role, struct cm_aws_cert *out,
                       uint8_t certificate_id[32], uint8_t subject[32], struct cm_error *err)
{
    uint8_t *der = NULL;
    size_t len = 0;

    CM_TRY(first_der(pem, &der, &len, err));
    const cm_err rc = read_first(cm_span(der, len), role, out, certificate_id, subject, err);
    OPENSSL_free(der);
    return rc;
}

static cm_err put_subject(struct cm_span der, char *subject, size_t subject_len, struct cm_error *err)
{
    CM_AUTO(X509) x = NULL;
    CM_AUTO(BIO) out = BIO_new(BIO_s_mem());
    char *text = NULL;

    CM_TRY(parse(der, &x, err));
    if (out == NULL ||
        X509_NAME_print_ex(out, X509_get_subject_name(x), 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) < 0)
        CM_FAIL(err, CM_E_CRYPTO, "the subject has no text");
    const long len = BIO_get_mem_data(out, &text);
    (void) snprintf(subject, subject_len, "%.*s", (int) len, text);
    return CM_OK;
}

cm_err cm_aws_cert_text(struct cm_span pem, struct cm_writer *out, char *subject, size_t subject_len,
                        struct cm_error *err)
{
    uint8_t *der = NULL;
    size_t len = 0;

    CM_TRY(first_der(pem, &der, &len, err));
    cm_put_pem(out, "CERTIFICATE", der, len);
    cm_err rc = cm_writer_ok(out) ? CM_OK : cm_fail(err, CM_E_NOSPACE, CM_HERE, "no room for a certificate");
    if (rc == CM_OK)
        rc = put_subject(cm_span(der, len), subject, subject_len, err);
    OPENSSL_free(der);
    return rc;
}

void cm_aws_cert_read(const struct cm_certread *read, size_t der_len, struct cm_aws_cert *out)
{
    *out =
        (struct cm_aws_cert) { .role = CM_AWS_DEVICE,
                               .rsa_bits = read->key.alg->family == CM_KEYFAM_RSA ? read->key.alg->bits : 0,
                               .dated = true,
                               .not_before = read->not_before.at,
                               .not_after = read->not_after.at,
                               .pem_len = cm_pem_len("CERTIFICATE", der_len) };
    (void) snprintf(out->key, sizeof out->key, "%s", read->key.alg->name);
    (void) snprintf(out->signature, sizeof out->signature, "%s", read->sigalg->name);
    cm_aws_common_name(read->subject, out->common_name, sizeof out->common_name);
}
