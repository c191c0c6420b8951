#ifndef CM_REHEARSAL_ATTRIBUTES_H
#define CM_REHEARSAL_ATTRIBUTES_H

#include "rehearsal/service.h"

#include <jansson.h>

/* attributes.h - what AWS IoT demands of names and of a thing's attributes. */

/* A name of a thing, a type or a group. kind: the exception for one that can't be. NULL can't. */
CM_MUST_CHECK cm_err cm_attributes_check_name(const char *what, const char *name, enum cm_svc kind,
                                              struct cm_svc_error *no);
/* The same for a policy, which may have other characters. CM_SVC_INVALID. */
CM_MUST_CHECK cm_err cm_attributes_check_policy(const char *name, struct cm_svc_error *no);
/* An object of strings (NULL: none), at most 3 of them, with a type 50. CM_SVC_INVALID. */
CM_MUST_CHECK cm_err cm_attributes_check(const json_t *attributes, bool typed, struct cm_svc_error *no);

#endif
