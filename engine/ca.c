#include "engine/ca.h"
#include "engine/ca_impl.h"
#include "engine/pem.h"

#include <openssl/err.h>
#include <openssl/pem.h>

static const char *instead_of_certificate(const char *label)
{
    if (strstr(label, "PRIVATE KEY") != NULL)
        return "holds a private key; keep the key in a file of its own and name the certificate here";
    if (strcmp(label, "PUBLIC KEY") == 0 || strcmp(label, "RSA PUBLIC KEY") == 0)
        return "holds a public key; the CA's certificate is needed";
    if (strstr(label, "CERTIFICATE REQUEST") != NULL)
        return "holds a certificate request (CSR); the certificate that was issued for it is needed";
    if (strcmp(label, "TRUSTED CERTIFICATE") == 0)
        return "holds an OpenSSL \"trusted\" certificate; convert it: openssl x509 -in FILE -out ca.pem";
    if (strcmp(label, "PKCS7") == 0 || strcmp(label, "CMS") == 0)
        return "holds a PKCS#7 bundle; convert it: openssl pkcs7 -print_certs -in FILE -out ca.pem";
    if (strcmp(label, "X509 CRL") == 0)
        return "holds a revocation list; the CA's certificate is needed";
    return "holds something that is not a certificate";
}

static cm_err fail_no_certificate(const struct cm_ca_conf *conf, struct cm_error *err)
{
    const char *kind = cm_signer_name_format(conf->cert_pem);

    if (kind != NULL)
        CM_FAIL(err, CM_E_INPUT, "CA certificate %s is %s", conf->cert_name, kind);
    CM_FAIL(err, CM_E_INPUT, "CA certificate %s holds no certificate (no \"-----BEGIN CERTIFICATE-----\")",
            conf->cert_name);
}

/* ASN1_TIME to our own time; libcrypto has checked its form when it says 1. */
static cm_err when_of(const ASN1_TIME *t, cm_when *out, struct cm_error *err)
{
    struct tm tm;

    if (ASN1_TIME_to_tm(t, &tm) != 1)
        CM_FAIL(err, CM_E_INPUT, "a time that is none");
    return cm_when_make(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, out,
                        err);
}

static char *name_text(X509_NAME *name)
{
    CM_AUTO(BIO) out = BIO_new(BIO_s_mem());
    char *text = NULL;
    char *copy = NULL;
    long len = 0;

    if (out == NULL || X509_NAME_print_ex(out, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) < 0)
        return NULL;
    len = BIO_get_mem_data(out, &text);
    copy = len >= 0 ? calloc(1, (size_t) len + 1) : NULL;
    if (copy != NULL && len > 0)
        memcpy(copy, text, (size_t) len);
    return copy;
}

/* Takes x into the chain (frees it on failure too: ca owns it from the start). */
static cm_err add_link(struct cm_ca *ca, X509 *x, struct cm_error *err)
{
    struct cm_ca_link *link = &ca->link[ca->count++];
    int critical = 0;

    link->x509 = x;
    link->subject = name_text(X509_get_subject_name(x));
    if (link->subject == NULL)
        CM_FAIL(err, CM_E_NOMEM, "CA certificate %s: out of memory", ca->cert_name);
    if (when_of(X509_get0_notBefore(x), &link->not_before, err) != CM_OK ||
        when_of(X509_get0_notAfter(x), &link->not_after, err) != CM_OK)
        CM_FAIL(err, CM_E_INPUT, "CA certificate %s, certificate %zu (%.120s): its validity can't be read",
                ca->cert_name, ca->count, link->subject);
    /* -1: there is none; anything else: there is one, and it can't be used. */
    link->names = X509_get_ext_d2i(x, NID_name_constraints, &critical, NULL);
    if (link->names == NULL && critical != -1)
        CM_FAIL(err, CM_E_INPUT,
                "CA certificate %s, certificate %zu (%.120s): its name constraints can't be read",
                ca->cert_name, ca->count, link->subject);
    link->usage = X509_get_ext_d2i(x, NID_ext_key_usage, &critical, NULL);
    if (link->usage == NULL && critical != -1)
        CM_FAIL(err, CM_E_INPUT, "CA certificate %s, certificate %zu (%.120s): its key usages can't be read",
                ca->cert_name, ca->count, link->subject);
    return CM_OK;
}

/* One PEM block's contents, which must be exactly one certificate in DER. */
static cm_err add_der(struct cm_ca *ca, const uint8_t *der, long len, struct cm_error *err)
{
    const uint8_t *in = der;
    uint8_t *again = NULL;
    X509 *x = NULL;
    bool same = false;

    if (ca->count == CM_CA_CHAIN_MAX)
        CM_FAIL(err, CM_E_INPUT,
                "CA certificate %s holds more than %d certificates; name the CA's and its chain only",
                ca->cert_name, CM_CA_CHAIN_MAX);
    x = d2i_X509(NULL, &in, len);
    if (x != NULL) {
        const int again_len = i2d_X509(x, &again);
        same = again_len == len && memcmp(again, der, (size_t) len) == 0;
        OPENSSL_free(again);
    }
    if (!same) {
        X509_free(x);
        CM_FAIL(err, CM_E_INPUT,
                "CA certificate %s, certificate %zu is damaged: it is not one certificate in DER",
                ca->cert_name, ca->count + 1);
    }
    return add_link(ca, x, err);
}

static cm_err read_chain(struct cm_ca *ca, const struct cm_ca_conf *conf, struct cm_error *err)
{
    CM_AUTO(BIO) in = BIO_new_mem_buf(conf->cert_pem.data, (int) conf->cert_pem.len);
    cm_err rc = CM_OK;

    if (in == NULL)
        CM_FAIL(err, CM_E_NOMEM, "CA certificate %s: out of memory", conf->cert_name);
    while (rc == CM_OK) {
        char *label = NULL, *header = NULL;
        uint8_t *der = NULL;
        long len = 0;
        if (PEM_read_bio(in, &label, &header, &der, &len) != 1)
            break;
        if (strcmp(label, "CERTIFICATE") == 0 || strcmp(label, "X509 CERTIFICATE") == 0)
            rc = add_der(ca, der, len, err);
        else
            rc = cm_fail(err, CM_E_INPUT, CM_HERE, "CA certificate %s %s", conf->cert_name,
                         instead_of_certificate(label));
        OPENSSL_free(label);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, (size_t) len);
    }
    CM_TRY(rc);
    /* The end of the text is "no start line"; anything else is a broken block. */
    if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE)
        CM_FAIL(err, CM_E_INPUT, "CA certificate %s, certificate %zu is damaged PEM text", conf->cert_name,
                ca->count + 1);
    ERR_clear_error();
    return ca->count > 0 ? CM_OK : fail_no_certificate(conf, err);
}

/* The whole chain, as PEM and as DER. */
static cm_err render_chain(struct cm_ca *ca, struct cm_error *err)
{
    size_t pem_len = 0, der_len = 0;

    for (size_t i = 0; i < ca->count; i++) {
        const int n = i2d_X509(ca->link[i].x509, NULL);
        if (n <= 0)
            CM_FAIL(err, CM_E_CRYPTO, "CA certificate %s can't be encoded", ca->cert_name);
        der_len += (size_t) n;
        pem_len += cm_pem_len("CERTIFICATE", (size_t) n);
    }
    ca->chain_der = malloc(der_len);
    ca->chain_pem = malloc(pem_len);
    if (ca->chain_der == NULL || ca->chain_pem == NULL)
        CM_FAIL(err, CM_E_NOMEM, "CA certificate %s: out of memory", ca->cert_name);

    struct cm_writer pem = cm_writer(ca->chain_pem, pem_len);
    uint8_t *end = ca->chain_der;
    for (size_t i = 0; i < ca->count; i++) {
        uint8_t *start = end;
        if (i2d_X509(ca->link[i].x509, &end) <= 0)
            CM_FAIL(err, CM_E_CRYPTO, "CA certificate %s can't be encoded", ca->cert_name);
        cm_put_pem(&pem, "CERTIFICATE", start, (size_t) (end - start));
    }
    CM_ASSERT((size_t) (end - ca->chain_der) == der_len && cm_writer_ok(&pem) && pem.len == pem_len);
    ca->chain_der_len = der_len;
    ca->chain_pem_len = pem_len;
    return CM_OK;
}

static cm_err render_ids(struct cm_ca *ca, struct cm_error *err)
{
    X509 *x = ca->link[0].x509;
    const ASN1_OCTET_STRING *ski = X509_get0_subject_key_id(x);
    const uint8_t *name = NULL;
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;
    size_t name_len = 0;

    if (X509_digest(x, EVP_sha256(), digest, &len) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "CA certificate %s: no SHA-256 of it", ca->cert_name);
    struct cm_writer w = cm_writer(ca->certificate_id, sizeof ca->certificate_id);
    cm_put_hex(&w, digest, len);

    ca->has_ski = ski != NULL && ASN1_STRING_length(ski) > 0;
    if (ca->has_ski && ASN1_STRING_length(ski) > (int) sizeof ca->key_id)
        CM_FAIL(err, CM_E_INPUT, "CA certificate %s: its subject key identifier is longer than %zu octets",
                ca->cert_name, sizeof ca->key_id);
    if (!ca->has_ski && X509_pubkey_digest(x, EVP_sha1(), digest, &len) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "CA certificate %s: no SHA-1 of its key", ca->cert_name);
    ca->key_id_len = ca->has_ski ? (size_t) ASN1_STRING_length(ski) : len;
    memcpy(ca->key_id, ca->has_ski ? ASN1_STRING_get0_data(ski) : digest, ca->key_id_len);

    if (X509_NAME_get0_der(X509_get_subject_name(x), &name, &name_len) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "CA certificate %s: its subject can't be encoded", ca->cert_name);
    ca->subject_der = malloc(name_len);
    if (ca->subject_der == NULL)
        CM_FAIL(err, CM_E_NOMEM, "CA certificate %s: out of memory", ca->cert_name);
    memcpy(ca->subject_der, name, name_len);
    ca->subject_der_len = name_len;
    return CM_OK;
}

static cm_err fill(struct cm_ca *ca, const struct cm_ca_conf *conf, struct cm_error *err)
{
    ca->cert_name = strdup(conf->cert_name);
    ca->key_name = strdup(conf->key_name);
    if (ca->cert_name == NULL || ca->key_name == NULL)
        CM_FAIL(err, CM_E_NOMEM, "CA certificate %s: out of memory", conf->cert_name);
    CM_TRY(read_chain(ca, conf, err));
    CM_TRY(cm_signer_read_key(conf, &ca->key, err));
    CM_TRY(cm_sigalg_for_key(ca->key, conf->signature, &ca->sigalg, err));
    CM_TRY(render_chain(ca, err));
    return render_ids(ca, err);
}

cm_err cm_ca_open(const struct cm_ca_conf *conf, struct cm_ca **out, struct cm_error *err)
{
    struct cm_ca *ca = NULL;
    cm_err rc = CM_OK;

    if (conf->cert_pem.len > INT32_MAX || conf->key_pem.len > INT32_MAX)
        CM_FAIL(err, CM_E_LIMIT, "the CA's certificate and key are too large");
    ca = calloc(1, sizeof *ca);
    if (ca == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the CA");
    rc = fill(ca, conf, err);
    if (rc != CM_OK) {
        cm_ca_close(ca);
        return rc;
    }
    *out = ca;
    return CM_OK;
}

void cm_ca_close(struct cm_ca *ca)
{
    if (ca == NULL)
        return;
    for (size_t i = 0; i < ca->count; i++) {
        X509_free(ca->link[i].x509);
        NAME_CONSTRAINTS_free(ca->link[i].names);
        EXTENDED_KEY_USAGE_free(ca->link[i].usage);
        free(ca->link[i].subject);
    }
    EVP_PKEY_free(ca->key);
    free(ca->cert_name);
    free(ca->key_name);
    free(ca->subject_der);
    free(ca->chain_pem);
    free(ca->chain_der);
    free(ca);
}

struct cm_span cm_ca_subject_der(const struct cm_ca *ca)
{
    return cm_span(ca->subject_der, ca->subject_der_len);
}

struct cm_span cm_ca_key_id(const struct cm_ca *ca)
{
    return cm_span(ca->key_id, ca->key_id_len);
}

bool cm_ca_has_ski(const struct cm_ca *ca)
{
    return ca->has_ski;
}

struct cm_span cm_ca_chain_pem(const struct cm_ca *ca)
{
    return cm_span(ca->chain_pem, ca->chain_pem_len);
}

struct cm_span cm_ca_chain_der(const struct cm_ca *ca)
{
    return cm_span(ca->chain_der, ca->chain_der_len);
}

const char *cm_ca_certificate_id(const struct cm_ca *ca)
{
    return ca->certificate_id;
}

const char *cm_ca_subject_text(const struct cm_ca *ca)
{
    return ca->link[0].subject;
}

cm_when cm_ca_not_before(const struct cm_ca *ca)
{
    cm_when latest = ca->link[0].not_before;

    for (size_t i = 1; i < ca->count; i++)
        if (ca->link[i].not_before > latest)
            latest = ca->link[i].not_before;
    return latest;
}

cm_when cm_ca_not_after(const struct cm_ca *ca)
{
    cm_when earliest = ca->link[0].not_after;

    for (size_t i = 1; i < ca->count; i++)
        if (ca->link[i].not_after < earliest)
            earliest = ca->link[i].not_after;
    return earliest;
}

const struct cm_sigalg *cm_ca_sigalg(const struct cm_ca *ca)
{
    return ca->sigalg;
}

X509 *cm_ca_x509(const struct cm_ca *ca)
{
    return ca->link[0].x509;
}

size_t cm_ca_chain_count(const struct cm_ca *ca)
{
    return ca->count;
}

const char *cm_ca_key_type(const struct cm_ca *ca)
{
    return cm_sigalg_key_name(ca->key);
}
