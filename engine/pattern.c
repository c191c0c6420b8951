#include "engine/pattern.h"

static const struct {
    const char *name;
    enum cm_piece_kind kind;
} placeholders[] = {
    { "id", CM_PIECE_ID },
    { "seq", CM_PIECE_SEQ },
    { "mac", CM_PIECE_MAC },
    { "uuid", CM_PIECE_UUID },
};

/* The part after the colon: a width, with a zero in front as printf has it, then
 * perhaps an 'x'. */
static bool parse_format(const char *f, size_t len, struct cm_piece *out)
{
    unsigned width = 0;
    size_t i = 0;

    for (; i < len && f[i] >= '0' && f[i] <= '9' && i < 3; i++)
        width = width * 10 + (unsigned) (f[i] - '0');
    if (i < len && f[i] == 'x') {
        out->hex = true;
        i++;
    }
    out->width = (uint8_t) width;
    return len > 0 && i == len && width <= 20;
}

size_t cm_piece_parse(const char *text, struct cm_piece *out)
{
    const char *end = strchr(text, '}');
    const size_t name_len = strcspn(text + 1, ":}");

    if (text[0] != '{' || end == NULL)
        return 0;
    for (size_t i = 0; i < CM_COUNT(placeholders); i++) {
        struct cm_piece p = { .kind = placeholders[i].kind };
        if (strlen(placeholders[i].name) != name_len || memcmp(placeholders[i].name, text + 1, name_len) != 0)
            continue;
        if (text[1 + name_len] == ':') {
            const char *f = text + 2 + name_len;
            if (p.kind != CM_PIECE_SEQ || !parse_format(f, (size_t) (end - f), &p))
                return 0;
        }
        *out = p;
        return (size_t) (end - text) + 1;
    }
    return 0;
}

static cm_err add_piece(struct cm_pattern *p, struct cm_piece piece, struct cm_error *err)
{
    if (p->count == CM_PATTERN_PIECES)
        CM_FAIL(err, CM_E_USAGE, "pattern \"%.60s\" has more than %d parts", p->text, CM_PATTERN_PIECES);
    p->piece[p->count++] = piece;
    return CM_OK;
}

cm_err cm_pattern_parse(const char *text, bool allow_id, struct cm_pattern *out, struct cm_error *err)
{
    struct cm_pattern p = { .count = 0 };
    const size_t len = strlen(text);

    if (len >= sizeof p.text)
        CM_FAIL(err, CM_E_USAGE, "pattern \"%.60s…\" is longer than %zu octets", text, sizeof p.text - 1);
    memcpy(p.text, text, len + 1);
    for (size_t i = 0, n = 0; i < len; i += n) {
        struct cm_piece piece = { .kind = CM_PIECE_TEXT, .off = (uint16_t) i };
        n = strcspn(text + i, "{}");
        piece.len = (uint16_t) n;
        if (n == 0) {
            n = cm_piece_parse(text + i, &piece);
            if (n == 0)
                CM_FAIL(
                    err, CM_E_USAGE,
                    "pattern \"%.80s\": unknown placeholder at \"%.24s\"; there are {id}, {seq}, {seq:08}, "
                    "{seq:08x}, {mac} and {uuid}",
                    text, text + i);
            if (piece.kind == CM_PIECE_ID && !allow_id)
                CM_FAIL(err, CM_E_USAGE, "pattern \"%.80s\" makes the id, so it can't use {id}", text);
        }
        CM_TRY(add_piece(&p, piece, err));
    }
    *out = p;
    return CM_OK;
}

static void put_mac(struct cm_writer *w, uint64_t mac)
{
    for (int shift = 40; shift >= 0; shift -= 8) {
        const uint8_t octet = (uint8_t) (mac >> shift);
        cm_put_hex(w, &octet, 1);
        if (shift > 0)
            cm_put_byte(w, ':');
    }
}

static void put_uuid(struct cm_writer *w, const struct cm_values *v)
{
    char name[24], text[36];
    struct cm_writer n = cm_writer(name, sizeof name);

    cm_put_dec(&n, v->seq, 0);
    if (cm_uuid5(v->hasher, v->run_id, cm_span(name, n.len), text, NULL) == CM_OK)
        cm_put(w, text, sizeof text);
    else
        w->overflow = true; /* the caller's check of the writer stops the device */
}

void cm_piece_put(const struct cm_piece *p, const char *text, const struct cm_values *v, struct cm_writer *w)
{
    switch (p->kind) {
    case CM_PIECE_TEXT:
        cm_put(w, text + p->off, p->len);
        break;
    case CM_PIECE_ID:
        cm_put_span(w, v->id);
        break;
    case CM_PIECE_SEQ:
        if (p->hex)
            cm_put_hexnum(w, v->seq, p->width);
        else
            cm_put_dec(w, v->seq, p->width);
        break;
    case CM_PIECE_MAC:
        put_mac(w, v->mac);
        break;
    case CM_PIECE_UUID:
        put_uuid(w, v);
        break;
    }
}

void cm_pattern_put(const struct cm_pattern *p, const struct cm_values *v, struct cm_writer *w)
{
    for (size_t i = 0; i < p->count; i++)
        cm_piece_put(&p->piece[i], p->text, v, w);
}

bool cm_pattern_uses(const struct cm_pattern *p, enum cm_piece_kind kind)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->piece[i].kind == kind)
            return true;
    return false;
}
