#include "rehearsal/operation.h"

#include "io/awslimits.h"
#include "io/jsonread.h"
#include "io/jsontext.h"
#include "rehearsal/attributes.h"
#include "rehearsal/template.h"

#include <stdlib.h>
#include <string.h>

/* The attributes of a body, as the registry keeps them. below: those that they are merged into, or NULL. An
 * empty value takes an attribute off. */
static cm_err attributes_text(const json_t *given, const json_t *below, char **out, struct cm_svc_error *no)
{
    json_t *const merged = json_object();
    const char *key;
    json_t *value;
    int bad = merged == NULL;

    if (!bad && below != NULL)
        bad = json_object_update(merged, cm_json_each(below));
    json_object_foreach(cm_json_each(given), key, value)
    {
        if (json_string_length(value) > 0)
            bad |= json_object_set(merged, key, value);
        else
            (void) json_object_del(merged, key);
    }
    *out = bad ? NULL : cm_json_text(merged, JSON_COMPACT | JSON_SORT_KEYS, NULL);
    json_decref(merged);
    if (*out == NULL)
        CM_FAIL(&no->base, CM_E_NOMEM, "out of memory for a thing's attributes");
    return CM_OK;
}

static const json_t *given_attributes(const struct cm_op_request *q)
{
    return json_object_get(json_object_get(q->body, "attributePayload"), "attributes");
}

cm_err cm_op_thing_create(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    struct cm_reg_thing_new thing = { .name = q->arg[0] };
    struct cm_reg_thing made = { 0 };
    char *attributes = NULL, arn[CM_SVC_ARN];

    CM_TRY(cm_attributes_check_name("thingName", thing.name, CM_SVC_INVALID, no));
    CM_TRY(cm_op_text(q, "thingTypeName", CM_AWS_NAME_MAX, &thing.type, no));
    CM_TRY(cm_op_text(q, "billingGroupName", CM_AWS_NAME_MAX, &thing.billing_group, no));
    CM_TRY(cm_attributes_check(given_attributes(q), thing.type != NULL, no));
    CM_TRY(attributes_text(given_attributes(q), NULL, &attributes, no));
    thing.attributes = attributes;
    const cm_err rc = cm_reg_thing_add(q->registry, &thing, no);
    free(attributes);
    CM_TRY(rc);
    CM_TRY(cm_reg_thing_find(q->registry, thing.name, &made, no));
    CM_ASSERT(cm_registry_arn(q->registry, "thing", made.name, arn, sizeof arn));
    json_t *const answer =
        json_pack("{s:s, s:s, s:s}", "thingName", made.name, "thingArn", arn, "thingId", made.id);
    cm_reg_thing_done(&made);
    return cm_op_give(answer, out, no);
}

cm_err cm_op_thing_describe(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    struct cm_reg_thing t = { 0 };
    json_t *attributes = NULL, *answer = NULL;
    char arn[CM_SVC_ARN];

    CM_TRY(cm_reg_thing_find(q->registry, q->arg[0], &t, no));
    CM_ASSERT(cm_registry_arn(q->registry, "thing", t.name, arn, sizeof arn));
    const cm_err rc = cm_json_read(cm_span_str(t.attributes), &attributes, NULL, &no->base);
    if (rc == CM_OK)
        answer = json_pack("{s:s, s:s, s:s, s:s, s:s*, s:s*, s:o, s:I}", "defaultClientId", t.name,
                           "thingName", t.name, "thingId", t.id, "thingArn", arn, "thingTypeName",
                           t.type[0] != '\0' ? t.type : NULL, "billingGroupName",
                           t.billing_group[0] != '\0' ? t.billing_group : NULL, "attributes", attributes,
                           "version", (json_int_t) t.version);
    cm_reg_thing_done(&t);
    CM_TRY(rc);
    return cm_op_give(answer, out, no);
}

static json_t *render(const struct cm_op_request *q, const struct cm_reg_item *item)
{
    struct cm_error err = { 0 };
    json_t *attributes = NULL;
    char arn[CM_SVC_ARN];

    CM_ASSERT(cm_registry_arn(q->registry, "thing", item->name, arn, sizeof arn));
    if (cm_json_read(cm_span_str(item->status), &attributes, NULL, &err) != CM_OK)
        return NULL;
    return json_pack("{s:s, s:s, s:s*, s:o, s:I}", "thingName", item->name, "thingArn", arn, "thingTypeName",
                     item->more, "attributes", attributes, "version", (json_int_t) item->version);
}

cm_err cm_op_thing_list(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    if (cm_op_query(q, "attributeName") != NULL || cm_op_query(q, "thingTypeName") != NULL)
        CM_REFUSE(no, CM_SVC_INVALID, "Things are listed without a filter in the rehearsal");
    return cm_op_list(q, CM_REG_LIST_THINGS, NULL, CM_OP_TOKENS, "things", render, out, no);
}

/* Attributes are replaced, or with "merge" changed one by one. */
static cm_err new_attributes(struct cm_op_request *q, const struct cm_reg_thing *has, bool typed, char **out,
                             struct cm_svc_error *no)
{
    const json_t *const payload = json_object_get(q->body, "attributePayload");
    json_t *below = NULL;

    CM_TRY(cm_attributes_check(given_attributes(q), typed, no));
    if (payload == NULL)
        return CM_OK;
    if (json_is_true(json_object_get(payload, "merge")))
        CM_TRY(cm_json_read(cm_span_str(has->attributes), &below, NULL, &no->base));
    const cm_err rc = attributes_text(given_attributes(q), below, out, no);
    json_decref(below);
    return rc;
}

cm_err cm_op_thing_update(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    struct cm_reg_thing_new change = { .name = q->arg[0] };
    const int64_t version = json_integer_value(json_object_get(q->body, "expectedVersion"));
    const bool untype = json_is_true(json_object_get(q->body, "removeThingType"));
    struct cm_reg_thing has = { 0 };
    char *attributes = NULL;

    (void) out;
    CM_TRY(cm_op_text(q, "thingTypeName", CM_AWS_NAME_MAX, &change.type, no));
    if (untype && change.type != NULL)
        CM_REFUSE(no, CM_SVC_INVALID, "thingTypeName and removeThingType exclude each other");
    CM_TRY(cm_reg_thing_find(q->registry, change.name, &has, no));
    const bool typed = change.type != NULL || (has.type[0] != '\0' && !untype);
    cm_err rc = new_attributes(q, &has, typed, &attributes, no);
    cm_reg_thing_done(&has);
    if (untype)
        change.type = "";
    change.attributes = attributes;
    if (rc == CM_OK)
        rc = cm_reg_thing_update(q->registry, &change, version, no);
    free(attributes);
    return rc;
}

cm_err cm_op_thing_delete(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const char *const version = cm_op_query(q, "expectedVersion");

    (void) out;
    return cm_reg_thing_delete(q->registry, q->arg[0], version != NULL ? strtoll(version, NULL, 10) : 0, no);
}

static cm_err principal(const struct cm_op_request *q, const char **out, struct cm_svc_error *no)
{
    *out = cm_op_header(q, "x-amzn-principal");
    if (*out == NULL)
        CM_REFUSE(no, CM_SVC_INVALID, "principal is missing");
    return CM_OK;
}

cm_err cm_op_thing_attach(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const char *arn = NULL;

    (void) out;
    CM_TRY(principal(q, &arn, no));
    return cm_reg_thing_attach(q->registry, q->arg[0], arn, no);
}

cm_err cm_op_thing_detach(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const char *arn = NULL;

    (void) out;
    CM_TRY(principal(q, &arn, no));
    return cm_reg_thing_detach(q->registry, q->arg[0], arn, no);
}

static cm_err check_there(struct cm_op_request *q, struct cm_svc_error *no)
{
    struct cm_reg_thing thing = { 0 };

    CM_TRY(cm_reg_thing_find(q->registry, q->arg[0], &thing, no));
    cm_reg_thing_done(&thing);
    return CM_OK;
}

cm_err cm_op_thing_principals(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    CM_TRY(check_there(q, no));
    return cm_op_list(q, CM_REG_LIST_PRINCIPALS, q->arg[0], CM_OP_TOKENS, "principals", cm_op_render_name,
                      out, no);
}

cm_err cm_op_thing_of_principal(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const char *arn = NULL;

    CM_TRY(principal(q, &arn, no));
    return cm_op_list(q, CM_REG_LIST_THINGS_OF, arn, CM_OP_TOKENS, "things", cm_op_render_name, out, no);
}

static json_t *render_group(const struct cm_op_request *q, const struct cm_reg_item *item)
{
    char arn[CM_SVC_ARN];

    CM_ASSERT(cm_registry_arn(q->registry, cm_reg_kind_name(CM_REG_GROUP), item->name, arn, sizeof arn));
    return json_pack("{s:s, s:s}", "groupName", item->name, "groupArn", arn);
}

cm_err cm_op_thing_groups(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    CM_TRY(check_there(q, no));
    return cm_op_list(q, CM_REG_LIST_GROUPS_OF, q->arg[0], CM_OP_TOKENS, "thingGroups", render_group, out,
                      no);
}

/* ---- RegisterThing */

static cm_err give_resources(struct cm_op_request *q, const struct cm_template_done *done, json_t **out,
                             struct cm_svc_error *no)
{
    struct cm_reg_cert cert = { 0 };
    char thing[CM_SVC_ARN], policy[CM_SVC_ARN];

    CM_ASSERT(cm_registry_arn(q->registry, "thing", done->thing, thing, sizeof thing));
    CM_ASSERT(cm_registry_arn(q->registry, "policy", done->policy, policy, sizeof policy));
    CM_TRY(cm_reg_cert_find(q->registry, done->certificate_id, &cert, no));
    json_t *const made = json_pack("{s:s, s:{s:s, s:s*, s:s*}}", "certificatePem", cert.pem, "resourceArns",
                                   "certificate", cert.arn, "thing", done->thing[0] != '\0' ? thing : NULL,
                                   "policy", done->policy[0] != '\0' ? policy : NULL);
    cm_reg_cert_done(&cert);
    return cm_op_give(made, out, no);
}

cm_err cm_op_thing_register(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    struct cm_template_done done = { 0 };
    struct cm_template *t = NULL;
    const char *body = NULL;

    CM_TRY(cm_op_needed(q, "templateBody", CM_AWS_TEMPLATE_MAX, &body, no));
    CM_TRY(cm_template_parse(cm_span_str(body), &t, no));
    const cm_err rc =
        cm_template_provision(q->registry, t, json_object_get(q->body, "parameters"), &done, no);
    cm_template_free(t);
    CM_TRY(rc);
    return give_resources(q, &done, out, no);
}
