#include "engine/tmpl_cert.h"

#include "engine/certext.h"
#include "engine/derread.h"
#include "engine/keyenc.h"
#include "engine/ossl.h"
#include "engine/tmpl_ext.h"

enum { SERIAL_LEN = 20 };

static void put_validity(const struct cm_certspec *spec, struct cm_tmpl *t)
{
    uint8_t buf[40];
    struct cm_writer w = cm_writer(buf, sizeof buf);

    cm_put_der_time(&w, spec->not_before);
    cm_put_der_time(&w, spec->not_after);
    cm_tmpl_open(t, CM_DER_SEQUENCE);
    cm_tmpl_literal(t, buf, w.len);
    cm_tmpl_close(t);
}

static cm_err build(const struct cm_certspec *spec, struct cm_tmpl *t, struct cm_error *err)
{
    /* [0] EXPLICIT version v3, which certificates with extensions must have. */
    static const uint8_t version[] = { 0xa0, 0x03, 0x02, 0x01, 0x02 };
    const struct cm_sigalg *sig = cm_ca_sigalg(spec->ca);
    const struct cm_span issuer = cm_ca_subject_der(spec->ca);

    cm_tmpl_open(t, CM_DER_SEQUENCE);
    cm_tmpl_literal(t, version, sizeof version);
    cm_tmpl_open(t, CM_DER_INTEGER);
    cm_tmpl_slot(t, CM_SLOT_SERIAL);
    cm_tmpl_close(t);
    cm_tmpl_literal(t, sig->algid, sig->algid_len);
    cm_tmpl_literal(t, issuer.data, issuer.len);
    put_validity(spec, t);
    cm_name_compile(spec->subject, t);
    cm_tmpl_slot(t, CM_SLOT_SPKI);
    CM_TRY(cm_tmpl_extensions(spec, t, err));
    cm_tmpl_close(t);
    return cm_tmpl_seal(t, err);
}

cm_err cm_tmpl_compile(const struct cm_certspec *spec, struct cm_tmpl **out, struct cm_error *err)
{
    struct cm_tmpl *t = NULL;
    cm_err rc = CM_OK;

    CM_TRY(cm_tmpl_new(&t, err));
    rc = build(spec, t, err);
    if (rc != CM_OK) {
        cm_tmpl_free(t);
        return rc;
    }
    *out = t;
    return CM_OK;
}

static cm_err sample(const struct cm_tmpl *t, const struct cm_certspec *spec, const struct cm_values *v,
                     X509 **out, struct cm_error *err)
{
    /* P-256's generator: a point on the curve, nobody's key. */
    static const uint8_t serial[SERIAL_LEN] = { 1 }, ski[20];
    const struct cm_keyalg *p256 = cm_keyalg_find("P-256");
    struct cm_keymaker *maker = NULL;
    struct cm_keypair pair;
    uint8_t buf[16384], spki[256], one[32] = { 0 };
    struct cm_der d = cm_der(buf, sizeof buf), k = cm_der(spki, sizeof spki);
    const struct cm_sigalg *sig = cm_ca_sigalg(spec->ca);
    const uint8_t *p = NULL;
    cm_err rc = CM_OK;

    one[31] = 1;
    CM_TRY(cm_keymaker_open(p256, CM_KEYGEN_OWN, &maker, err));
    rc = cm_keymaker_from_scalar(maker, one, sizeof one, &pair, err);
    cm_keymaker_close(maker);
    CM_TRY(rc);
    cm_keyenc_spki(&k, &pair);

    cm_der_raw(&d, (const uint8_t[]) { CM_DER_BIT_STRING, 2, 0, 0 }, 4);
    cm_der_raw(&d, sig->algid, sig->algid_len);
    const struct cm_tmpl_input in = { .values = v,
                                      .serial = cm_span(serial, sizeof serial),
                                      .spki = cm_der_span(&k),
                                      .ski = cm_span(ski, sizeof ski) };
    cm_tmpl_emit(t, &in, &d);
    cm_der_wrap(&d, CM_DER_SEQUENCE, 0);
    if (!cm_der_ok(&d))
        CM_FAIL(err, CM_E_LIMIT, "a certificate of this profile is larger than %zu octets", sizeof buf);
    p = cm_der_span(&d).data;
    *out = d2i_X509(NULL, &p, (long) cm_der_len(&d));
    if (*out == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "libcrypto can't read a certificate of this profile");
    return CM_OK;
}

/* The strict reader's word on the extensions, which libcrypto encoded as it was told to:
 * what `certmill verify` would find in every certificate is refused before there is one. */
static cm_err check_extensions(const X509 *leaf, const struct cm_certspec *spec, struct cm_error *err)
{
    uint8_t *der = NULL;
    const int len = i2d_X509_EXTENSIONS(X509_get0_extensions(leaf), &der);
    struct cm_certread read = { 0 };
    struct cm_error why = { 0 };
    cm_err rc = CM_OK;

    if (len <= 0)
        CM_FAIL(err, CM_E_CRYPTO, "the devices' extensions can't be encoded");
    struct cm_span in = cm_span(der, (size_t) len), list;
    rc = cm_derread_take(&in, CM_TAG_SEQUENCE, "extensions", &list, NULL, &why);
    if (rc == CM_OK)
        rc = cm_certext(list, &read, &why);
    OPENSSL_free(der);
    if (rc != CM_OK)
        CM_FAIL(err, CM_E_INPUT, "the devices' certificates would be refused: %s; mend the profile or --san",
                why.what);
    if (spec->key->family != CM_KEYFAM_RSA &&
        (read.key_usage & (CM_KU_KEY_ENCIPHERMENT | CM_KU_DATA_ENCIPHERMENT)) != 0)
        CM_FAIL(err, CM_E_INPUT,
                "profile %s gives %s keys a keyUsage of encipherment, which they can't do (RFC 8813 3, "
                "RFC 8410 5); put it into extensions_rsa's section",
                spec->profile->name, spec->key->name);
    return CM_OK;
}

cm_err cm_tmpl_check_under_ca(const struct cm_tmpl *t, const struct cm_certspec *spec,
                              const struct cm_values *v, struct cm_error *err)
{
    CM_AUTO(X509) leaf = NULL;

    CM_TRY(sample(t, spec, v, &leaf, err));
    CM_TRY(check_extensions(leaf, spec, err));
    return cm_ca_check_leaf(spec->ca, leaf, err);
}

cm_err cm_tmpl_put_san(const struct cm_tmpl *t, const struct cm_certspec *spec, const struct cm_values *v,
                       struct cm_writer *w, struct cm_error *err)
{
    CM_AUTO(X509) leaf = NULL;
    CM_AUTO(BIO) text = BIO_new(BIO_s_mem());
    char *at = NULL;

    CM_TRY(sample(t, spec, v, &leaf, err));
    const int index = X509_get_ext_by_NID(leaf, NID_subject_alt_name, -1);
    if (index < 0)
        return CM_OK;
    if (text == NULL || X509V3_EXT_print(text, X509_get_ext(leaf, index), 0, 0) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "libcrypto can't print the subject alternative names");
    const long len = BIO_get_mem_data(text, &at);
    cm_put(w, at, len > 0 ? (size_t) len : 0);
    return CM_OK;
}
