#ifndef CM_AWS_VERIFICATION_H
#define CM_AWS_VERIFICATION_H

#include "engine/ca.h"
#include "engine/issue.h"

/* verification.h - the verification certificate: what proves to RegisterCACertificate that one has the CA's
 * key.
 *
 * Signed by the CA, its CN the registration code of the account, to the last of its 64 characters. It lives
 * for a day.
 *
 *  Errors   CM_E_USAGE: no registration code; CM_E_INPUT: a CSR that can't be taken; CM_E_CRYPTO;
 * CM_E_NOSPACE: room for CM_ISSUE_PEM_MAX is what pem needs.
 */
enum { CM_AWS_VERIFICATION_DAYS = 1 };

struct cm_aws_verification {
    const struct cm_ca *ca; /* NULL: it signs elsewhere */
    const char *code;       /* NULL: what the CSR's CN says */
    struct cm_span
        csr; /* PEM: subject and public key come from it; empty: CN alone, and the CA's own public key */
    const char *csr_name; /* for messages */
    cm_when now;
};

/* Appends it as PEM; without a CA the request for it: the CSR, once its signature and its CN are right, or
 * one with a fresh P-256 key that is thrown away. */
CM_MUST_CHECK cm_err cm_aws_verification(const struct cm_aws_verification *v, struct cm_writer *pem,
                                         struct cm_error *err);

#endif
