#include "rehearsal/operation.h"

#include "io/awslimits.h"
#include "io/jsonread.h"
#include "io/jsontext.h"
#include "rehearsal/attributes.h"

#include <stdlib.h>
#include <string.h>

/* Thing types, thing groups and billing groups are named and answered alike. */
static const struct {
    const char *name, *arn, *id; /* members of an answer */
    const char *properties, *metadata;
    const char *list;            /* member of a list's answer */
    const char *item, *item_arn; /* and of its items */
} words[] = {
    [CM_REG_TYPE] = { "thingTypeName", "thingTypeArn", "thingTypeId", "thingTypeProperties",
                      "thingTypeMetadata", "thingTypes", "thingTypeName", "thingTypeArn" },
    [CM_REG_GROUP] = { "thingGroupName", "thingGroupArn", "thingGroupId", "thingGroupProperties",
                       "thingGroupMetadata", "thingGroups", "groupName", "groupArn" },
    [CM_REG_BILLING] = { "billingGroupName", "billingGroupArn", "billingGroupId", "billingGroupProperties",
                         "billingGroupMetadata", "billingGroups", "groupName", "groupArn" },
};

static cm_err create(struct cm_op_request *q, enum cm_reg_kind kind, json_t **out, struct cm_svc_error *no)
{
    const json_t *const properties = json_object_get(q->body, words[kind].properties);
    struct cm_reg_named made = { 0 };
    const char *parent = NULL;
    char arn[CM_SVC_ARN];

    CM_TRY(cm_attributes_check_name(words[kind].name, q->arg[0], CM_SVC_INVALID, no));
    CM_TRY(cm_op_text(q, "parentGroupName", CM_AWS_NAME_MAX, &parent, no));
    char *const text =
        properties != NULL ? cm_json_text(properties, JSON_COMPACT | JSON_SORT_KEYS, NULL) : NULL;
    if (properties != NULL && text == NULL)
        CM_FAIL(&no->base, CM_E_NOMEM, "out of memory for properties");
    const cm_err rc = cm_reg_named_add(q->registry, kind, q->arg[0], parent, text != NULL ? text : "{}", no);
    free(text);
    CM_TRY(rc);
    CM_TRY(cm_reg_named_find(q->registry, kind, q->arg[0], &made, no));
    CM_ASSERT(cm_registry_arn(q->registry, cm_reg_kind_name(kind), made.name, arn, sizeof arn));
    json_t *const answer = json_pack("{s:s, s:s, s:s}", words[kind].name, made.name, words[kind].arn, arn,
                                     words[kind].id, made.id);
    cm_reg_named_done(&made);
    return cm_op_give(answer, out, no);
}

static cm_err describe(struct cm_op_request *q, enum cm_reg_kind kind, json_t **out, struct cm_svc_error *no)
{
    struct cm_reg_named n = { 0 };
    json_t *properties = NULL, *metadata = NULL, *answer = NULL;
    char arn[CM_SVC_ARN];

    CM_TRY(cm_reg_named_find(q->registry, kind, q->arg[0], &n, no));
    CM_ASSERT(cm_registry_arn(q->registry, cm_reg_kind_name(kind), n.name, arn, sizeof arn));
    const cm_err rc = cm_json_read(cm_span_str(n.properties), &properties, NULL, &no->base);
    if (rc == CM_OK) {
        metadata = json_pack("{s:o, s:s*}", "creationDate", cm_op_time(n.created_ms), "parentGroupName",
                             n.parent[0] != '\0' ? n.parent : NULL);
        answer = json_pack("{s:s, s:s, s:s, s:o, s:o}", words[kind].name, n.name, words[kind].arn, arn,
                           words[kind].id, n.id, words[kind].properties, properties, words[kind].metadata,
                           metadata);
        if (answer != NULL && kind == CM_REG_TYPE &&
            json_object_set_new(metadata, "deprecated", json_boolean(n.deprecated)) != 0) {
            json_decref(answer);
            answer = NULL;
        }
    }
    cm_reg_named_done(&n);
    CM_TRY(rc);
    return cm_op_give(answer, out, no);
}

static json_t *render(const struct cm_registry *r, const struct cm_reg_item *item, enum cm_reg_kind kind)
{
    char arn[CM_SVC_ARN];

    CM_ASSERT(cm_registry_arn(r, cm_reg_kind_name(kind), item->name, arn, sizeof arn));
    return json_pack("{s:s, s:s}", words[kind].item, item->name, words[kind].item_arn, arn);
}

static json_t *render_type(const struct cm_registry *r, const struct cm_reg_item *item)
{
    return render(r, item, CM_REG_TYPE);
}

static json_t *render_group(const struct cm_registry *r, const struct cm_reg_item *item)
{
    return render(r, item, CM_REG_GROUP);
}

static json_t *render_billing(const struct cm_registry *r, const struct cm_reg_item *item)
{
    return render(r, item, CM_REG_BILLING);
}

/* The group and the thing in a body, each by its name. */
static cm_err member(struct cm_op_request *q, enum cm_reg_kind kind, bool in, struct cm_svc_error *no)
{
    const char *group = NULL, *thing = NULL;

    CM_TRY(cm_op_needed(q, words[kind].name, CM_AWS_NAME_MAX, &group, no));
    CM_TRY(cm_op_needed(q, "thingName", CM_AWS_NAME_MAX, &thing, no));
    return in ? cm_reg_member_add(q->registry, kind, group, thing, no)
              : cm_reg_member_remove(q->registry, kind, group, thing, no);
}

cm_err cm_op_type_create(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return create(q, CM_REG_TYPE, out, no);
}

cm_err cm_op_type_describe(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return describe(q, CM_REG_TYPE, out, no);
}

cm_err cm_op_type_list(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return cm_op_list(q, CM_REG_LIST_TYPES, NULL, CM_OP_TOKENS, words[CM_REG_TYPE].list, render_type, out,
                      no);
}

cm_err cm_op_type_deprecate(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    (void) out;
    return cm_reg_named_deprecate(q->registry, q->arg[0],
                                  !json_is_true(json_object_get(q->body, "undoDeprecate")), no);
}

cm_err cm_op_type_delete(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    (void) out;
    return cm_reg_named_delete(q->registry, CM_REG_TYPE, q->arg[0], no);
}

cm_err cm_op_group_create(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return create(q, CM_REG_GROUP, out, no);
}

cm_err cm_op_group_describe(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return describe(q, CM_REG_GROUP, out, no);
}

cm_err cm_op_group_list(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return cm_op_list(q, CM_REG_LIST_GROUPS, NULL, CM_OP_TOKENS, words[CM_REG_GROUP].list, render_group, out,
                      no);
}

cm_err cm_op_group_delete(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    (void) out;
    return cm_reg_named_delete(q->registry, CM_REG_GROUP, q->arg[0], no);
}

cm_err cm_op_group_things(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return cm_op_list(q, CM_REG_LIST_GROUP_THINGS, q->arg[0], CM_OP_TOKENS, "things", cm_op_render_name, out,
                      no);
}

cm_err cm_op_group_add(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    (void) out;
    return member(q, CM_REG_GROUP, true, no);
}

cm_err cm_op_group_remove(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    (void) out;
    return member(q, CM_REG_GROUP, false, no);
}

cm_err cm_op_billing_create(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return create(q, CM_REG_BILLING, out, no);
}

cm_err cm_op_billing_describe(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return describe(q, CM_REG_BILLING, out, no);
}

cm_err cm_op_billing_list(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return cm_op_list(q, CM_REG_LIST_BILLINGS, NULL, CM_OP_TOKENS, words[CM_REG_BILLING].list, render_billing,
                      out, no);
}

cm_err cm_op_billing_delete(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    (void) out;
    return cm_reg_named_delete(q->registry, CM_REG_BILLING, q->arg[0], no);
}

cm_err cm_op_billing_things(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return cm_op_list(q, CM_REG_LIST_BILLING_THINGS, q->arg[0], CM_OP_TOKENS, "things", cm_op_render_name,
                      out, no);
}

cm_err cm_op_billing_add(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    (void) out;
    return member(q, CM_REG_BILLING, true, no);
}

cm_err cm_op_billing_remove(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    (void) out;
    return member(q, CM_REG_BILLING, false, no);
}
