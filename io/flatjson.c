#include "io/flatjson.h"

#include <stddef.h>

/* The place in the line, and in the buffer of decoded texts. */
struct parse {
    const uint8_t *at, *end;
    uint8_t *text;
    const char *fault;
};

static bool fail(struct parse *p, const char *why)
{
    p->fault = why;
    return false;
}

static void skip_space(struct parse *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\t' || *p->at == '\r' || *p->at == '\n'))
        p->at++;
}

static bool take(struct parse *p, char c)
{
    skip_space(p);
    if (p->at == p->end || *p->at != (uint8_t) c)
        return false;
    p->at++;
    return true;
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Four hexadecimal digits; -1: there are none. */
static int32_t take_unit(struct parse *p)
{
    int32_t unit = 0;

    for (int i = 0; i < 4; i++) {
        const int digit = p->at < p->end ? hex_digit(*p->at++) : -1;
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* No longer than its escape. */
static void put_utf8(struct parse *p, uint32_t c)
{
    if (c < 0x80) {
        *p->text++ = (uint8_t) c;
        return;
    }
    const int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    *p->text++ = (uint8_t) ((0xf0 << (3 - more) & 0xff) | c >> (6 * more));
    for (int i = more - 1; i >= 0; i--)
        *p->text++ = (uint8_t) (0x80 | (c >> (6 * i) & 0x3f));
}

/* Behind "\u": one character, of two surrogates perhaps. */
static bool take_unicode(struct parse *p)
{
    int32_t c = take_unit(p);

    if (c == 0)
        return fail(p, "a zero octet (\\u0000)");
    if (c >= 0xd800 && c < 0xdc00 && p->end - p->at >= 2 && p->at[0] == '\\' && p->at[1] == 'u') {
        p->at += 2;
        const int32_t low = take_unit(p);
        c = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00) : -1;
    }
    if (c < 0 || (c >= 0xd800 && c < 0xe000))
        return fail(p, "a \\u that is no character");
    put_utf8(p, (uint32_t) c);
    return true;
}

static bool take_escape(struct parse *p)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *known = NULL;

    if (p->at == p->end)
        return fail(p, "a string that is not closed");
    const uint8_t c = *p->at++;
    if (c == 'u')
        return take_unicode(p);
    known = c != 0 ? strchr(from, c) : NULL;
    if (known == NULL)
        return fail(p, "a backslash that escapes nothing");
    *p->text++ = (uint8_t) to[known - from];
    return true;
}

/* The rest of a string from its first escape on; what was before it lies at from. */
static bool take_escaped(struct parse *p, const uint8_t *from, struct cm_span *out)
{
    uint8_t *const text = p->text;

    memcpy(p->text, from, (size_t) (p->at - from));
    p->text += p->at - from;
    while (p->at < p->end) {
        const uint8_t c = *p->at++;
        if (c == '"') {
            *out = cm_span(text, (size_t) (p->text - text));
            return true;
        }
        if (c < 0x20)
            return fail(p, "a control character in a string");
        if (c != '\\')
            *p->text++ = c;
        else if (!take_escape(p))
            return false;
    }
    return fail(p, "a string that is not closed");
}

/* Behind the opening quote. Without escapes, as most are, it is not copied. */
static bool take_string(struct parse *p, struct cm_span *out)
{
    const uint8_t *const from = p->at;

    while (p->at < p->end && *p->at >= 0x20 && *p->at != '"' && *p->at != '\\')
        p->at++;
    if (p->at < p->end && *p->at == '\\')
        return take_escaped(p, from, out);
    if (p->at == p->end || *p->at != '"')
        return fail(p, p->at == p->end ? "a string that is not closed" : "a control character in a string");
    *out = cm_span(from, (size_t) (p->at - from));
    p->at++;
    return true;
}

static bool take_digits(struct parse *p)
{
    const uint8_t *const from = p->at;

    while (p->at < p->end && *p->at >= '0' && *p->at <= '9')
        p->at++;
    return p->at > from;
}

static bool take_number(struct parse *p, struct cm_span *out)
{
    const uint8_t *const from = p->at;

    p->at += *p->at == '-';
    const bool zero = p->at < p->end && *p->at == '0';
    const uint8_t *const digits = p->at;
    bool good = take_digits(p) && (!zero || p->at - digits == 1);
    if (good && p->at < p->end && *p->at == '.') {
        p->at++;
        good = take_digits(p);
    }
    if (good && p->at < p->end && (*p->at == 'e' || *p->at == 'E')) {
        p->at++;
        p->at += p->at < p->end && (*p->at == '+' || *p->at == '-');
        good = take_digits(p);
    }
    *out = cm_span(from, (size_t) (p->at - from));
    return good || fail(p, "a number that JSON does not know");
}

static bool take_word(struct parse *p, const char *word)
{
    const size_t len = strlen(word);

    if ((size_t) (p->end - p->at) < len || memcmp(p->at, word, len) != 0)
        return false;
    p->at += len;
    return true;
}

static bool take_value(struct parse *p, struct cm_span *out)
{
    const uint8_t *from = NULL;

    skip_space(p);
    if (p->at == p->end)
        return fail(p, "no value behind a key");
    from = p->at;
    if (take(p, '"'))
        return take_string(p, out);
    if (*from == '{' || *from == '[')
        return fail(p, "an object or array in a field; a field is a text, a number, true, false or null");
    if (*from == '-' || (*from >= '0' && *from <= '9'))
        return take_number(p, out);
    if (take_word(p, "null")) {
        *out = cm_span(from, 0);
        return true;
    }
    if (!take_word(p, "true") && !take_word(p, "false"))
        return fail(p, "a value that is no JSON");
    *out = cm_span(from, (size_t) (p->at - from));
    return true;
}

static bool take_field(struct parse *p, struct cm_flatjson *out)
{
    if (out->fields == CM_FLATJSON_FIELDS)
        return fail(p, "more than 256 fields");
    if (!take(p, '"'))
        return fail(p, "a key that is no string");
    if (!take_string(p, &out->key[out->fields]))
        return false;
    if (!take(p, ':'))
        return fail(p, "no colon behind a key");
    return take_value(p, &out->value[out->fields++]);
}

static bool take_object(struct parse *p, struct cm_flatjson *out)
{
    if (!take(p, '{'))
        return fail(p, "no JSON object");
    if (!take(p, '}')) {
        do {
            if (!take_field(p, out))
                return false;
        } while (take(p, ','));
        if (!take(p, '}'))
            return fail(p, "neither a comma nor the closing brace behind a value");
    }
    skip_space(p);
    return p->at == p->end || fail(p, "something behind the object");
}

const char *cm_flatjson_parse(struct cm_span line, uint8_t *text, struct cm_flatjson *out)
{
    struct parse p = { .at = line.data, .end = line.data + line.len, .text = text };

    out->fields = 0;
    (void) take_object(&p, out);
    return p.fault;
}
