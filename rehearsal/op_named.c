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
    const char *list;             /* member of a list's answer */
    const char *item, *item_arn;  /* and of its items */
    enum cm_reg_list all, things; /* the registry's lists: of its kind, of what one holds */
} words[] = {
    [CM_REG_TYPE] = { "thingTypeName", "thingTypeArn", "thingTypeId", "thingTypeProperties",
                      "thingTypeMetadata", "thingTypes", "thingTypeName", "thingTypeArn", CM_REG_LIST_TYPES,
                      CM_REG_LIST_COUNT },
    [CM_REG_GROUP] = { "thingGroupName", "thingGroupArn", "thingGroupId", "thingGroupProperties",
                       "thingGroupMetadata", "thingGroups", "groupName", "groupArn", CM_REG_LIST_GROUPS,
                       CM_REG_LIST_GROUP_THINGS },
    [CM_REG_BILLING] = { "billingGroupName", "billingGroupArn", "billingGroupId", "billingGroupProperties",
                         "billingGroupMetadata", "billingGroups", "groupName", "groupArn",
                         CM_REG_LIST_BILLINGS, CM_REG_LIST_BILLING_THINGS },
};

cm_err cm_op_named_create(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const enum cm_reg_kind kind = q->kind;
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

cm_err cm_op_named_describe(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const enum cm_reg_kind kind = q->kind;
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

static json_t *render(const struct cm_op_request *q, const struct cm_reg_item *item)
{
    char arn[CM_SVC_ARN];

    CM_ASSERT(cm_registry_arn(q->registry, cm_reg_kind_name(q->kind), item->name, arn, sizeof arn));
    return json_pack("{s:s, s:s}", words[q->kind].item, item->name, words[q->kind].item_arn, arn);
}

cm_err cm_op_named_list(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return cm_op_list(q, words[q->kind].all, NULL, CM_OP_TOKENS, words[q->kind].list, render, out, no);
}

cm_err cm_op_named_things(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return cm_op_list(q, words[q->kind].things, q->arg[0], CM_OP_TOKENS, "things", cm_op_render_name, out,
                      no);
}

cm_err cm_op_named_delete(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    (void) out;
    return cm_reg_named_delete(q->registry, q->kind, q->arg[0], no);
}

cm_err cm_op_type_deprecate(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    (void) out;
    return cm_reg_named_deprecate(q->registry, q->arg[0],
                                  !json_is_true(json_object_get(q->body, "undoDeprecate")), no);
}

/* The group and the thing in a body, each by its name. */
static cm_err read_member(struct cm_op_request *q, const char **group, const char **thing,
                          struct cm_svc_error *no)
{
    CM_TRY(cm_op_needed(q, words[q->kind].name, CM_AWS_NAME_MAX, group, no));
    return cm_op_needed(q, "thingName", CM_AWS_NAME_MAX, thing, no);
}

cm_err cm_op_named_add(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const char *group = NULL, *thing = NULL;

    (void) out;
    CM_TRY(read_member(q, &group, &thing, no));
    return cm_reg_member_add(q->registry, q->kind, group, thing, no);
}

cm_err cm_op_named_remove(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const char *group = NULL, *thing = NULL;

    (void) out;
    CM_TRY(read_member(q, &group, &thing, no));
    return cm_reg_member_remove(q->registry, q->kind, group, thing, no);
}
