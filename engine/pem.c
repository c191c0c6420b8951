#include "engine/pem.h"

enum { LINE_BYTES = 48, LINE_CHARS = 64 };

/* Six-bit values to characters, all at once: the compiler makes vectors of it.
 * Starting from 'A' + v, each later range of RFC 4648 table 1 adds its distance:
 * 26..51 are 'a'.., 52..61 '0'.., 62 '+', 63 '/'. A comparison that holds is
 * turned into a mask of ones. */
static void to_chars(uint8_t *c, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint8_t v = c[i];
        uint8_t x = (uint8_t) (v + 'A');
        x = (uint8_t) (x + (-(v > 25) & 6));
        x = (uint8_t) (x - (-(v > 51) & 75));
        x = (uint8_t) (x - (-(v > 61) & 15));
        x = (uint8_t) (x + (-(v > 62) & 3));
        c[i] = x;
    }
}

/* Three bytes to four six-bit values. */
static void spread(const uint8_t *in, uint8_t *out)
{
    const uint32_t w = (uint32_t) in[0] << 16 | (uint32_t) in[1] << 8 | in[2];

    out[0] = (uint8_t) (w >> 18);
    out[1] = (uint8_t) (w >> 12 & 63);
    out[2] = (uint8_t) (w >> 6 & 63);
    out[3] = (uint8_t) (w & 63);
}

static void full_line(const uint8_t *in, uint8_t *out)
{
    for (size_t i = 0; i < LINE_BYTES / 3; i++)
        spread(in + 3 * i, out + 4 * i);
    to_chars(out, LINE_CHARS);
    out[LINE_CHARS] = '\n';
}

/* The last line: 1..47 bytes, padded with '='. */
static void short_line(const uint8_t *in, size_t len, uint8_t *out)
{
    const size_t whole = len / 3, rest = len % 3;
    const size_t chars = (len + 2) / 3 * 4;

    for (size_t i = 0; i < whole; i++)
        spread(in + 3 * i, out + 4 * i);
    if (rest > 0)
        spread((uint8_t[]) { in[3 * whole], rest > 1 ? in[3 * whole + 1] : 0, 0 }, out + 4 * whole);
    to_chars(out, chars);
    for (size_t i = 0; rest > 0 && i < 3 - rest; i++)
        out[chars - 1 - i] = '=';
    out[chars] = '\n';
}

size_t cm_pem_len(const char *label, size_t len)
{
    const size_t chars = (len + 2) / 3 * 4;
    const size_t lines = (chars + LINE_CHARS - 1) / LINE_CHARS;

    return sizeof "-----BEGIN -----\n-----END -----\n" - 1 + 2 * strlen(label) + chars + lines;
}

void cm_put_pem(struct cm_writer *w, const char *label, const uint8_t *der, size_t len)
{
    cm_put_lit(w, "-----BEGIN ");
    cm_put_str(w, label);
    cm_put_lit(w, "-----\n");
    for (; len >= LINE_BYTES; der += LINE_BYTES, len -= LINE_BYTES) {
        uint8_t *line = cm_put_room(w, LINE_CHARS + 1);
        if (line != NULL)
            full_line(der, line);
    }
    if (len > 0) {
        uint8_t *line = cm_put_room(w, (len + 2) / 3 * 4 + 1);
        if (line != NULL)
            short_line(der, len, line);
    }
    cm_put_lit(w, "-----END ");
    cm_put_str(w, label);
    cm_put_lit(w, "-----\n");
}

void cm_put_base64(struct cm_writer *w, const uint8_t *data, size_t len)
{
    uint8_t line[LINE_CHARS + 1];

    for (; len >= LINE_BYTES; data += LINE_BYTES, len -= LINE_BYTES) {
        full_line(data, line);
        cm_put(w, line, LINE_CHARS);
    }
    if (len > 0) {
        short_line(data, len, line);
        cm_put(w, line, (len + 2) / 3 * 4);
    }
}
