#ifndef CM_ENGINE_TMPL_CERT_H
#define CM_ENGINE_TMPL_CERT_H

#include "engine/ca.h"
#include "engine/name.h"
#include "engine/profile.h"
#include "engine/tmpl.h"

/* tmpl_cert.h - compiles what was asked for into the template of a certificate
 * (RFC 5280 4.1): version, serial, signature, issuer (the CA's subject, byte for
 * byte), validity, subject, key, extensions.
 */
struct cm_certspec {
    const struct cm_ca *ca;
    const struct cm_keyalg *key;
    struct cm_profile *profile; /* gains marks from san */
    const struct cm_name *subject;
    const char *san; /* x509v3_config syntax: "DNS:{id}.example.com", or NULL */
    cm_when not_before, not_after;
};

CM_MUST_CHECK cm_err cm_tmpl_compile(const struct cm_certspec *spec, struct cm_tmpl **out,
                                     struct cm_error *err);

/* Would these values pass under the CA (cm_ca_check_leaf)? Judged on an unsigned
 * certificate of the template with a throw-away key; nothing is signed. */
CM_MUST_CHECK cm_err cm_tmpl_check_under_ca(const struct cm_tmpl *t, const struct cm_certspec *spec,
                                            const struct cm_values *v, struct cm_error *err);

/* The subject alternative names of such a certificate, as libcrypto prints them; nothing
 * where it has none. */
CM_MUST_CHECK cm_err cm_tmpl_put_san(const struct cm_tmpl *t, const struct cm_certspec *spec,
                                     const struct cm_values *v, struct cm_writer *w, struct cm_error *err);

#endif
