/* Goal: a line of NDJSON is read as RFC 8259 means it, number by number and escape by escape, and what is no
 * flat object is refused with the reason. Method: texts with their fields or words of their refusal; each is
 * given to jansson, too, which must agree (fuzz_flatjson does the same with any octets). */
#include "io/flatjson.h"

#include "engine/err.h"

#include <criterion/criterion.h>
#include <jansson.h>

static const struct {
    const char *text, *fields; /* "key=value;", NULL: refused */
    const char *words;         /* of the refusal */
} cases[] = {
    { "{}", "", NULL },
    { " { } ", "", NULL },
    { "{\"a\":\"b\"}", "a=b;", NULL },
    { "\t{ \"a\" : \"b\" ,\r\n\"c\":\"\" } ", "a=b;c=;", NULL },
    { "{\"a\":0,\"b\":-0,\"c\":12,\"d\":-1.50,\"e\":1e5,\"f\":1.0E-2,\"g\":2e+0}",
      "a=0;b=-0;c=12;d=-1.50;e=1e5;f=1.0E-2;g=2e+0;", NULL },
    { "{\"a\":123456789012345678}", "a=123456789012345678;", NULL },
    { "{\"a\":true,\"b\":false,\"c\":null}", "a=true;b=false;c=;", NULL },
    { "{\"\\u0061\\\"\\\\\\/\\b\\f\\n\\r\\t\":\"x\\u00e9\\u65e5\\ud83d\\ude00y\"}",
      "a\"\\/\b\f\n\r\t=x\xc3\xa9\xe6\x97\xa5\xf0\x9f\x98\x80y;", NULL },
    { "{\"\xc3\xa4\":\"\xf0\x9f\x98\x80\",\"\":\"e\"}", "\xc3\xa4=\xf0\x9f\x98\x80;=e;", NULL },
    { "", NULL, "no JSON object" },
    { "[]", NULL, "no JSON object" },
    { "\"a\"", NULL, "no JSON object" },
    { "{\"a\":1", NULL, "neither a comma" },
    { "{\"a\":1 \"b\":2}", NULL, "neither a comma" },
    { "{\"a\":1,}", NULL, "a key that is no string" },
    { "{,}", NULL, "a key that is no string" },
    { "{a:1}", NULL, "a key that is no string" },
    { "{\"a\"}", NULL, "no colon" },
    { "{\"a\" 1}", NULL, "no colon" },
    { "{\"a\":}", NULL, "no JSON" },
    { "{\"a\":", NULL, "no value" },
    { "{\"a\":{}}", NULL, "an object or array in a field" },
    { "{\"a\":[1]}", NULL, "an object or array in a field" },
    { "{\"a\":1}x", NULL, "something behind the object" },
    { "{\"a\":1}{}", NULL, "something behind the object" },
    { "{\"a\":01}", NULL, "a number" },
    { "{\"a\":-}", NULL, "a number" },
    { "{\"a\":1.}", NULL, "a number" },
    { "{\"a\":.5}", NULL, "no JSON" },
    { "{\"a\":1e}", NULL, "a number" },
    { "{\"a\":+1}", NULL, "no JSON" },
    { "{\"a\":0x1}", NULL, "neither a comma" },
    { "{\"a\":NaN}", NULL, "no JSON" },
    { "{\"a\":True}", NULL, "no JSON" },
    { "{\"a\":tru}", NULL, "no JSON" },
    { "{\"a\":nulls}", NULL, "neither a comma" },
    { "{\"a\":\"b}", NULL, "not closed" },
    { "{\"a\":\"b\\\"}", NULL, "not closed" },
    { "{\"a\":\"\\", NULL, "not closed" },
    { "{\"a\":\"\tb\"}", NULL, "a control character" },
    { "{\"a\":\"\\n\tb\"}", NULL, "a control character" },
    { "{\"a\":\"\\x\"}", NULL, "escapes nothing" },
    { "{\"a\":\"\\u12g4\"}", NULL, "no character" },
    { "{\"a\":\"\\u12\"}", NULL, "no character" },
    { "{\"a\":\"\\ud800\"}", NULL, "no character" },
    { "{\"a\":\"\\udc00\"}", NULL, "no character" },
    { "{\"a\":\"\\ud800\\u0041\"}", NULL, "no character" },
    { "{\"a\":\"\\u0000\"}", NULL, "a zero octet" },
};

/* In memory of just its size, so that a sanitizer sees one octet too far. */
static const char *parse(const char *line, uint8_t *text, struct cm_flatjson *o, uint8_t **copy)
{
    const size_t len = strlen(line);

    *copy = malloc(len + (len == 0));
    memcpy(*copy, line, len);
    return cm_flatjson_parse(cm_span(*copy, len), text, o);
}

Test(flatjson, texts_and_refusals)
{
    static struct cm_flatjson o;

    for (size_t i = 0; i < CM_COUNT(cases); i++) {
        uint8_t text[256], *copy = NULL;
        char got[256] = "";
        struct cm_writer w = cm_writer(got, sizeof got - 1);
        const char *const fault = parse(cases[i].text, text, &o, &copy);
        json_t *const theirs = json_loads(cases[i].text, JSON_REJECT_DUPLICATES, NULL);
        for (size_t k = 0; fault == NULL && k < o.fields; k++) {
            cm_put_span(&w, o.key[k]);
            cm_put_lit(&w, "=");
            cm_put_span(&w, o.value[k]);
            cm_put_lit(&w, ";");
        }
        if (cases[i].fields != NULL) {
            cr_expect_null(fault, "%s: %s", cases[i].text, fault);
            cr_expect_str_eq(got, cases[i].fields);
        } else {
            cr_assert_not_null(fault, "%s", cases[i].text);
            cr_expect_not_null(strstr(fault, cases[i].words), "%s: %s", cases[i].text, fault);
        }
        const bool nested = fault != NULL && strstr(fault, "an object or array") != NULL;
        cr_expect_eq(json_is_object(theirs), fault == NULL || nested, "jansson differs: %s", cases[i].text);
        json_decref(theirs);
        free(copy);
    }
}

Test(flatjson, as_many_fields_as_there_is_room_for)
{
    static struct cm_flatjson o;
    static char line[CM_FLATJSON_FIELDS * 16];
    static uint8_t text[sizeof line];

    for (int more = 0; more < 2; more++) {
        uint8_t *copy = NULL;
        char *at = line;
        for (int i = 0; i < CM_FLATJSON_FIELDS + more; i++)
            at += snprintf(at, 16, "%s\"%d\":%d", i == 0 ? "{" : ",", i, i);
        (void) snprintf(at, 2, "}");
        const char *const fault = parse(line, text, &o, &copy);
        cr_expect_eq(fault == NULL, more == 0);
        cr_expect(more == 0 ? o.fields == CM_FLATJSON_FIELDS : strcmp(fault, "more than 256 fields") == 0);
        free(copy);
    }
}
