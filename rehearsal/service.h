#ifndef CM_REHEARSAL_SERVICE_H
#define CM_REHEARSAL_SERVICE_H

#include "engine/bytes.h"
#include "engine/err.h"

/* service.h - how AWS IoT says no: its exceptions by name, with the status codes of its API model.
 *
 * What stands in for the service fails in two ways: it refuses, as the service would
 * (CM_E_INPUT, `kind` names the exception, base.what is the message that the caller gets),
 * or it can't (any other cm_err; kind stays CM_SVC_INTERNAL, and base.what is for the
 * rehearsal's own log).
 */
enum cm_svc {
    CM_SVC_INTERNAL, /* 0: what a struct that nobody filled says */
    CM_SVC_NOT_FOUND,
    CM_SVC_EXISTS,
    CM_SVC_INVALID,
    CM_SVC_CODE,
    CM_SVC_CERTIFICATE,
    CM_SVC_STATE,
    CM_SVC_CONFLICT,
    CM_SVC_DELETE_CONFLICT,
    CM_SVC_VERSION_CONFLICT,
    CM_SVC_MALFORMED_POLICY,
    CM_SVC_LIMIT,
    CM_SVC_THROTTLED,
    CM_SVC_UNAUTHORIZED,
    CM_SVC_REGISTRATION, /* ResourceRegistrationFailureException: a template that can't be followed */
    CM_SVC_RESOURCE_CONFLICT,
    /* What answers before the service: the signature, the path. */
    CM_SVC_NO_TOKEN,
    CM_SVC_INCOMPLETE_SIGNATURE,
    CM_SVC_UNKNOWN_KEY,
    CM_SVC_BAD_SIGNATURE,
    CM_SVC_UNKNOWN_OPERATION,
    CM_SVC_TOO_LARGE,
    CM_SVC_COUNT,
};

enum { CM_SVC_ARN = 256 };

struct cm_svc_error {
    enum cm_svc kind;
    struct cm_error base;
    /* Of CM_SVC_EXISTS, where the model has them; "" otherwise. */
    char resource_id[129];
    char resource_arn[CM_SVC_ARN];
};

const char *cm_svc_name(enum cm_svc kind); /* "ResourceNotFoundException" */
unsigned cm_svc_status(enum cm_svc kind);  /* 404 */

/* Fills *no (NULL allowed) with a refusal and returns CM_E_INPUT. */
cm_err cm_svc_fail(struct cm_svc_error *no, enum cm_svc kind, const char *where, const char *fmt, ...)
    CM_PRINTF(4, 5);

#define CM_REFUSE(no, kind, ...) return ((void) cm_svc_fail((no), (kind), CM_HERE, __VA_ARGS__), CM_E_INPUT)

#endif
