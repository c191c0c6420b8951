#include "rehearsal/operation.h"

#include "rehearsal/attributes.h"
#include "rehearsal/policy.h"

#include <string.h>

enum { DOCUMENT_MAX = 131072, TARGET_MAX = 2048 };

static cm_err give_policy(struct cm_op_request *q, const char *name, const char *document, json_t **out,
                          struct cm_svc_error *no)
{
    char arn[CM_SVC_ARN];

    CM_ASSERT(cm_registry_arn(q->registry, "policy", name, arn, sizeof arn));
    return cm_op_give(json_pack("{s:s, s:s, s:s, s:s}", "policyName", name, "policyArn", arn,
                                "policyDocument", document, "policyVersionId", "1"),
                      out, no);
}

cm_err cm_op_policy_create(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    struct cm_policy *parsed = NULL;
    const char *document = NULL;

    CM_TRY(cm_attributes_check_policy(q->arg[0], no));
    CM_TRY(cm_op_needed(q, "policyDocument", DOCUMENT_MAX, &document, no));
    CM_TRY(cm_policy_parse(cm_span_str(document), &parsed, no));
    cm_policy_free(parsed);
    CM_TRY(cm_reg_policy_add(q->registry, q->arg[0], document, no));
    return give_policy(q, q->arg[0], document, out, no);
}

cm_err cm_op_policy_get(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    struct cm_reg_policy policy = { 0 };
    char arn[CM_SVC_ARN];

    CM_TRY(cm_reg_policy_find(q->registry, q->arg[0], &policy, no));
    CM_ASSERT(cm_registry_arn(q->registry, "policy", policy.name, arn, sizeof arn));
    json_t *const made =
        json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "policyName", policy.name, "policyArn", arn,
                  "policyDocument", policy.document, "defaultVersionId", "1", "creationDate",
                  cm_op_time(policy.created_ms), "lastModifiedDate", cm_op_time(policy.created_ms));
    cm_reg_policy_done(&policy);
    return cm_op_give(made, out, no);
}

static json_t *render(const struct cm_op_request *q, const struct cm_reg_item *item)
{
    char arn[CM_SVC_ARN];

    CM_ASSERT(cm_registry_arn(q->registry, "policy", item->name, arn, sizeof arn));
    return json_pack("{s:s, s:s}", "policyName", item->name, "policyArn", arn);
}

cm_err cm_op_policy_list(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return cm_op_list(q, CM_REG_LIST_POLICIES, NULL, CM_OP_MARKER, "policies", render, out, no);
}

cm_err cm_op_policy_delete(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    (void) out;
    return cm_reg_policy_delete(q->registry, q->arg[0], no);
}

cm_err cm_op_policy_attach(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const char *target = NULL;

    (void) out;
    CM_TRY(cm_op_needed(q, "target", TARGET_MAX, &target, no));
    return cm_reg_policy_attach(q->registry, q->arg[0], target, no);
}

cm_err cm_op_policy_detach(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const char *target = NULL;

    (void) out;
    CM_TRY(cm_op_needed(q, "target", TARGET_MAX, &target, no));
    return cm_reg_policy_detach(q->registry, q->arg[0], target, no);
}

cm_err cm_op_policy_list_attached(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return cm_op_list(q, CM_REG_LIST_POLICIES_OF, q->arg[0], CM_OP_MARKER, "policies", render, out, no);
}

cm_err cm_op_policy_targets(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    struct cm_reg_policy policy = { 0 };

    CM_TRY(cm_reg_policy_find(q->registry, q->arg[0], &policy, no));
    cm_reg_policy_done(&policy);
    return cm_op_list(q, CM_REG_LIST_TARGETS, q->arg[0], CM_OP_MARKER, "targets", cm_op_render_name, out, no);
}

/* The older operations, with the principal in a header. */
static cm_err principal(const struct cm_op_request *q, const char **out, struct cm_svc_error *no)
{
    *out = cm_op_header(q, "x-amzn-iot-principal");
    if (*out == NULL)
        CM_REFUSE(no, CM_SVC_INVALID, "principal is missing");
    return CM_OK;
}

cm_err cm_op_policy_attach_principal(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const char *target = NULL;

    (void) out;
    CM_TRY(principal(q, &target, no));
    return cm_reg_policy_attach(q->registry, q->arg[0], target, no);
}

cm_err cm_op_policy_detach_principal(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const char *target = NULL;

    (void) out;
    CM_TRY(principal(q, &target, no));
    return cm_reg_policy_detach(q->registry, q->arg[0], target, no);
}
