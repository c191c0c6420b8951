#include "engine/dercheck.h"
#include "engine/derread.h"

enum { DEPTH_MAX = 16 };

/* ---- character strings ---- */

/* The octets of the UTF-8 character at data, 0 when it is malformed (RFC 3629:
 * overlong forms and surrogates included). *cp: its code point. */
static size_t utf8_one(const uint8_t *data, size_t len, uint32_t *cp)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    const uint8_t c = data[0];
    const size_t n = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;

    if (n == 0 || n > len)
        return 0;
    *cp = n == 1 ? c : c & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if (data[i] >> 6 != 2)
            return 0;
        *cp = *cp << 6 | (data[i] & 0x3f);
    }
    if (*cp < least[n] || *cp > 0x10ffff || (*cp >= 0xd800 && *cp <= 0xdfff))
        return 0;
    return n;
}

static cm_err check_utf8(struct cm_span s, const char *what, size_t *chars, struct cm_error *err)
{
    size_t n = 0;

    *chars = 0;
    for (size_t at = 0; at < s.len; at += n, ++*chars) {
        uint32_t cp = 0;
        n = utf8_one(s.data + at, s.len - at, &cp);
        if (n == 0)
            CM_FAIL(err, CM_E_INPUT, "%s: not UTF-8 at octet %zu", what, at);
        if (cp < 0x20 || (cp >= 0x7f && cp < 0xa0))
            CM_FAIL(err, CM_E_INPUT, "%s: control character %02x", what, (unsigned) cp);
    }
    return CM_OK;
}

static bool in_alphabet(uint8_t tag, uint8_t c)
{
    const bool digit = c >= '0' && c <= '9';
    const bool alnum = digit || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');

    if (tag == CM_TAG_NUMERIC)
        return digit || c == ' ';
    if (tag == CM_TAG_PRINTABLE)
        return alnum || (c != 0 && strchr(" '()+,-./:=?", c) != NULL);
    return c >= 0x20 && c < 0x7f; /* IA5String without controls, VisibleString */
}

cm_err cm_derread_string(uint8_t tag, struct cm_span content, const char *what, size_t *chars,
                         struct cm_error *err)
{
    if (tag == CM_TAG_UTF8)
        return check_utf8(content, what, chars, err);
    if (tag != CM_TAG_PRINTABLE && tag != CM_TAG_IA5 && tag != CM_TAG_NUMERIC && tag != CM_TAG_VISIBLE)
        CM_FAIL(err, CM_E_INPUT, "%s: tag %02x isn't a permitted string type", what, tag);
    for (size_t i = 0; i < content.len; i++)
        if (!in_alphabet(tag, content.data[i]))
            CM_FAIL(err, CM_E_INPUT, "%s: octet %02x isn't in the alphabet of string type %02x", what,
                    content.data[i], tag);
    *chars = content.len;
    return CM_OK;
}

/* ---- any element, all the way down ---- */

static cm_err check_primitive(uint8_t tag, struct cm_span c, const char *what, struct cm_error *err)
{
    struct cm_derread_time time;
    size_t chars = 0;

    switch (tag) {
    case CM_TAG_BOOLEAN:
        return cm_dercheck_boolean(c, what, err);
    case CM_TAG_INTEGER:
    case CM_TAG_ENUMERATED:
        return cm_dercheck_integer(c, what, err);
    case CM_TAG_BIT_STRING:
        return cm_dercheck_bits(c, what, err);
    case CM_TAG_OID:
        return cm_dercheck_oid(c, what, err);
    case CM_TAG_NULL:
        return cm_derread_end(c, what, err);
    case CM_TAG_UTCTIME:
    case CM_TAG_GENERALIZEDTIME:
        return cm_dercheck_time(tag, c, what, &time, err);
    case CM_TAG_OCTET_STRING:
        return CM_OK;
    default:
        return cm_derread_string(tag, c, what, &chars, err);
    }
}

/* X.690 11.6: the elements of a SET OF ascend as octet strings. None is the beginning of a
 * longer one, because its length stands in front. */
static bool ascends(struct cm_span before, struct cm_span after)
{
    const size_t common = before.len < after.len ? before.len : after.len;

    return memcmp(before.data, after.data, common) <= 0;
}

static cm_err check_level(struct cm_span in, const char *what, unsigned depth, bool is_set,
                          struct cm_error *err)
{
    struct cm_span before = { 0 };

    if (depth > DEPTH_MAX)
        CM_FAIL(err, CM_E_INPUT, "%s: nested deeper than %d levels", what, DEPTH_MAX);
    while (in.len > 0) {
        struct cm_span c, whole;
        uint8_t tag = 0;
        CM_TRY(cm_derread_any(&in, what, &tag, &c, &whole, err));
        const bool universal = tag >> 6 == 0;
        if (universal && (tag & 0x20) != 0 && tag != CM_TAG_SEQUENCE && tag != CM_TAG_SET)
            CM_FAIL(err, CM_E_INPUT, "%s: tag %02x, a string in pieces", what, tag);
        if ((tag & 0x20) != 0)
            CM_TRY(check_level(c, what, depth + 1, tag == CM_TAG_SET, err));
        else if (universal)
            CM_TRY(check_primitive(tag, c, what, err));
        if (is_set && before.data != NULL && !ascends(before, whole))
            CM_FAIL(err, CM_E_INPUT, "%s: a SET OF that isn't in order", what);
        before = whole;
    }
    return CM_OK;
}

cm_err cm_derread_check(struct cm_span der, const char *what, struct cm_error *err)
{
    struct cm_span rest = der;
    uint8_t tag = 0;

    CM_TRY(cm_derread_any(&rest, what, &tag, NULL, NULL, err));
    CM_TRY(cm_derread_end(rest, what, err));
    return check_level(der, what, 0, false, err);
}
