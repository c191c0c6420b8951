#ifndef CM_CLI_IDENTITY_H
#define CM_CLI_IDENTITY_H

#include "io/claims.h"

/* identity.h - what claim and report print of an identity, and what they take alike. */

struct json_t;

/* As JSON, with more members (stolen; NULL: none), or in lines. */
CM_MUST_CHECK cm_err cm_identity_json(const struct cm_identity *i, struct json_t *more, struct cm_error *err);
void cm_identity_print(const struct cm_identity *i);
/* The certificate, then the chain above it, PEM on stdout. */
CM_MUST_CHECK cm_err cm_identity_print_pem(const struct cm_identity *i, struct cm_error *err);

/* A name that goes into the database: not empty, at most 200 octets, no control characters. NULL is fine. */
CM_MUST_CHECK cm_err cm_identity_check_name(const char *option, const char *value, struct cm_error *err);

#endif
