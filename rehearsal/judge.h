#ifndef CM_REHEARSAL_JUDGE_H
#define CM_REHEARSAL_JUDGE_H

#include "rehearsal/policy.h"
#include "rehearsal/registry.h"

#include <openssl/types.h>

/* judge.h - what AWS IoT does with a certificate that connects. Knows no broker.
 *
 * Unknown, or PENDING_ACTIVATION, of a CA that is ACTIVE and registers by itself: a row PENDING_ACTIVATION
 * and an event, again at each connection, and refused; where the CA has a template, it is provisioned by it
 * (JITP) and refused this once. ACTIVE: accepted when an attached policy allows iot:Connect for the client
 * id. All else is refused.
 *
 *  Units     the leaf went through a TLS handshake: its signature over the handshake, and its validity, were
 *            looked at there.
 *  Errors    a refusal is no error: it is in the judgement. What is returned other than CM_OK is the
 *            registry's failure; the connection has to be refused then too.
 */
enum cm_judge_reason {
    CM_JUDGE_ACTIVE, /* the only one that accepts */
    CM_JUDGE_REGISTERED,
    CM_JUDGE_PENDING,
    CM_JUDGE_PROVISIONED,
    CM_JUDGE_TEMPLATE,
    CM_JUDGE_INACTIVE,
    CM_JUDGE_REVOKED,
    CM_JUDGE_TRANSFER,
    CM_JUDGE_NO_CA,
    CM_JUDGE_CA_INACTIVE,
    CM_JUDGE_NO_AUTO_REGISTRATION,
    CM_JUDGE_POLICY,
    CM_JUDGE_REASONS,
};
const char *cm_judge_name(enum cm_judge_reason reason);  /* "ca-inactive" */
const char *cm_judge_words(enum cm_judge_reason reason); /* a sentence for people */

struct cm_judgement {
    enum cm_judge_reason reason;
    bool event; /* one was stored, to be sent */
    char certificate_id[CM_REG_ID];
    char ca_id[CM_REG_ID]; /* "": none is known */
    char more[200];        /* what the template or the policies said; "": nothing */
};
static inline bool cm_judge_accepts(const struct cm_judgement *j)
{
    return j->reason == CM_JUDGE_ACTIVE;
}

CM_MUST_CHECK cm_err cm_judge_connect(struct cm_registry *r, X509 *leaf, const char *client_id,
                                      const char *source_ip, struct cm_judgement *out,
                                      struct cm_svc_error *no);
/* The lowercase hex SHA-256 of the certificate's DER. */
CM_MUST_CHECK cm_err cm_judge_id(X509 *leaf, char out[CM_REG_ID], struct cm_error *err);

#endif
