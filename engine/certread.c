#include "engine/certread.h"
#include "engine/certext.h"
#include "engine/nameread.h"

enum { SERIAL_MAX = 20 };

static const struct cm_sigalg *find_sigalg(struct cm_span algid)
{
    for (size_t i = 0; i < cm_sigalg_count(); i++) {
        const struct cm_sigalg *alg = cm_sigalg_at(i);
        if (cm_span_eq(algid, cm_span(alg->algid, alg->algid_len)))
            return alg;
    }
    return NULL;
}

static cm_err read_version(struct cm_span *tbs, struct cm_error *err)
{
    struct cm_span in;

    if (!cm_derread_is(*tbs, CM_TAG_CONTEXT_IN(0)))
        CM_FAIL(err, CM_E_INPUT, "version: absent, which is v1; v3 belongs here");
    CM_TRY(cm_derread_take(tbs, CM_TAG_CONTEXT_IN(0), "version", &in, NULL, err));
    CM_TRY(cm_derread_version(&in, "version", 2, err));
    return cm_derread_end(in, "version", err);
}

/* RFC 5280 4.1.2.2. The 20 octets are the INTEGER's, a leading zero included. */
static cm_err read_serial(struct cm_span *tbs, struct cm_span *serial, struct cm_error *err)
{
    CM_TRY(cm_derread_uint(tbs, "serialNumber", serial, err));
    if (serial->len == 1 && serial->data[0] == 0)
        CM_FAIL(err, CM_E_INPUT, "serialNumber: zero");
    const size_t octets = serial->len + (serial->data[0] >= 0x80);
    if (octets > SERIAL_MAX)
        CM_FAIL(err, CM_E_INPUT, "serialNumber: %zu octets, more than %d", octets, SERIAL_MAX);
    return CM_OK;
}

static cm_err read_validity(struct cm_span *tbs, struct cm_certread *out, struct cm_error *err)
{
    struct cm_span in;

    CM_TRY(cm_derread_take(tbs, CM_TAG_SEQUENCE, "validity", &in, NULL, err));
    CM_TRY(cm_derread_time(&in, "notBefore", &out->not_before, err));
    CM_TRY(cm_derread_time(&in, "notAfter", &out->not_after, err));
    CM_TRY(cm_derread_end(in, "validity", err));
    if (out->not_before.at > out->not_after.at)
        CM_FAIL(err, CM_E_INPUT, "validity: notBefore %s is after notAfter %s", out->not_before.text,
                out->not_after.text);
    return CM_OK;
}

static cm_err read_extensions(struct cm_span *tbs, struct cm_certread *out, struct cm_error *err)
{
    struct cm_span in, exts;

    if (cm_derread_is(*tbs, CM_TAG_CONTEXT(1)) || cm_derread_is(*tbs, CM_TAG_CONTEXT(2)))
        CM_FAIL(err, CM_E_INPUT, "a unique identifier, which RFC 5280 4.1.2.8 forbids");
    if (tbs->len == 0)
        return CM_OK;
    CM_TRY(cm_derread_take(tbs, CM_TAG_CONTEXT_IN(3), "extensions", &in, NULL, err));
    CM_TRY(cm_derread_take(&in, CM_TAG_SEQUENCE, "extensions", &exts, NULL, err));
    CM_TRY(cm_derread_end(in, "extensions", err));
    return cm_certext(exts, out, err);
}

static cm_err read_tbs(struct cm_span in, struct cm_certread *out, struct cm_span *algid,
                       struct cm_error *err)
{
    CM_TRY(read_version(&in, err));
    CM_TRY(read_serial(&in, &out->serial, err));
    CM_TRY(cm_derread_take(&in, CM_TAG_SEQUENCE, "signature algorithm", NULL, algid, err));
    CM_TRY(cm_derread_take(&in, CM_TAG_SEQUENCE, "issuer", NULL, &out->issuer, err));
    if (cm_nameread_empty(out->issuer))
        CM_FAIL(err, CM_E_INPUT, "issuer: empty");
    CM_TRY(read_validity(&in, out, err));
    CM_TRY(cm_derread_take(&in, CM_TAG_SEQUENCE, "subject", NULL, &out->subject, err));
    CM_TRY(cm_nameread(out->subject, NULL, err));
    CM_TRY(cm_derread_take(&in, CM_TAG_SEQUENCE, "subjectPublicKeyInfo", NULL, &out->spki, err));
    CM_TRY(cm_keyread_spki(out->spki, &out->key, err));
    CM_TRY(read_extensions(&in, out, err));
    return cm_derread_end(in, "tbsCertificate", err);
}

/* What one field demands of another. */
static cm_err check_together(const struct cm_certread *c, struct cm_error *err)
{
    const unsigned enciphers = CM_KU_KEY_ENCIPHERMENT | CM_KU_DATA_ENCIPHERMENT;

    if (cm_nameread_empty(c->subject) && !(c->has_san && c->san_critical))
        CM_FAIL(err, CM_E_INPUT, "subject: empty without a critical subjectAltName (RFC 5280 4.1.2.6)");
    if (c->key.alg->family != CM_KEYFAM_RSA && (c->key_usage & enciphers) != 0)
        CM_FAIL(err, CM_E_INPUT, "keyUsage: encipherment with a key that can't (RFC 8813 3, RFC 8410 5)");
    return CM_OK;
}

cm_err cm_certread(struct cm_span der, struct cm_certread *out, struct cm_error *err)
{
    struct cm_span in, tbs, inner = { 0 }, outer = { 0 };

    *out = (struct cm_certread) { 0 };
    CM_TRY(cm_derread_take(&der, CM_TAG_SEQUENCE, "certificate", &in, NULL, err));
    CM_TRY(cm_derread_end(der, "certificate", err));
    CM_TRY(cm_derread_take(&in, CM_TAG_SEQUENCE, "tbsCertificate", &tbs, &out->tbs, err));
    CM_TRY(read_tbs(tbs, out, &inner, err));
    CM_TRY(cm_derread_take(&in, CM_TAG_SEQUENCE, "signatureAlgorithm", NULL, &outer, err));
    if (!cm_span_eq(inner, outer))
        CM_FAIL(err, CM_E_INPUT,
                "signatureAlgorithm: differs from the one that is signed (RFC 5280 4.1.1.2)");
    out->sigalg = find_sigalg(outer);
    if (out->sigalg == NULL)
        CM_FAIL(err, CM_E_INPUT, "signatureAlgorithm: none of the table");
    CM_TRY(cm_derread_octet_bits(&in, "signature", &out->signature, err));
    CM_TRY(cm_derread_end(in, "certificate", err));
    return check_together(out, err);
}
