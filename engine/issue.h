#ifndef CM_ENGINE_ISSUE_H
#define CM_ENGINE_ISSUE_H

#include "engine/ca.h"

/* issue.h - a single certificate below a CA that is no device's: the proof that somebody has the CA's key.
 *
 * Extensions: basicConstraints critical CA:FALSE; keyUsage critical digitalSignature; SKI by method 1; AKI.
 * Serial: 20 random octets. Not the hot path: built with libcrypto's own X509 calls. The signature is
 * verified.
 *
 *  Threads  any one thread at a time.
 *  Errors   CM_E_INPUT: a subject or key that can't be read; CM_E_CRYPTO; CM_E_NOSPACE.
 */
struct cm_issue_conf {
    const struct cm_ca *ca; /* opened and checked, with its key */
    struct cm_span subject; /* the whole Name, DER */
    struct cm_span spki; /* SubjectPublicKeyInfo, DER; empty: the CA's own, so that no key needs to be made */
    cm_when not_before, not_after;
};

enum { CM_ISSUE_PEM_MAX = 16384 };

/* Appends the certificate as PEM. */
CM_MUST_CHECK cm_err cm_issue(const struct cm_issue_conf *conf, struct cm_writer *pem, struct cm_error *err);

#endif
