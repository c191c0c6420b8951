#include "rehearsal/policy_impl.h"

#include "io/awslimits.h"
#include "io/jsonread.h"

#include <ctype.h>
#include <stdlib.h>

/* TO SUPPORT A CONDITION OPERATOR: a row, and a case in tests/test_policy.c. */
static const struct cm_policy_operator operators[] = {
    { "StringEquals", .compares = CM_POLICY_EQUAL },
    { "StringNotEquals", .compares = CM_POLICY_EQUAL, .negated = true },
    { "StringEqualsIgnoreCase", .compares = CM_POLICY_CASELESS },
    { "StringNotEqualsIgnoreCase", .compares = CM_POLICY_CASELESS, .negated = true },
    { "StringLike", .compares = CM_POLICY_LIKE },
    { "StringNotLike", .compares = CM_POLICY_LIKE, .negated = true },
    { "ArnEquals", .compares = CM_POLICY_LIKE },
    { "ArnNotEquals", .compares = CM_POLICY_LIKE, .negated = true },
    { "ArnLike", .compares = CM_POLICY_LIKE },
    { "ArnNotLike", .compares = CM_POLICY_LIKE, .negated = true },
    { "Bool", .compares = CM_POLICY_CASELESS },
    { "Null", .asks_absence = true },
};

bool cm_policy_operator_find(const char *name, struct cm_policy_test *out)
{
    static const char all[] = "ForAllValues:", any[] = "ForAnyValue:", if_exists[] = "IfExists";
    struct cm_policy_test t = { .every = CM_POLICY_FIRST };

    if (strncmp(name, all, strlen(all)) == 0) {
        t.every = CM_POLICY_ALL;
        name += strlen(all);
    } else if (strncmp(name, any, strlen(any)) == 0) {
        t.every = CM_POLICY_ANY;
        name += strlen(any);
    }
    for (size_t i = 0; i < CM_COUNT(operators); i++) {
        const size_t len = strlen(operators[i].name);
        if (strncmp(name, operators[i].name, len) != 0)
            continue;
        t.if_exists = strcmp(name + len, if_exists) == 0;
        if (name[len] != '\0' && (!t.if_exists || operators[i].asks_absence))
            continue;
        t.op = &operators[i];
        *out = t;
        return true;
    }
    return false;
}

#define MALFORMED(no, ...)                                                                                   \
    CM_REFUSE(no, CM_SVC_MALFORMED_POLICY, "Policy document is Malformed: " __VA_ARGS__)

/* Calls check for the one string, or for each of a list that is not empty. */
static cm_err each_string(const json_t *value, const char *what,
                          cm_err (*check)(const char *text, struct cm_svc_error *no), struct cm_svc_error *no)
{
    const size_t count = json_is_array(value) ? json_array_size(value) : 1;

    if (count == 0)
        MALFORMED(no, "%s is an empty list", what);
    for (size_t i = 0; i < count; i++) {
        const json_t *const item = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_string(item))
            MALFORMED(no, "%s must be a string or a list of strings", what);
        if (strlen(json_string_value(item)) != json_string_length(item))
            MALFORMED(no, "%s has a NUL in it", what);
        CM_TRY(check(json_string_value(item), no));
    }
    return CM_OK;
}

static cm_err check_action(const char *text, struct cm_svc_error *no)
{
    const size_t service = strspn(text, "abcdefghijklmnopqrstuvwxyz-");

    if (strcmp(text, "*") == 0)
        return CM_OK;
    if (service == 0 || text[service] != ':' || text[service + 1] == '\0')
        MALFORMED(no, "Action \"%.60s\" is not SERVICE:NAME, like iot:Connect", text);
    for (const char *p = text + service + 1; *p != '\0'; p++)
        if (!isalnum((unsigned char) *p) && *p != '*' && *p != '?')
            MALFORMED(no, "Action \"%.60s\" has a character that no action has", text);
    return CM_OK;
}

static cm_err check_resource(const char *text, struct cm_svc_error *no)
{
    const char *open = text;

    if (strcmp(text, "*") != 0 && strncmp(text, "arn:", 4) != 0)
        MALFORMED(no, "Resource \"%.80s\" is neither an ARN nor \"*\"", text);
    while ((open = strstr(open, "${")) != NULL) {
        open += 2;
        if (open[strcspn(open, "}")] == '\0')
            MALFORMED(no, "Resource \"%.80s\" has a ${ without its }", text);
    }
    return CM_OK;
}

static cm_err check_any(const char *text, struct cm_svc_error *no)
{
    (void) text;
    (void) no;
    return CM_OK;
}

static cm_err check_condition(const json_t *condition, struct cm_svc_error *no)
{
    struct cm_policy_test test;
    const char *name, *key;
    json_t *keys, *values;

    if (!json_is_object(condition))
        MALFORMED(no, "Condition must be an object");
    json_object_foreach(cm_json_each(condition), name, keys)
    {
        if (!cm_policy_operator_find(name, &test))
            MALFORMED(no, "Condition operator \"%.60s\" is none that is evaluated here", name);
        if (!json_is_object(keys) || json_object_size(keys) == 0)
            MALFORMED(no, "Condition \"%.60s\" must be an object of keys", name);
        json_object_foreach(keys, key, values)
        {
            if (!json_is_boolean(values))
                CM_TRY(each_string(values, key, check_any, no));
        }
    }
    return CM_OK;
}

static cm_err check_key(const char *key, const char *const *known, const char *where, struct cm_svc_error *no)
{
    for (; *known != NULL; known++)
        if (strcmp(key, *known) == 0)
            return CM_OK;
    MALFORMED(no, "%s has a member \"%.60s\", which is not evaluated here", where, key);
}

static cm_err check_statement(const json_t *statement, struct cm_svc_error *no)
{
    static const char *const known[] = { "Sid", "Effect", "Action", "Resource", "Condition", NULL };
    const char *key, *const effect = json_string_value(json_object_get(statement, "Effect"));
    const json_t *const condition = json_object_get(statement, "Condition");
    json_t *value;

    if (!json_is_object(statement))
        MALFORMED(no, "a Statement must be an object");
    json_object_foreach(cm_json_each(statement), key, value)
    {
        CM_TRY(check_key(key, known, "a Statement", no));
    }
    if (effect == NULL || (strcmp(effect, "Allow") != 0 && strcmp(effect, "Deny") != 0))
        MALFORMED(no, "Effect must be Allow or Deny");
    if (json_object_get(statement, "Action") == NULL || json_object_get(statement, "Resource") == NULL)
        MALFORMED(no, "a Statement needs Action and Resource");
    CM_TRY(each_string(json_object_get(statement, "Action"), "Action", check_action, no));
    CM_TRY(each_string(json_object_get(statement, "Resource"), "Resource", check_resource, no));
    return condition != NULL ? check_condition(condition, no) : CM_OK;
}

static cm_err check_document(const json_t *doc, struct cm_svc_error *no)
{
    static const char *const known[] = { "Version", "Id", "Statement", NULL };
    const char *key, *const version = json_string_value(json_object_get(doc, "Version"));
    const json_t *const statement = json_object_get(doc, "Statement");
    const size_t count = json_is_array(statement) ? json_array_size(statement) : 1;
    json_t *value;

    if (!json_is_object(doc))
        MALFORMED(no, "it must be an object");
    json_object_foreach(cm_json_each(doc), key, value)
    {
        CM_TRY(check_key(key, known, "it", no));
    }
    if (version == NULL || strcmp(version, "2012-10-17") != 0)
        MALFORMED(no, "Version must be \"2012-10-17\": only there are variables replaced");
    if (statement == NULL || count == 0)
        MALFORMED(no, "it has no Statement");
    for (size_t i = 0; i < count; i++)
        CM_TRY(check_statement(json_is_array(statement) ? json_array_get(statement, i) : statement, no));
    return CM_OK;
}

static cm_err check_size(struct cm_span document, struct cm_svc_error *no)
{
    size_t characters = 0;

    for (size_t i = 0; i < document.len; i++)
        characters += !isspace(document.data[i]) && (document.data[i] & 0xc0) != 0x80;
    if (characters > CM_AWS_POLICY_MAX)
        MALFORMED(no, "it has %zu characters without white space, more than %d", characters,
                  CM_AWS_POLICY_MAX);
    return CM_OK;
}

cm_err cm_policy_parse(struct cm_span document, struct cm_policy **out, struct cm_svc_error *no)
{
    struct cm_policy *p = NULL;
    json_error_t why = { 0 };
    json_t *doc = NULL;

    CM_TRY(check_size(document, no));
    CM_TRY(cm_json_read(document, &doc, &why, &no->base));
    if (doc == NULL)
        MALFORMED(no, "no JSON, line %d: %.100s", why.line, why.text);
    cm_err rc = check_document(doc, no);
    if (rc == CM_OK && (p = calloc(1, sizeof *p)) == NULL)
        rc = cm_fail(&no->base, CM_E_NOMEM, CM_HERE, "out of memory for a policy");
    if (rc != CM_OK) {
        json_decref(doc);
        return rc;
    }
    p->doc = doc;
    *out = p;
    return CM_OK;
}

void cm_policy_free(struct cm_policy *p)
{
    if (p == NULL)
        return;
    json_decref(p->doc);
    free(p);
}
