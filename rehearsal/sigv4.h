#ifndef CM_REHEARSAL_SIGV4_H
#define CM_REHEARSAL_SIGV4_H

#include "engine/when.h"
#include "rehearsal/service.h"

/* sigv4.h - judges the AWS Signature Version 4 in a request's headers.
 *
 *  Errors   CM_SVC_NO_TOKEN: there is no Authorization; CM_SVC_INCOMPLETE_SIGNATURE: it can't be understood,
 * or leaves out what must be signed; CM_SVC_UNKNOWN_KEY; CM_SVC_BAD_SIGNATURE: wrong, of another region or
 *           service, or more than CM_SIGV4_SKEW_S away from now. Messages never have a signature that would
 * do. Time     signatures are compared in constant time. Safe     for arbitrary octets.
 */
enum { CM_SIGV4_HEADERS = 64, CM_SIGV4_SKEW_S = 300 };

struct cm_sigv4_keys {
    const char *access_key, *secret_key;
    const char *region;
    const char *const *services; /* NULL-terminated: any of them */
};

struct cm_sigv4_header {
    const char *name; /* in any case */
    const char *value;
};

struct cm_sigv4_request {
    const char *method;
    const char *path;  /* as it came, percent-encoded, without the query */
    const char *query; /* as it came; NULL: none */
    const struct cm_sigv4_header *header;
    size_t headers;
    struct cm_span body;
};

CM_MUST_CHECK cm_err cm_sigv4_judge(const struct cm_sigv4_request *request, const struct cm_sigv4_keys *keys,
                                    cm_when now, struct cm_svc_error *no);

#endif
