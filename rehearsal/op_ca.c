#include "rehearsal/operation.h"

#include "io/awslimits.h"
#include "rehearsal/enroll.h"
#include "rehearsal/op_validity.h"
#include "rehearsal/template.h"

#include <string.h>

enum { ROLE_MIN = 20, ROLE_MAX = 2048 };

cm_err cm_op_code_get(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    char code[CM_REG_ID];

    CM_TRY(cm_reg_code(q->registry, code, no));
    return cm_op_give(json_pack("{s:s}", "registrationCode", code), out, no);
}

cm_err cm_op_code_delete(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    (void) out;
    return cm_reg_code_delete(q->registry, no);
}

/* registrationConfig: a template for JITP, checked as the service checks it. Both NULL: there is none. */
static cm_err read_config(const struct cm_op_request *q, const char **body, const char **role,
                          struct cm_svc_error *no)
{
    const json_t *const config = json_object_get(q->body, "registrationConfig");
    struct cm_template *t = NULL;

    *body = *role = NULL;
    if (config == NULL)
        return CM_OK;
    if (json_object_get(config, "templateName") != NULL)
        CM_REFUSE(no, CM_SVC_INVALID,
                  "templateName is not rehearsed here: give the template as templateBody");
    *body = json_string_value(json_object_get(config, "templateBody"));
    *role = json_string_value(json_object_get(config, "roleArn"));
    if (*body == NULL || *role == NULL)
        CM_REFUSE(no, CM_SVC_INVALID, "registrationConfig needs templateBody and roleArn");
    if (strlen(*role) < ROLE_MIN || strlen(*role) > ROLE_MAX)
        CM_REFUSE(no, CM_SVC_INVALID, "roleArn has %zu characters; %d to %d are allowed", strlen(*role),
                  ROLE_MIN, ROLE_MAX);
    CM_TRY(cm_template_parse(cm_span_str(*body), &t, no));
    cm_template_free(t);
    return CM_OK;
}

static cm_err read_mode(const struct cm_op_request *q, bool *sni_only, struct cm_svc_error *no)
{
    const char *mode = NULL;

    CM_TRY(cm_op_text(q, "certificateMode", 16, &mode, no));
    if (mode != NULL && strcmp(mode, "DEFAULT") != 0 && strcmp(mode, "SNI_ONLY") != 0)
        CM_REFUSE(no, CM_SVC_INVALID, "certificateMode must be DEFAULT or SNI_ONLY");
    *sni_only = mode != NULL && strcmp(mode, "SNI_ONLY") == 0;
    return CM_OK;
}

cm_err cm_op_ca_register(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    struct cm_enroll_ca ca = { 0 };
    char id[CM_REG_ID], arn[CM_SVC_ARN];

    CM_TRY(cm_op_needed(q, "caCertificate", CM_AWS_PEM_MAX, &ca.pem, no));
    CM_TRY(cm_op_text(q, "verificationCertificate", CM_AWS_PEM_MAX, &ca.verification_pem, no));
    CM_TRY(cm_op_query_flag(q, "setAsActive", &ca.active, no));
    CM_TRY(cm_op_query_flag(q, "allowAutoRegistration", &ca.auto_registration, no));
    CM_TRY(read_mode(q, &ca.sni_only, no));
    CM_TRY(read_config(q, &ca.template_body, &ca.role_arn, no));
    CM_TRY(cm_enroll_ca(q->registry, &ca, id, no));
    CM_ASSERT(cm_registry_arn(q->registry, "cacert", id, arn, sizeof arn));
    return cm_op_give(json_pack("{s:s, s:s}", "certificateArn", arn, "certificateId", id), out, no);
}

static json_t *config_json(const struct cm_reg_ca *ca)
{
    return ca->template_body != NULL
               ? json_pack("{s:s, s:s}", "templateBody", ca->template_body, "roleArn", ca->role_arn)
               : json_object();
}

static json_t *ca_json(const struct cm_reg_ca *ca, const char *account)
{
    return json_pack("{s:{s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:o, s:i, s:s, s:o, s:s}, s:o}",
                     "certificateDescription", "certificateArn", ca->arn, "certificateId", ca->id, "status",
                     ca->active ? "ACTIVE" : "INACTIVE", "certificatePem", ca->pem, "ownedBy", account,
                     "creationDate", cm_op_time(ca->created_ms), "autoRegistrationStatus",
                     ca->auto_registration ? "ENABLE" : "DISABLE", "lastModifiedDate",
                     cm_op_time(ca->modified_ms), "customerVersion", 1, "generationId", ca->id, "validity",
                     cm_op_validity(ca->pem), "certificateMode", ca->sni_only ? "SNI_ONLY" : "DEFAULT",
                     "registrationConfig", config_json(ca));
}

cm_err cm_op_ca_describe(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    struct cm_reg_ca ca = { 0 };
    char id[CM_REG_ID];

    CM_TRY(cm_op_id(q->arg[0], id, no));
    CM_TRY(cm_reg_ca_find(q->registry, id, &ca, no));
    json_t *const made = ca_json(&ca, cm_registry_account(q->registry));
    cm_reg_ca_done(&ca);
    return cm_op_give(made, out, no);
}

static cm_err read_turn(const struct cm_op_request *q, const char *name, const char *on, const char *off,
                        enum cm_reg_turn *out, struct cm_svc_error *no)
{
    const char *const text = cm_op_query(q, name);

    *out = text == NULL ? CM_REG_KEEP : strcmp(text, on) == 0 ? CM_REG_ON : CM_REG_OFF;
    if (text != NULL && strcmp(text, on) != 0 && strcmp(text, off) != 0)
        CM_REFUSE(no, CM_SVC_INVALID, "%s must be %s or %s", name, on, off);
    return CM_OK;
}

cm_err cm_op_ca_update(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    struct cm_reg_ca_change change = { .remove_template =
                                           json_is_true(json_object_get(q->body, "removeAutoRegistration")) };
    char id[CM_REG_ID];

    (void) out;
    CM_TRY(cm_op_id(q->arg[0], id, no));
    CM_TRY(read_turn(q, "newStatus", "ACTIVE", "INACTIVE", &change.active, no));
    CM_TRY(read_turn(q, "newAutoRegistrationStatus", "ENABLE", "DISABLE", &change.auto_registration, no));
    CM_TRY(read_config(q, &change.template_body, &change.role_arn, no));
    return cm_reg_ca_update(q->registry, id, &change, no);
}

static json_t *render(const struct cm_op_request *q, const struct cm_reg_item *item)
{
    char arn[CM_SVC_ARN];

    CM_ASSERT(cm_registry_arn(q->registry, "cacert", item->name, arn, sizeof arn));
    return json_pack("{s:s, s:s, s:s, s:o}", "certificateArn", arn, "certificateId", item->name, "status",
                     item->status, "creationDate", cm_op_time(item->created_ms));
}

cm_err cm_op_ca_list(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return cm_op_list(q, CM_REG_LIST_CAS, NULL, CM_OP_MARKER, "certificates", render, out, no);
}

cm_err cm_op_ca_delete(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    char id[CM_REG_ID];

    (void) out;
    CM_TRY(cm_op_id(q->arg[0], id, no));
    return cm_reg_ca_delete(q->registry, id, no);
}
