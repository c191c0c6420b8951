#include "rehearsal/template_impl.h"

#include "io/awslimits.h"
#include "io/jsonread.h"
#include "io/jsontext.h"

#include <stdlib.h>
#include <string.h>

#define WRONG(no, ...) CM_REFUSE(no, CM_SVC_INVALID, "Invalid template body: " __VA_ARGS__)

/* A word is one of a list that ends with NULL. */
static bool is_one_of(const char *word, const char *const *list)
{
    for (; *list != NULL; list++)
        if (strcmp(word, *list) == 0)
            return true;
    return false;
}

static cm_err check_keys(const json_t *object, const char *const *known, const char *where,
                         struct cm_svc_error *no)
{
    const char *key;
    json_t *value;

    if (!json_is_object(object))
        WRONG(no, "%s must be an object", where);
    json_object_foreach(cm_json_each(object), key, value)
    {
        if (!is_one_of(key, known))
            WRONG(no, "%s has a member \"%.80s\", which templates for JITP and bulk registration don't have",
                  where, key);
    }
    return CM_OK;
}

static cm_err check_parameters(const json_t *parameters, struct cm_svc_error *no)
{
    static const char *const known[] = { "Type", "Default", NULL };
    const char *name;
    json_t *value;

    if (parameters == NULL)
        return CM_OK;
    if (!json_is_object(parameters))
        WRONG(no, "Parameters must be an object");
    json_object_foreach(cm_json_each(parameters), name, value)
    {
        const char *const type = json_string_value(json_object_get(value, "Type"));
        CM_TRY(check_keys(value, known, "a parameter", no));
        if (type == NULL || strcmp(type, "String") != 0)
            WRONG(no, "parameter %.80s must have the Type String", name);
        if (json_object_get(value, "Default") != NULL && !json_is_string(json_object_get(value, "Default")))
            WRONG(no, "the Default of parameter %.80s must be a string", name);
    }
    return CM_OK;
}

/* The functions of fleet provisioning are seen wherever they stand. */
static cm_err check_values(const json_t *value, struct cm_svc_error *no)
{
    const char *key;
    json_t *member;
    size_t i;

    if (json_is_array(value)) {
        json_array_foreach(cm_json_each(value), i, member)
        {
            CM_TRY(check_values(member, no));
        }
        return CM_OK;
    }
    if (!json_is_object(value)) {
        if (!json_is_string(value))
            WRONG(no, "values must be strings");
        return CM_OK;
    }
    json_object_foreach(cm_json_each(value), key, member)
    {
        if (strncmp(key, "Fn::", 4) == 0)
            WRONG(no, "%.40s is for fleet provisioning only", key);
        if (strcmp(key, "Ref") == 0 && !json_is_string(member))
            WRONG(no, "Ref must name a parameter");
        CM_TRY(check_values(member, no));
    }
    return CM_OK;
}

static cm_err check_override(const json_t *override, const char *const *known, struct cm_svc_error *no)
{
    static const char *const all[] = { "DO_NOTHING", "REPLACE", "FAIL", "MERGE", NULL };
    const char *key;
    json_t *value;

    if (override == NULL)
        return CM_OK;
    CM_TRY(check_keys(override, known, "OverrideSettings", no));
    json_object_foreach(cm_json_each(override), key, value)
    {
        const char *const how = json_string_value(value);
        if (how == NULL || !is_one_of(how, all))
            WRONG(no, "the override setting of %s must be DO_NOTHING, REPLACE, FAIL or MERGE", key);
        if (strcmp(how, "MERGE") == 0 && strcmp(key, "AttributePayload") != 0 &&
            strcmp(key, "ThingGroups") != 0)
            WRONG(no, "%s can't be merged", key);
    }
    return CM_OK;
}

static cm_err check_thing(const json_t *p, const json_t *override, struct cm_svc_error *no)
{
    static const char *const known[] = { "ThingName",   "AttributePayload", "ThingTypeName",
                                         "ThingGroups", "BillingGroup",     NULL };
    static const char *const overridden[] = { "AttributePayload", "ThingTypeName", "ThingGroups", NULL };

    CM_TRY(check_keys(p, known, "the thing", no));
    if (json_object_get(p, "ThingName") == NULL)
        WRONG(no, "the thing has no ThingName");
    return check_override(override, overridden, no);
}

static cm_err check_certificate(const json_t *p, const json_t *override, struct cm_svc_error *no)
{
    static const char *const known[] = { "CertificateSigningRequest", "CertificateId", "CertificatePem",
                                         "CACertificatePem",          "Status",        NULL };
    static const char *const overridden[] = { "Status", NULL };
    const bool id = json_object_get(p, "CertificateId") != NULL;
    const bool pem = json_object_get(p, "CertificatePem") != NULL;

    CM_TRY(check_keys(p, known, "the certificate", no));
    if (json_object_get(p, "CertificateSigningRequest") != NULL)
        WRONG(no, "CertificateSigningRequest has AWS IoT issue the certificate, which is not rehearsed here");
    if (id == pem)
        WRONG(no, "the certificate needs either CertificateId or CertificatePem");
    if (!pem && json_object_get(p, "CACertificatePem") != NULL)
        WRONG(no, "CACertificatePem goes with CertificatePem only");
    return check_override(override, overridden, no);
}

static cm_err check_policy(const json_t *p, const json_t *override, struct cm_svc_error *no)
{
    static const char *const known[] = { "PolicyName", "PolicyDocument", NULL };

    CM_TRY(check_keys(p, known, "the policy", no));
    if ((json_object_get(p, "PolicyName") != NULL) == (json_object_get(p, "PolicyDocument") != NULL))
        WRONG(no, "a policy needs either PolicyName or PolicyDocument");
    if (override != NULL)
        WRONG(no, "a policy has no OverrideSettings");
    return CM_OK;
}

static const struct {
    const char *type;
    cm_err (*check)(const json_t *properties, const json_t *override, struct cm_svc_error *no);
    bool once;
} types[] = {
    [CM_TEMPLATE_THING] = { "AWS::IoT::Thing", check_thing, true },
    [CM_TEMPLATE_CERTIFICATE] = { "AWS::IoT::Certificate", check_certificate, true },
    [CM_TEMPLATE_POLICY] = { "AWS::IoT::Policy", check_policy, false },
};

static cm_err check_resource(const json_t *resource, size_t seen[CM_COUNT(types)], struct cm_svc_error *no)
{
    static const char *const known[] = { "Type", "Properties", "OverrideSettings", NULL };
    const json_t *const properties = json_object_get(resource, "Properties");
    const char *const type = json_string_value(json_object_get(resource, "Type"));
    size_t i = 0;

    CM_TRY(check_keys(resource, known, "a resource", no));
    while (i < CM_COUNT(types) && (type == NULL || strcmp(type, types[i].type) != 0))
        i++;
    if (i == CM_COUNT(types))
        WRONG(no, "a resource must be of Type AWS::IoT::Thing, AWS::IoT::Certificate or AWS::IoT::Policy");
    if (properties == NULL)
        WRONG(no, "%s has no Properties", type);
    if (++seen[i] > 1 && types[i].once)
        WRONG(no, "%s is there twice", type);
    CM_TRY(check_values(properties, no));
    return types[i].check(properties, json_object_get(resource, "OverrideSettings"), no);
}

static cm_err check_body(const json_t *body, struct cm_svc_error *no)
{
    static const char *const known[] = { "Parameters", "Resources", NULL };
    const json_t *const resources = json_object_get(body, "Resources");
    size_t seen[CM_COUNT(types)] = { 0 };
    const char *name;
    json_t *resource;

    CM_TRY(check_keys(body, known, "it", no));
    CM_TRY(check_parameters(json_object_get(body, "Parameters"), no));
    if (!json_is_object(resources))
        WRONG(no, "it has no Resources");
    json_object_foreach(cm_json_each(resources), name, resource)
    {
        CM_TRY(check_resource(resource, seen, no));
    }
    if (seen[CM_TEMPLATE_CERTIFICATE] == 0)
        WRONG(no, "it has no AWS::IoT::Certificate");
    return CM_OK;
}

cm_err cm_template_parse(struct cm_span body, struct cm_template **out, struct cm_svc_error *no)
{
    struct cm_template *t = NULL;
    json_error_t why = { 0 };
    json_t *read = NULL;

    if (body.len > CM_AWS_TEMPLATE_MAX)
        WRONG(no, "%zu characters, more than %d", body.len, CM_AWS_TEMPLATE_MAX);
    CM_TRY(cm_json_read(body, &read, &why, &no->base));
    if (read == NULL)
        WRONG(no, "no JSON, line %d: %.100s", why.line, why.text);
    cm_err rc = check_body(read, no);
    if (rc == CM_OK && (t = calloc(1, sizeof *t)) == NULL)
        rc = cm_fail(&no->base, CM_E_NOMEM, CM_HERE, "out of memory for a template");
    if (rc != CM_OK) {
        json_decref(read);
        return rc;
    }
    t->body = read;
    *out = t;
    return CM_OK;
}

void cm_template_free(struct cm_template *t)
{
    if (t == NULL)
        return;
    json_decref(t->body);
    free(t);
}

/* ---- Evaluating */

static cm_err no_memory(struct cm_svc_error *no)
{
    CM_FAIL(&no->base, CM_E_NOMEM, "out of memory for a template");
}

static cm_err reference(const struct cm_template *t, const json_t *parameters, const char *name, json_t **out,
                        struct cm_svc_error *no)
{
    const json_t *const declared = json_object_get(json_object_get(t->body, "Parameters"), name);
    json_t *value = declared != NULL ? json_object_get(parameters, name) : NULL;

    if (value == NULL)
        value = json_object_get(declared, "Default");
    if (!json_is_string(value))
        CM_REFUSE(no, CM_SVC_REGISTRATION, "Cannot resolve reference value: {Ref=%.200s}", name);
    *out = json_incref(value);
    return CM_OK;
}

static cm_err resolve(const struct cm_template *t, const json_t *parameters, const json_t *in, json_t **out,
                      struct cm_svc_error *no)
{
    json_t *made = NULL, *member, *value = NULL;
    cm_err rc = CM_OK;
    const char *key;
    size_t i;

    if (json_is_object(in) && json_object_size(in) == 1 && json_object_get(in, "Ref") != NULL)
        return reference(t, parameters, json_string_value(json_object_get(in, "Ref")), out, no);
    if (json_is_string(in)) {
        *out = json_incref(cm_json_each(in));
        return CM_OK;
    }
    made = json_is_array(in) ? json_array() : json_object();
    if (made == NULL)
        return no_memory(no);
    json_array_foreach(cm_json_each(in), i, member)
    {
        if (rc == CM_OK)
            rc = resolve(t, parameters, member, &value, no);
        if (rc == CM_OK && json_array_append_new(made, value) != 0)
            rc = no_memory(no);
    }
    json_object_foreach(cm_json_each(in), key, member)
    {
        if (rc == CM_OK)
            rc = resolve(t, parameters, member, &value, no);
        if (rc == CM_OK && json_object_set_new(made, key, value) != 0)
            rc = no_memory(no);
    }
    if (rc != CM_OK)
        json_decref(made);
    else
        *out = made;
    return rc;
}

/* What is declared needs a value, used or not. */
static cm_err check_given(const struct cm_template *t, const json_t *parameters, struct cm_svc_error *no)
{
    const char *name;
    json_t *declared, *value = NULL;

    json_object_foreach(json_object_get(t->body, "Parameters"), name, declared)
    {
        CM_TRY(reference(t, parameters, name, &value, no));
        json_decref(value);
    }
    return CM_OK;
}

static cm_err put_resource(const struct cm_template *t, const json_t *parameters, const json_t *resource,
                           json_t *out, struct cm_svc_error *no)
{
    const char *const type = json_string_value(json_object_get(resource, "Type"));
    json_t *const override = json_object_get(resource, "OverrideSettings");
    json_t *p = NULL;
    int bad = 0;

    CM_TRY(resolve(t, parameters, json_object_get(resource, "Properties"), &p, no));
    if (override != NULL)
        bad = json_object_set(p, "_override", override);
    if (strcmp(type, types[CM_TEMPLATE_POLICY].type) == 0)
        bad |= json_array_append_new(json_object_get(out, "policies"), p);
    else
        bad |= json_object_set_new(
            out, strcmp(type, types[CM_TEMPLATE_THING].type) == 0 ? "thing" : "certificate", p);
    return bad != 0 ? no_memory(no) : CM_OK;
}

cm_err cm_template_evaluate(const struct cm_template *t, const json_t *parameters, json_t **out,
                            struct cm_svc_error *no)
{
    json_t *const made = json_pack("{s:[]}", "policies");
    const char *name;
    json_t *resource;

    if (made == NULL)
        return no_memory(no);
    cm_err rc = check_given(t, parameters, no);
    json_object_foreach(json_object_get(t->body, "Resources"), name, resource)
    {
        if (rc == CM_OK)
            rc = put_resource(t, parameters, resource, made, no);
    }
    if (rc != CM_OK)
        json_decref(made);
    else
        *out = made;
    return rc;
}
