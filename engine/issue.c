#include "engine/issue.h"

#include "engine/ca_impl.h"
#include "engine/certbuild_impl.h"
#include "engine/certread.h"

#include <openssl/pem.h>

static cm_err set_identity(X509 *x, const struct cm_issue_conf *conf, struct cm_error *err)
{
    const uint8_t *in = conf->subject.data, *spki = conf->spki.data;
    CM_AUTO(X509_NAME) subject = d2i_X509_NAME(NULL, &in, (long) conf->subject.len);
    CM_AUTO(EVP_PKEY) key = conf->spki.len > 0 ? d2i_PUBKEY(NULL, &spki, (long) conf->spki.len) : NULL;

    if (subject == NULL || (conf->spki.len > 0 && key == NULL))
        CM_FAIL(err, CM_E_INPUT, "the subject or the public key can't be read");
    if (X509_set_version(x, X509_VERSION_3) != 1 || X509_set_subject_name(x, subject) != 1 ||
        X509_set_issuer_name(x, X509_get_subject_name(cm_ca_x509(conf->ca))) != 1 ||
        X509_set_pubkey(x, key != NULL ? key : X509_get0_pubkey(cm_ca_x509(conf->ca))) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't begin a certificate");
    return CM_OK;
}

cm_err cm_issue(const struct cm_issue_conf *conf, struct cm_writer *pem, struct cm_error *err)
{
    CM_AUTO(X509) x = X509_new();
    CM_AUTO(BIO) out = BIO_new(BIO_s_mem());

    if (x == NULL || out == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for a certificate");
    CM_TRY(set_identity(x, conf, err));
    CM_TRY(cm_certbuild_serial(x, err));
    CM_TRY(cm_certbuild_time(X509_getm_notBefore(x), conf->not_before, err));
    CM_TRY(cm_certbuild_time(X509_getm_notAfter(x), conf->not_after, err));
    CM_TRY(cm_certbuild_constraints(x, false, -1, err));
    CM_TRY(cm_certbuild_usage(x, CM_KU_DIGITAL_SIGNATURE, err));
    CM_TRY(cm_certbuild_key_ids(x, conf->ca, err));
    CM_TRY(cm_certbuild_sign(x, conf->ca->key, cm_ca_sigalg(conf->ca), err));
    if (X509_verify(x, X509_get0_pubkey(cm_ca_x509(conf->ca))) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "the new certificate's signature does not verify");
    if (PEM_write_bio_X509(out, x) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't encode the certificate");
    return cm_certbuild_drain(out, pem, err);
}
