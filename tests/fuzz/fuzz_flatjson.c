/* Targets: cm_flatjson_parse: any octets as a line of NDJSON. It takes a line exactly if jansson takes it and
 * it is flat, and both read the same keys and values from it. Left to its callers are UTF-8 and doubled keys;
 * numbers stay as they are written, where jansson refuses those that are too large for it, and passes over a
 * zero octet behind them. */
#include "engine/ident.h"
#include "io/flatjson.h"
#include "tests/fuzz/fuzz.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

static bool is_utf8(struct cm_span s)
{
    uint32_t code = 0;

    for (size_t i = 0, n = 0; i < s.len; i += n) {
        n = cm_utf8_next(s.data + i, s.len - i, &code);
        if (n == 0)
            return false;
    }
    return true;
}

/* Every key once. */
static bool is_distinct(const struct cm_flatjson *o)
{
    for (size_t i = 0; i < o->fields; i++)
        for (size_t k = 0; k < i; k++)
            if (cm_span_eq(o->key[i], o->key[k]))
                return false;
    return true;
}

static void expect_same(const struct cm_flatjson *o, const json_t *object)
{
    CM_ASSERT(json_object_size(object) == o->fields);
    for (size_t i = 0; i < o->fields; i++) {
        const json_t *const v = json_object_getn(object, (const char *) o->key[i].data, o->key[i].len);
        const struct cm_span is = o->value[i];
        CM_ASSERT(v != NULL && !json_is_object(v) && !json_is_array(v));
        if (json_is_string(v))
            CM_ASSERT(cm_span_eq(is, cm_span(json_string_value(v), json_string_length(v))));
        else if (json_is_boolean(v))
            CM_ASSERT(cm_span_eq(is, cm_span_str(json_is_true(v) ? "true" : "false")));
        else if (json_is_null(v))
            CM_ASSERT(is.len == 0);
        else {
            char number[64];
            (void) snprintf(number, sizeof number, "%.*s", (int) is.len, (const char *) is.data);
            CM_ASSERT(is.len >= sizeof number || strtod(number, NULL) == json_number_value(v));
        }
    }
}

static bool is_flat(const json_t *object)
{
    const char *key = NULL;
    json_t *value = NULL;

    json_object_foreach((json_t *) (uintptr_t) object, key,
                        value) if (json_is_object(value) || json_is_array(value)) return false;
    return json_is_object(object) && json_object_size(object) <= CM_FLATJSON_FIELDS;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct cm_flatjson o;
    uint8_t *const text = malloc(len + 1);
    json_error_t why;

    CM_ASSERT(text != NULL);
    const char *const fault = cm_flatjson_parse(cm_span(data, len), text, &o);
    json_t *const theirs = json_loadb((const char *) data, len, JSON_REJECT_DUPLICATES, &why);
    if (theirs != NULL && memchr(data, 0, len) == NULL)
        CM_ASSERT((fault == NULL) == is_flat(theirs));
    if (theirs != NULL && fault == NULL)
        CM_ASSERT(is_flat(theirs));
    if (theirs != NULL && fault == NULL)
        expect_same(&o, theirs);
    if (theirs == NULL && fault == NULL && is_utf8(cm_span(data, len)) && is_distinct(&o))
        CM_ASSERT(json_error_code(&why) == json_error_numeric_overflow);
    json_decref(theirs);
    free(text);
    return 0;
}
