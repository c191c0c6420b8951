#ifndef CM_ENGINE_AUDIT_CA_H
#define CM_ENGINE_AUDIT_CA_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "engine/when.h"

#include <openssl/x509.h>

/* audit_ca.h - the fleet's ca.pem, as the auditor holds it; a part of audit.
 *
 * The CA's certificates are the customer's, made by whatever made them: libcrypto
 * parses them, not certread. Only their PEM must be canonical, so that a bundle can
 * be compared with it octet by octet.
 *
 *  Checked    every certificate is a CA's (basicConstraints) and is issued, and its
 *             signature verified, by the next; nothing else stands in the file.
 *  Ownership  init copies pem; the spans are views into the copies. _done accepts a
 *             zeroed or half-built struct.
 *  Threads    constant after init.
 *  Limits     16 certificates of together 1 MiB.
 *  Errors     CM_E_INPUT, CM_E_NOMEM.
 */
enum { CM_AUDIT_CA_MAX = 16 };

struct cm_audit_ca {
    struct cm_span pem;                   /* the whole file */
    struct cm_span der;                   /* the same certificates, one after the other */
    struct cm_span cert[CM_AUDIT_CA_MAX]; /* and each: the CA first, then the chain above it */
    size_t count;
    X509 *x509; /* the CA's own */

    struct cm_span subject, issuer; /* the CA's, whole Names */
    struct cm_span serial;          /* without a leading zero */
    struct cm_span ski;             /* empty: it has none */
    cm_when not_before, not_after;
    uint8_t *store; /* owns what the spans above view */
};

CM_MUST_CHECK cm_err cm_audit_ca_init(struct cm_audit_ca *ca, struct cm_span pem, struct cm_error *err);
void cm_audit_ca_done(struct cm_audit_ca *ca);

#endif
