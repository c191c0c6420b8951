#include "rehearsal/service.h"

#include <stdarg.h>

static const struct {
    const char *name;
    unsigned status;
} table[CM_SVC_COUNT] = {
    [CM_SVC_INTERNAL] = { "InternalFailureException", 500 },
    [CM_SVC_NOT_FOUND] = { "ResourceNotFoundException", 404 },
    [CM_SVC_EXISTS] = { "ResourceAlreadyExistsException", 409 },
    [CM_SVC_INVALID] = { "InvalidRequestException", 400 },
    [CM_SVC_CODE] = { "RegistrationCodeValidationException", 400 },
    [CM_SVC_CERTIFICATE] = { "CertificateValidationException", 400 },
    [CM_SVC_STATE] = { "CertificateStateException", 406 },
    [CM_SVC_CONFLICT] = { "CertificateConflictException", 409 },
    [CM_SVC_DELETE_CONFLICT] = { "DeleteConflictException", 409 },
    [CM_SVC_VERSION_CONFLICT] = { "VersionConflictException", 409 },
    [CM_SVC_MALFORMED_POLICY] = { "MalformedPolicyException", 400 },
    [CM_SVC_LIMIT] = { "LimitExceededException", 410 },
    [CM_SVC_THROTTLED] = { "ThrottlingException", 400 },
    [CM_SVC_UNAUTHORIZED] = { "UnauthorizedException", 401 },
    [CM_SVC_REGISTRATION] = { "ResourceRegistrationFailureException", 400 },
    [CM_SVC_RESOURCE_CONFLICT] = { "ResourceConflictsException", 409 },
    [CM_SVC_NO_TOKEN] = { "MissingAuthenticationTokenException", 403 },
    [CM_SVC_INCOMPLETE_SIGNATURE] = { "IncompleteSignatureException", 403 },
    [CM_SVC_UNKNOWN_KEY] = { "UnrecognizedClientException", 403 },
    [CM_SVC_BAD_SIGNATURE] = { "InvalidSignatureException", 403 },
    [CM_SVC_UNKNOWN_OPERATION] = { "UnknownOperationException", 404 },
    [CM_SVC_TOO_LARGE] = { "RequestEntityTooLargeException", 413 },
};

const char *cm_svc_name(enum cm_svc kind)
{
    return table[kind].name;
}

unsigned cm_svc_status(enum cm_svc kind)
{
    return table[kind].status;
}

cm_err cm_svc_fail(struct cm_svc_error *no, enum cm_svc kind, const char *where, const char *fmt, ...)
{
    char text[CM_ERROR_TEXT];
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (no != NULL)
        no->kind = kind;
    return cm_fail(no != NULL ? &no->base : NULL, CM_E_INPUT, where, "%s", text);
}
