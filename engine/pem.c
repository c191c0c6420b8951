#include "engine/pem.h"

#include "engine/pemline.h"

/* A line of 64 characters, by what is fastest here. */
static void full_line(bool vectors, const uint8_t *in, uint8_t *out)
{
#ifdef __x86_64__
    if (vectors) {
        cm_pem_line_avx2(in, out);
        return;
    }
#endif
    (void) vectors;
    cm_pem_line_plain(in, out);
}

/* The last line: 1..47 bytes, padded with '='. */
static void short_line(const uint8_t *in, size_t len, uint8_t *out)
{
    const size_t whole = len / 3, rest = len % 3;
    const size_t chars = (len + 2) / 3 * 4;

    for (size_t i = 0; i < whole; i++)
        cm_pem_spread(in + 3 * i, out + 4 * i);
    if (rest > 0)
        cm_pem_spread((uint8_t[]) { in[3 * whole], rest > 1 ? in[3 * whole + 1] : 0, 0 }, out + 4 * whole);
    cm_pem_chars(out, chars);
    for (size_t i = 0; rest > 0 && i < 3 - rest; i++)
        out[chars - 1 - i] = '=';
    out[chars] = '\n';
}

size_t cm_pem_len(const char *label, size_t len)
{
    const size_t chars = (len + 2) / 3 * 4;
    const size_t lines = (chars + CM_PEM_CHARS - 1) / CM_PEM_CHARS;

    return sizeof "-----BEGIN -----\n-----END -----\n" - 1 + 2 * strlen(label) + chars + lines;
}

void cm_put_pem(struct cm_writer *w, const char *label, const uint8_t *der, size_t len)
{
    const bool vectors = cm_pem_has_vectors();

    cm_put_lit(w, "-----BEGIN ");
    cm_put_str(w, label);
    cm_put_lit(w, "-----\n");
    for (; len >= CM_PEM_BYTES; der += CM_PEM_BYTES, len -= CM_PEM_BYTES) {
        uint8_t *line = cm_put_room(w, CM_PEM_CHARS + 1);
        if (line == NULL)
            continue;
        full_line(vectors, der, line);
        line[CM_PEM_CHARS] = '\n';
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
    const bool vectors = cm_pem_has_vectors();
    uint8_t line[CM_PEM_CHARS + 1];

    for (; len >= CM_PEM_BYTES; data += CM_PEM_BYTES, len -= CM_PEM_BYTES) {
        full_line(vectors, data, line);
        cm_put(w, line, CM_PEM_CHARS);
    }
    if (len > 0) {
        short_line(data, len, line);
        cm_put(w, line, (len + 2) / 3 * 4);
    }
}
