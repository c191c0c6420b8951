#ifndef CM_REHEARSAL_ENROLL_H
#define CM_REHEARSAL_ENROLL_H

#include "rehearsal/registry.h"

#include <openssl/types.h>

/* enroll.h - certificates on their way into the registry: read, judged by aws/rules.h, their signatures
 * verified.
 *
 *  Errors  CM_SVC_CERTIFICATE: the certificate is refused; CM_SVC_CODE: the registration code;
 * CM_SVC_CONFLICT; CM_SVC_INVALID; else those of the registry.
 */

/* The first certificate of a PEM text, whatever stands around it. The caller's. CM_SVC_CERTIFICATE: there is
 * none. */
CM_MUST_CHECK cm_err cm_enroll_read(const char *pem, X509 **out, struct cm_svc_error *no);
/* Its DER, malloced, and its certificateId. */
CM_MUST_CHECK cm_err cm_enroll_id(X509 *x509, uint8_t **der, size_t *der_len, char id[CM_REG_ID],
                                  struct cm_svc_error *no);
/* Did this CA sign that certificate? Issuer and subject, and the signature. */
bool cm_enroll_issued(X509 *ca, X509 *x509);
/* The registered CA that signed a certificate; *count: how many did (CAs with the same subject and key), of
 * which *out is the first. CM_E_END: none. */
CM_MUST_CHECK cm_err cm_enroll_find_ca(struct cm_registry *r, X509 *x509, struct cm_reg_ca *out,
                                       size_t *count, struct cm_svc_error *no);

struct cm_enroll_ca {
    const char *pem;
    const char *verification_pem; /* NULL: none */
    bool sni_only, active, auto_registration;
    const char *template_body, *role_arn; /* NULL: none */
};
/* RegisterCACertificate: the proof of possession by the account's registration code. */
CM_MUST_CHECK cm_err cm_enroll_ca(struct cm_registry *r, const struct cm_enroll_ca *ca, char id[CM_REG_ID],
                                  struct cm_svc_error *no);
/* RegisterCertificate; ca_pem NULL: the CA is looked for. id is also given when it is registered already
 * (CM_SVC_EXISTS). */
CM_MUST_CHECK cm_err cm_enroll_cert(struct cm_registry *r, const char *pem, const char *ca_pem,
                                    enum cm_reg_status status, char id[CM_REG_ID], struct cm_svc_error *no);
/* RegisterCertificateWithoutCA: SNI_ONLY. */
CM_MUST_CHECK cm_err cm_enroll_cert_alone(struct cm_registry *r, const char *pem, enum cm_reg_status status,
                                          char id[CM_REG_ID], struct cm_svc_error *no);

#endif
