#include "rehearsal/attributes.h"

#include "io/awslimits.h"
#include "io/jsontext.h"

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

enum { KEY_MAX = 128, VALUE_MAX = 800 };

cm_err cm_attributes_check_name(const char *what, const char *name, enum cm_svc kind, struct cm_svc_error *no)
{
    if (name == NULL || !cm_aws_thing_name(name))
        CM_REFUSE(
            no, kind,
            "1 validation error detected: Value '%.140s' at '%s' failed to satisfy constraint: Member must "
            "satisfy regular expression pattern: [a-zA-Z0-9:_-]{1,%d}",
            name != NULL ? name : "", what, CM_AWS_NAME_MAX);
    return CM_OK;
}

cm_err cm_attributes_check_policy(const char *name, struct cm_svc_error *no)
{
    if (name == NULL || name[0] == '\0' || strlen(name) > CM_AWS_NAME_MAX ||
        name[strspn(name, ALNUM "_+=,.@-")] != '\0')
        CM_REFUSE(no, CM_SVC_INVALID, "The policy name '%.140s' is not [a-zA-Z0-9_+=,.@-]{1,%d}",
                  name != NULL ? name : "", CM_AWS_NAME_MAX);
    return CM_OK;
}

static cm_err check_one(const char *key, const json_t *value, struct cm_svc_error *no)
{
    const char *const text = json_string_value(value);

    if (key[0] == '\0' || strlen(key) > KEY_MAX || key[strspn(key, ALNUM "_.,@/:#-")] != '\0')
        CM_REFUSE(no, CM_SVC_INVALID, "The attribute name \"%.140s\" is not [a-zA-Z0-9_.,@/:#-]{1,%d}", key,
                  KEY_MAX);
    if (text == NULL || strlen(text) > VALUE_MAX || text[strspn(text, ALNUM "_.,@/:#=[]-")] != '\0')
        CM_REFUSE(no, CM_SVC_INVALID, "The value of attribute %.128s is not [a-zA-Z0-9_.,@/:#=[]-]{0,%d}",
                  key, VALUE_MAX);
    return CM_OK;
}

cm_err cm_attributes_check(const json_t *attributes, bool typed, struct cm_svc_error *no)
{
    const size_t max = typed ? CM_AWS_ATTRIBUTES_TYPED : CM_AWS_ATTRIBUTES_BARE;
    const char *key;
    json_t *value;

    if (attributes == NULL)
        return CM_OK;
    if (!json_is_object(attributes))
        CM_REFUSE(no, CM_SVC_INVALID, "The attributes of a thing must be an object of strings");
    if (json_object_size(attributes) > max)
        CM_REFUSE(no, CM_SVC_INVALID, "Attribute limit exceeded: %zu, at most %zu for a thing %s a type",
                  json_object_size(attributes), max, typed ? "with" : "without");
    json_object_foreach(cm_json_each(attributes), key, value)
    {
        CM_TRY(check_one(key, value, no));
    }
    return CM_OK;
}
