#ifndef CM_REHEARSAL_TEMPLATE_H
#define CM_REHEARSAL_TEMPLATE_H

#include "rehearsal/registry.h"

#include <jansson.h>
#include <openssl/types.h>

/* template.h - provisioning templates: just-in-time provisioning (JITP), bulk registration, RegisterThing.
 *
 * Parameters (Type String, Default), Resources (AWS::IoT::Thing, ::Certificate, ::Policy) with Ref,
 * OverrideSettings. The intrinsic functions and sections that only fleet provisioning has (Fn::…, Mappings,
 * DeviceConfiguration) are refused as such.
 *
 *  Errors    CM_SVC_INVALID: the template is wrong in itself (parse); CM_SVC_REGISTRATION: it can't be
 * followed with these parameters; CM_SVC_RESOURCE_CONFLICT: OverrideSettings FAIL; else those of the
 * registry.
 */
struct cm_template;
CM_MUST_CHECK cm_err cm_template_parse(struct cm_span body, struct cm_template **out,
                                       struct cm_svc_error *no);
void cm_template_free(struct cm_template *t); /* NULL accepted */

/* Replaces references by values: *out is {"thing":{…},"certificate":{…},"policies":[…]}, the Properties of
 * each resource with its OverrideSettings under "_override"; the caller's (json_decref). parameters: an
 * object of strings. "Cannot resolve reference value: {Ref=NAME}" where one has neither a value nor a
 * Default. */
CM_MUST_CHECK cm_err cm_template_evaluate(const struct cm_template *t, const json_t *parameters, json_t **out,
                                          struct cm_svc_error *no);

struct cm_template_done {
    char certificate_id[CM_REG_ID];
    char thing[CM_REG_NAME];  /* "": the template has none */
    char policy[CM_REG_NAME]; /* the last one; "": none */
};
/* Evaluates and does all of it, in one transaction: nothing stays of what fails. done may be NULL. */
CM_MUST_CHECK cm_err cm_template_provision(struct cm_registry *r, const struct cm_template *t,
                                           const json_t *parameters, struct cm_template_done *done,
                                           struct cm_svc_error *no);

/* The parameters of JITP that a certificate has: AWS::IoT::Certificate::{Country, Organization,
 * OrganizationalUnit, DistinguishedNameQualifier, StateName, CommonName, SerialNumber (of the certificate,
 * decimal), Id}. The caller's. */
CM_MUST_CHECK cm_err cm_template_parameters(X509 *leaf, json_t **out, struct cm_svc_error *no);
/* What the first connection of a certificate does under a CA with a template: the row (PENDING_ACTIVATION)
 * where there is none, which stays when the template then fails; the template; the status that it asks for.
 */
CM_MUST_CHECK cm_err cm_template_jitp(struct cm_registry *r, const struct cm_reg_ca *ca,
                                      const struct cm_reg_cert_new *cert, X509 *leaf,
                                      struct cm_template_done *done, struct cm_svc_error *no);

#endif
