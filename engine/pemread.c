#include "engine/pemread.h"
#include "engine/pemline.h"
#include "engine/secret.h"

enum { LINE = 64, LABEL_LINE_MAX = 64 };

/* "-----BEGIN LABEL-----\n" as a view into room. */
static struct cm_span label_line(const char *word, const char *label, char room[LABEL_LINE_MAX])
{
    struct cm_writer w = cm_writer(room, LABEL_LINE_MAX);

    cm_put_lit(&w, "-----");
    cm_put_str(&w, word);
    cm_put_byte(&w, ' ');
    cm_put_str(&w, label);
    cm_put_lit(&w, "-----\n");
    CM_ASSERT(cm_writer_ok(&w));
    return cm_span(room, w.len);
}

static bool take(struct cm_span *text, struct cm_span expect)
{
    if (text->len < expect.len || memcmp(text->data, expect.data, expect.len) != 0)
        return false;
    *text = cm_span(text->data + expect.len, text->len - expect.len);
    return true;
}

bool cm_pemread_is(struct cm_span text, const char *label)
{
    char room[LABEL_LINE_MAX];

    return take(&text, label_line("BEGIN", label, room));
}

/* 0xff when lo <= c <= hi, else 0. */
static inline uint8_t within(uint8_t c, uint8_t lo, uint8_t hi)
{
    return (uint8_t) - (uint8_t) ((c >= lo) & (c <= hi));
}

/* The value of a base64 character, or 0x80 when it is none. */
static inline uint8_t value(uint8_t c)
{
    const uint8_t upper = within(c, 'A', 'Z'), lower = within(c, 'a', 'z'), digit = within(c, '0', '9');
    const uint8_t plus = within(c, '+', '+'), slash = within(c, '/', '/');
    const uint8_t any = upper | lower | digit | plus | slash;

    return (uint8_t) ((upper & (c - 'A')) | (lower & (c - 'a' + 26)) | (digit & (c - '0' + 52)) |
                      (plus & 62) | (slash & 63) | (~any & 0x80));
}

/* n characters, of which the last `pad` are padding, 0 to 2. False: a stray character,
 * or bits left over that aren't zero. Works on whole lines, in loops that compilers turn
 * into vector code: this is the larger part of reading a device. */
static bool decode_line(const uint8_t *at, size_t n, size_t pad, uint8_t *out)
{
    uint8_t v[LINE], octet[LINE / 4 * 3], bad = 0;
    const size_t len = n / 4 * 3 - pad;

    memset(v, 'A', sizeof v); /* what is missing counts as zero bits */
    memcpy(v, at, n - pad);
    for (size_t i = 0; i < LINE; i++)
        v[i] = value(v[i]);
    for (size_t i = 0; i < LINE; i++)
        bad |= v[i];
    for (size_t i = 0; i < LINE / 4; i++) {
        octet[3 * i] = (uint8_t) (v[4 * i] << 2 | v[4 * i + 1] >> 4);
        octet[3 * i + 1] = (uint8_t) (v[4 * i + 1] << 4 | v[4 * i + 2] >> 2);
        octet[3 * i + 2] = (uint8_t) (v[4 * i + 2] << 6 | v[4 * i + 3]);
    }
    bad &= 0x80;
    for (size_t i = len; i < n / 4 * 3; i++)
        bad |= octet[i];
    memcpy(out, octet, len);
    cm_secret_wipe(v, sizeof v);
    cm_secret_wipe(octet, sizeof octet);
    return bad == 0;
}

/* A line of n characters, by what is fastest here. */
static bool read_line(bool vectors, const uint8_t *at, size_t n, size_t pad, uint8_t *out)
{
#ifdef __x86_64__
    if (vectors && n == LINE && pad == 0)
        return cm_pem_octets_avx2(at, out);
#endif
    (void) vectors;
    return decode_line(at, n, pad, out);
}

/* The characters of the line at the front of text, LF not counted; 0: no line of 4..64
 * characters in whole groups. */
static size_t line_length(struct cm_span text)
{
    const size_t most = text.len < LINE + 1 ? text.len : LINE + 1;
    const uint8_t *lf = memchr(text.data, '\n', most);
    const size_t n = lf != NULL ? (size_t) (lf - text.data) : 0;

    return n % 4 == 0 ? n : 0;
}

static bool is_end(struct cm_span text)
{
    return text.len > 0 && text.data[0] == '-';
}

cm_err cm_pemread_next(struct cm_span *text, const char *label, uint8_t *out, size_t cap, size_t *len,
                       struct cm_error *err)
{
    char room[LABEL_LINE_MAX];
    struct cm_span in = *text;
    size_t n = LINE, pad = 0, used = 0;
    const bool vectors = cm_pem_has_vectors();

    if (!take(&in, label_line("BEGIN", label, room)))
        CM_FAIL(err, CM_E_INPUT, "not PEM that begins with %.*s", (int) strcspn(room, "\n"), room);
    for (unsigned line = 2; !is_end(in); line++) {
        const size_t before = n;
        n = in.len > 0 ? line_length(in) : 0;
        if (n == 0 || before < LINE || pad > 0)
            CM_FAIL(err, CM_E_INPUT, "PEM line %u isn't 64 characters of base64 and LF", line);
        pad = (size_t) (in.data[n - 1] == '=') + (in.data[n - 1] == '=' && in.data[n - 2] == '=');
        if (n / 4 * 3 - pad > cap - used)
            CM_FAIL(err, CM_E_INPUT, "PEM content longer than %zu octets", cap);
        if (!read_line(vectors, in.data, n, pad, out + used))
            CM_FAIL(err, CM_E_INPUT, "PEM line %u isn't canonical base64", line);
        used += n / 4 * 3 - pad;
        in = cm_span(in.data + n + 1, in.len - n - 1);
    }
    if (!take(&in, label_line("END", label, room)))
        CM_FAIL(err, CM_E_INPUT, "PEM doesn't end with %.*s and LF", (int) strcspn(room, "\n"), room);
    if (used == 0)
        CM_FAIL(err, CM_E_INPUT, "PEM without content");
    *text = in;
    *len = used;
    return CM_OK;
}
