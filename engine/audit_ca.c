#include "engine/audit_ca.h"
#include "engine/ossl.h"
#include "engine/pemread.h"

enum { PEM_MAX = 1 << 20 };

static X509 *parse_whole(struct cm_span der)
{
    const unsigned char *at = der.data;
    CM_AUTO(X509) x509 = d2i_X509(NULL, &at, (long) der.len);

    return x509 != NULL && at == der.data + der.len ? CM_STEAL(x509) : NULL;
}

/* The PEM blocks, decoded one after the other behind the copy of the text. */
static cm_err decode_chain(struct cm_audit_ca *ca, uint8_t *out, size_t cap, struct cm_error *err)
{
    struct cm_span text = ca->pem;
    struct cm_error cause = { 0 };
    size_t used = 0;

    for (; text.len > 0; ca->count++) {
        size_t len = 0;
        if (ca->count == CM_AUDIT_CA_MAX)
            CM_FAIL(err, CM_E_INPUT, "ca.pem: more than %d certificates", CM_AUDIT_CA_MAX);
        if (cm_pemread_next(&text, "CERTIFICATE", out + used, cap - used, &len, &cause) != CM_OK)
            CM_FAIL(err, CM_E_INPUT, "ca.pem: certificate %zu: %s", ca->count + 1, cause.what);
        ca->cert[ca->count] = cm_span(out + used, len);
        used += len;
    }
    if (ca->count == 0)
        CM_FAIL(err, CM_E_INPUT, "ca.pem: empty");
    ca->der = cm_span(out, used);
    return CM_OK;
}

static cm_err read_time(const ASN1_TIME *time, cm_when *out, struct cm_error *err)
{
    struct tm tm = { 0 };

    if (ASN1_TIME_to_tm(time, &tm) != 1 || cm_when_make(tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                                                        tm.tm_hour, tm.tm_min, tm.tm_sec, out, NULL) != CM_OK)
        CM_FAIL(err, CM_E_INPUT, "ca.pem: certificate 1: its validity can't be read");
    return CM_OK;
}

static struct cm_span name_der(const X509_NAME *name)
{
    const unsigned char *der = NULL;
    size_t len = 0;

    return X509_NAME_get0_der(name, &der, &len) == 1 ? cm_span(der, len) : cm_span(NULL, 0);
}

static struct cm_span string_view(const ASN1_STRING *s)
{
    return s != NULL ? cm_span(ASN1_STRING_get0_data(s), (size_t) ASN1_STRING_length(s)) : cm_span(NULL, 0);
}

static cm_err read_facts(struct cm_audit_ca *ca, struct cm_error *err)
{
    ca->subject = name_der(X509_get_subject_name(ca->x509));
    ca->issuer = name_der(X509_get_issuer_name(ca->x509));
    ca->serial = string_view(X509_get0_serialNumber(ca->x509));
    ca->ski = string_view(X509_get0_subject_key_id(ca->x509));
    if (ca->subject.len == 0 || X509_get0_pubkey(ca->x509) == NULL)
        CM_FAIL(err, CM_E_INPUT, "ca.pem: certificate 1: no subject, or no key that libcrypto knows");
    CM_TRY(read_time(X509_get0_notBefore(ca->x509), &ca->not_before, err));
    return read_time(X509_get0_notAfter(ca->x509), &ca->not_after, err);
}

static cm_err check_link(X509 *subject, X509 *issuer, size_t number, struct cm_error *err)
{
    EVP_PKEY *key = X509_get0_pubkey(issuer);

    if (X509_check_issued(issuer, subject) != X509_V_OK || key == NULL || X509_verify(subject, key) != 1)
        CM_FAIL(err, CM_E_INPUT, "ca.pem: certificate %zu wasn't issued by certificate %zu", number,
                number + 1);
    return CM_OK;
}

static cm_err check_chain(struct cm_audit_ca *ca, struct cm_error *err)
{
    X509 *below = NULL; /* borrowed: `kept` or ca->x509 owns it */
    CM_AUTO(X509) kept = NULL;

    for (size_t i = 0; i < ca->count; i++) {
        CM_AUTO(X509) x509 = parse_whole(ca->cert[i]);
        if (x509 == NULL)
            CM_FAIL(err, CM_E_INPUT, "ca.pem: certificate %zu isn't one", i + 1);
        if (X509_check_ca(x509) != 1) /* 1: basicConstraints say so; other values only guess */
            CM_FAIL(err, CM_E_INPUT, "ca.pem: certificate %zu isn't a CA's", i + 1);
        if (i > 0)
            CM_TRY(check_link(below, x509, i, err));
        X509_free(kept);
        kept = NULL;
        below = x509;
        *(i == 0 ? &ca->x509 : &kept) = CM_STEAL(x509);
    }
    return CM_OK;
}

cm_err cm_audit_ca_init(struct cm_audit_ca *ca, struct cm_span pem, struct cm_error *err)
{
    *ca = (struct cm_audit_ca) { 0 };
    if (pem.len == 0 || pem.len > PEM_MAX)
        CM_FAIL(err, CM_E_INPUT, "ca.pem: %zu octets, where 1 to %d are expected", pem.len, PEM_MAX);
    ca->store = malloc(2 * pem.len); /* the text, then its content, which is shorter */
    if (ca->store == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for ca.pem");
    memcpy(ca->store, pem.data, pem.len);
    ca->pem = cm_span(ca->store, pem.len);
    CM_TRY(decode_chain(ca, ca->store + pem.len, pem.len, err));
    CM_TRY(check_chain(ca, err));
    return read_facts(ca, err);
}

void cm_audit_ca_done(struct cm_audit_ca *ca)
{
    X509_free(ca->x509);
    free(ca->store);
    *ca = (struct cm_audit_ca) { 0 };
}
