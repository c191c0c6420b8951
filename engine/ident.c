#include "engine/ident.h"

#include <strings.h>

size_t cm_utf8_next(const uint8_t *p, size_t len, uint32_t *code)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t n = 0;
    uint32_t c = 0;

    if (len == 0)
        return 0;
    n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;
    if (n == 0 || n > len)
        return 0;
    c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3fu);
    }
    /* Overlong forms, surrogates and what lies beyond Unicode (RFC 3629 3). */
    if (c < least[n] || (c >= 0xd800 && c <= 0xdfff) || c > 0x10ffff)
        return 0;
    *code = c;
    return n;
}

const char *cm_printable(struct cm_span text, char *buf, size_t cap)
{
    struct cm_writer w = cm_writer(buf, cap - 4);
    size_t i = 0;

    for (; i < text.len && w.len + 4 <= w.cap; i++) {
        const uint8_t c = text.data[i];
        if (c >= 0x20 && c < 0x7f) {
            cm_put_byte(&w, c);
        } else {
            cm_put_lit(&w, "\\x");
            cm_put_hex(&w, &c, 1);
        }
    }
    memcpy(buf + w.len, i < text.len ? "..." : "", i < text.len ? 4 : 1);
    return buf;
}

/* C0, DEL, C1, line and paragraph separators, direction marks and embeddings,
 * zero-width characters and the byte-order mark. */
static bool is_invisible(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x200b && c <= 0x200f) ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || c == 0x61c;
}

static bool is_windows_name(struct cm_span id)
{
    static const char *const name[] = { "CON", "PRN", "AUX", "NUL" };
    const char *text = (const char *) id.data;
    const uint8_t *dot = memchr(id.data, '.', id.len);
    const size_t stem = dot != NULL ? (size_t) (dot - id.data) : id.len;

    for (size_t i = 0; i < CM_COUNT(name); i++)
        if (stem == 3 && strncasecmp(text, name[i], 3) == 0)
            return true;
    return stem == 4 && (strncasecmp(text, "COM", 3) == 0 || strncasecmp(text, "LPT", 3) == 0) &&
           text[3] >= '1' && text[3] <= '9';
}

static bool is_unreserved(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '.' || c == '_' || c == '~';
}

/* What is wrong with the characters, or NULL. */
static const char *char_fault(struct cm_span id, size_t *name_len)
{
    uint32_t c = 0;

    *name_len = 0;
    for (size_t i = 0, n = 0; i < id.len; i += n) {
        n = cm_utf8_next(id.data + i, id.len - i, &c);
        if (n == 0)
            return "it is not UTF-8";
        if (c == 0)
            return "it holds a NUL";
        if (is_invisible(c))
            return "it holds a control or invisible character";
        if (c == '/' || c == '\\')
            return "it holds a '/' or '\\'";
        *name_len += n == 1 && is_unreserved((uint8_t) c) ? 1 : 3 * n;
    }
    return NULL;
}

static const char *shape_fault(struct cm_span id)
{
    const uint8_t first = id.data[0], last = id.data[id.len - 1];

    if (memmem(id.data, id.len, "..", 2) != NULL || (id.len == 1 && first == '.'))
        return "it holds \"..\" or is \".\"";
    if (first == '-')
        return "it begins with '-'";
    if (first == ' ' || last == ' ' || last == '.')
        return "it begins with a space, or ends with a space or a dot";
    if (is_windows_name(id))
        return "it is a reserved file name on Windows";
    return NULL;
}

cm_err cm_id_check(struct cm_span id, struct cm_error *err)
{
    char shown[80];
    size_t name_len = 0;
    const char *fault = NULL;

    if (id.len == 0)
        CM_FAIL(err, CM_E_INPUT, "the device id is empty");
    fault = char_fault(id, &name_len);
    if (fault == NULL)
        fault = shape_fault(id);
    if (fault == NULL && (id.len > CM_ID_MAX || name_len > CM_ID_NAME_MAX))
        fault = "it takes more than 96 octets as a file name (percent-encoded)";
    if (fault != NULL)
        CM_FAIL(err, CM_E_INPUT, "device id \"%s\" can't be used: %s", cm_printable(id, shown, sizeof shown),
                fault);
    return CM_OK;
}

void cm_put_id_name(struct cm_writer *w, struct cm_span id)
{
    for (size_t i = 0; i < id.len; i++) {
        const uint8_t c = id.data[i];
        if (is_unreserved(c)) {
            cm_put_byte(w, c);
        } else {
            const uint8_t pct[3] = { '%', (uint8_t) "0123456789ABCDEF"[c >> 4],
                                     (uint8_t) "0123456789ABCDEF"[c & 15] };
            cm_put(w, pct, 3);
        }
    }
}
