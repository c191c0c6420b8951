#include "engine/derread.h"
#include "engine/dercheck.h"

enum { LENGTH_OCTETS_MAX = 3 };

/* The long form of a length: at points behind the first octet, which said n more. */
static cm_err long_length(const uint8_t *at, size_t n, const char *what, size_t *len, struct cm_error *err)
{
    *len = 0;
    for (size_t i = 0; i < n; i++)
        *len = *len << 8 | at[i];
    if (*len < 0x80 || at[0] == 0)
        CM_FAIL(err, CM_E_INPUT, "%s: the length isn't written in the fewest octets", what);
    return CM_OK;
}

cm_err cm_derread_any(struct cm_span *in, const char *what, uint8_t *tag, struct cm_span *content,
                      struct cm_span *whole, struct cm_error *err)
{
    size_t head = 2, len = 0;

    if (in->len < 2)
        CM_FAIL(err, CM_E_INPUT, "%s: missing or cut short", what);
    if ((in->data[0] & 0x1f) == 0x1f)
        CM_FAIL(err, CM_E_INPUT, "%s: a tag number above 30", what);
    len = in->data[1];
    if (len >= 0x80) {
        const size_t n = len & 0x7f;
        if (n == 0)
            CM_FAIL(err, CM_E_INPUT, "%s: indefinite length", what);
        if (n > LENGTH_OCTETS_MAX)
            CM_FAIL(err, CM_E_INPUT, "%s: a length of %zu octets", what, n);
        if (in->len < 2 + n)
            CM_FAIL(err, CM_E_INPUT, "%s: missing or cut short", what);
        CM_TRY(long_length(in->data + 2, n, what, &len, err));
        head += n;
    }
    if (len > in->len - head)
        CM_FAIL(err, CM_E_INPUT, "%s: reaches beyond what holds it", what);
    *tag = in->data[0];
    if (content != NULL)
        *content = cm_span(in->data + head, len);
    if (whole != NULL)
        *whole = cm_span(in->data, head + len);
    *in = cm_span(in->data + head + len, in->len - head - len);
    return CM_OK;
}

cm_err cm_derread_take(struct cm_span *in, uint8_t tag, const char *what, struct cm_span *content,
                       struct cm_span *whole, struct cm_error *err)
{
    uint8_t found = 0;

    CM_TRY(cm_derread_any(in, what, &found, content, whole, err));
    if (found != tag)
        CM_FAIL(err, CM_E_INPUT, "%s: tag %02x where %02x belongs", what, found, tag);
    return CM_OK;
}

bool cm_derread_is(struct cm_span in, uint8_t tag)
{
    return in.len > 0 && in.data[0] == tag;
}

cm_err cm_derread_end(struct cm_span in, const char *what, struct cm_error *err)
{
    if (in.len != 0)
        CM_FAIL(err, CM_E_INPUT, "%s: %zu octets too many at its end", what, in.len);
    return CM_OK;
}

cm_err cm_dercheck_integer(struct cm_span c, const char *what, struct cm_error *err)
{
    if (c.len == 0)
        CM_FAIL(err, CM_E_INPUT, "%s: an INTEGER without octets", what);
    if (c.len > 1 && ((c.data[0] == 0 && c.data[1] < 0x80) || (c.data[0] == 0xff && c.data[1] >= 0x80)))
        CM_FAIL(err, CM_E_INPUT, "%s: the INTEGER isn't minimal", what);
    return CM_OK;
}

cm_err cm_derread_uint(struct cm_span *in, const char *what, struct cm_span *magnitude, struct cm_error *err)
{
    struct cm_span c;

    CM_TRY(cm_derread_take(in, CM_TAG_INTEGER, what, &c, NULL, err));
    CM_TRY(cm_dercheck_integer(c, what, err));
    if (c.data[0] >= 0x80)
        CM_FAIL(err, CM_E_INPUT, "%s: negative", what);
    if (c.len > 1 && c.data[0] == 0)
        c = cm_span(c.data + 1, c.len - 1);
    *magnitude = c;
    return CM_OK;
}

cm_err cm_derread_version(struct cm_span *in, const char *what, uint8_t value, struct cm_error *err)
{
    struct cm_span c;

    CM_TRY(cm_derread_uint(in, what, &c, err));
    if (c.len != 1 || c.data[0] != value)
        CM_FAIL(err, CM_E_INPUT, "%s: isn't %u", what, value);
    return CM_OK;
}

cm_err cm_dercheck_boolean(struct cm_span c, const char *what, struct cm_error *err)
{
    if (c.len != 1)
        CM_FAIL(err, CM_E_INPUT, "%s: a BOOLEAN of %zu octets", what, c.len);
    if (c.data[0] != 0 && c.data[0] != 0xff)
        CM_FAIL(err, CM_E_INPUT, "%s: TRUE written as %02x, not ff", what, c.data[0]);
    return CM_OK;
}

cm_err cm_derread_flag(struct cm_span *in, const char *what, bool *value, struct cm_error *err)
{
    struct cm_span c;

    *value = false;
    if (!cm_derread_is(*in, CM_TAG_BOOLEAN))
        return CM_OK;
    CM_TRY(cm_derread_take(in, CM_TAG_BOOLEAN, what, &c, NULL, err));
    CM_TRY(cm_dercheck_boolean(c, what, err));
    if (c.data[0] == 0)
        CM_FAIL(err, CM_E_INPUT, "%s: the DEFAULT FALSE is written out", what);
    *value = true;
    return CM_OK;
}

cm_err cm_dercheck_bits(struct cm_span c, const char *what, struct cm_error *err)
{
    if (c.len == 0 || c.data[0] > 7 || (c.len == 1 && c.data[0] != 0))
        CM_FAIL(err, CM_E_INPUT, "%s: a BIT STRING with a wrong count of unused bits", what);
    if (c.len > 1 && (c.data[c.len - 1] & ((1u << c.data[0]) - 1)) != 0)
        CM_FAIL(err, CM_E_INPUT, "%s: unused bits that aren't zero", what);
    return CM_OK;
}

cm_err cm_derread_bits(struct cm_span *in, const char *what, struct cm_span *bits, unsigned *unused,
                       struct cm_error *err)
{
    struct cm_span c;

    CM_TRY(cm_derread_take(in, CM_TAG_BIT_STRING, what, &c, NULL, err));
    CM_TRY(cm_dercheck_bits(c, what, err));
    *unused = c.data[0];
    *bits = cm_span(c.data + 1, c.len - 1);
    return CM_OK;
}

cm_err cm_derread_octet_bits(struct cm_span *in, const char *what, struct cm_span *octets,
                             struct cm_error *err)
{
    unsigned unused = 0;

    CM_TRY(cm_derread_bits(in, what, octets, &unused, err));
    if (unused != 0)
        CM_FAIL(err, CM_E_INPUT, "%s: %u unused bits where whole octets belong", what, unused);
    return CM_OK;
}

cm_err cm_dercheck_oid(struct cm_span c, const char *what, struct cm_error *err)
{
    bool first = true; /* of an arc */

    if (c.len == 0 || c.data[c.len - 1] >= 0x80)
        CM_FAIL(err, CM_E_INPUT, "%s: an OBJECT IDENTIFIER that is empty or cut short", what);
    for (size_t i = 0; i < c.len; i++) {
        if (first && c.data[i] == 0x80)
            CM_FAIL(err, CM_E_INPUT, "%s: an OBJECT IDENTIFIER that isn't minimal", what);
        first = c.data[i] < 0x80;
    }
    return CM_OK;
}

cm_err cm_derread_oid(struct cm_span *in, const char *what, struct cm_span *oid, struct cm_error *err)
{
    CM_TRY(cm_derread_take(in, CM_TAG_OID, what, oid, NULL, err));
    return cm_dercheck_oid(*oid, what, err);
}

/* ---- times ---- */

/* Two digits of a time that is known to be all digits. */
static int two(const char *at)
{
    return (at[0] - '0') * 10 + (at[1] - '0');
}

cm_err cm_dercheck_time(uint8_t tag, struct cm_span c, const char *what, struct cm_derread_time *out,
                        struct cm_error *err)
{
    const bool utc = tag == CM_TAG_UTCTIME;
    const size_t len = utc ? 13 : 15;
    char t[16] = "";

    if (c.len != len || c.data[len - 1] != 'Z')
        CM_FAIL(err, CM_E_INPUT, "%s: not of the form %sMMDDHHMMSSZ", what, utc ? "YY" : "YYYY");
    for (size_t i = 0; i + 1 < len; i++)
        if (c.data[i] < '0' || c.data[i] > '9')
            CM_FAIL(err, CM_E_INPUT, "%s: not of the form %sMMDDHHMMSSZ", what, utc ? "YY" : "YYYY");
    if (utc)
        memcpy(t, c.data[0] >= '5' ? "19" : "20", 2);
    memcpy(t + (utc ? 2 : 0), c.data, len);
    if (!utc && memcmp(t, "2050", 4) < 0)
        CM_FAIL(err, CM_E_INPUT, "%s: GeneralizedTime for a year before 2050", what);
    if (cm_when_make(two(t) * 100 + two(t + 2), two(t + 4), two(t + 6), two(t + 8), two(t + 10), two(t + 12),
                     &out->at, NULL) != CM_OK)
        CM_FAIL(err, CM_E_INPUT, "%s: %s isn't a calendar time", what, t);
    (void) snprintf(out->text, sizeof out->text, "%.4s-%.2s-%.2sT%.2s:%.2s:%.2sZ", t, t + 4, t + 6, t + 8,
                    t + 10, t + 12);
    return CM_OK;
}

cm_err cm_derread_time(struct cm_span *in, const char *what, struct cm_derread_time *out,
                       struct cm_error *err)
{
    struct cm_span c;
    uint8_t tag = 0;

    CM_TRY(cm_derread_any(in, what, &tag, &c, NULL, err));
    if (tag != CM_TAG_UTCTIME && tag != CM_TAG_GENERALIZEDTIME)
        CM_FAIL(err, CM_E_INPUT, "%s: tag %02x, neither UTCTime nor GeneralizedTime", what, tag);
    return cm_dercheck_time(tag, c, what, out, err);
}
