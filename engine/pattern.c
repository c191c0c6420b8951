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

static bool is_built_in(struct cm_span name)
{
    for (size_t i = 0; i < CM_COUNT(placeholders); i++)
        if (cm_span_eq(cm_span_str(placeholders[i].name), name))
            return true;
    return false;
}

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

/* Is the built-in's name that of a column which is something else? */
static bool is_unclear(enum cm_piece_kind kind, const struct cm_columns *columns, size_t column)
{
    return columns != NULL && column < columns->count && (kind != CM_PIECE_ID || column != columns->id);
}

static size_t parse_column(struct cm_span name, size_t column, size_t len, struct cm_piece *out)
{
    if (!cm_column_is_placeholder(name))
        return 0;
    *out = (struct cm_piece) { .kind = CM_PIECE_COLUMN, .column = (uint16_t) column };
    return len;
}

size_t cm_piece_parse(const char *text, const struct cm_columns *columns, struct cm_piece *out)
{
    const char *end = strchr(text, '}');
    const size_t name_len = strcspn(text + 1, ":}");
    const struct cm_span name = cm_span(text + 1, name_len);
    const size_t column = cm_columns_find(columns, name);
    const bool has_column = columns != NULL && column < columns->count;

    if (text[0] != '{' || end == NULL)
        return 0;
    if (has_column && text[1 + name_len] == '}' && cm_span_eq(name, cm_span_str("mac")))
        return parse_column(name, column, name_len + 2, out);
    for (size_t i = 0; i < CM_COUNT(placeholders); i++) {
        struct cm_piece p = { .kind = placeholders[i].kind };
        if (!cm_span_eq(cm_span_str(placeholders[i].name), name))
            continue;
        if (is_unclear(p.kind, columns, column))
            return 0;
        if (text[1 + name_len] == ':') {
            const char *f = text + 2 + name_len;
            if (p.kind != CM_PIECE_SEQ || !parse_format(f, (size_t) (end - f), &p))
                return 0;
        }
        *out = p;
        return (size_t) (end - text) + 1;
    }
    return has_column && text[1 + name_len] == '}' ? parse_column(name, column, name_len + 2, out) : 0;
}

const char *cm_piece_fault(const char *text, const struct cm_columns *columns, char *buf, size_t cap)
{
    const size_t name_len = text[0] == '{' ? strcspn(text + 1, ":}") : 0;
    const size_t column = cm_columns_find(columns, cm_span(text + 1, name_len));
    struct cm_writer w = cm_writer(buf, cap - 1);
    size_t listed = 0;

    if (name_len > 0 && text[1 + name_len] == '}' && columns != NULL && column < columns->count) {
        const bool odd = !cm_column_is_placeholder(cm_span(text + 1, name_len));
        (void) snprintf(buf, cap, "%.*s} is unclear: %s", (int) name_len + 1, text,
                        odd ? "a column's name with { } : / \\ or + in it can't stand in braces; rename it"
                            : "the list has a column of that name, too; rename it");
        return buf;
    }
    const size_t line = strcspn(text, "\r\n");
    (void) snprintf(
        buf, cap,
        "unknown placeholder at \"%.*s\"; there are {id}, {seq}, {seq:08}, {seq:08x}, {mac} and {uuid}",
        line < 24 ? (int) line : 24, text);
    w.len = strlen(buf);
    for (size_t i = 0; columns != NULL && i < columns->count && w.len + 80 < w.cap; i++) {
        const struct cm_span name = cm_span_str(columns->name[i]);
        if (!cm_column_is_placeholder(name) || is_built_in(name))
            continue;
        cm_put_str(&w, listed++ == 0 ? ", and of the list {" : ", {");
        cm_put_str(&w, columns->name[i]);
        cm_put_str(&w, "}");
    }
    buf[w.len] = '\0';
    return buf;
}

static cm_err add_piece(struct cm_pattern *p, struct cm_piece piece, struct cm_error *err)
{
    if (p->count == CM_PATTERN_PIECES)
        CM_FAIL(err, CM_E_USAGE, "pattern \"%.60s\" has more than %d parts", p->text, CM_PATTERN_PIECES);
    p->piece[p->count++] = piece;
    return CM_OK;
}

cm_err cm_pattern_parse(const char *text, bool allow_id, const struct cm_columns *columns,
                        struct cm_pattern *out, struct cm_error *err)
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
            char why[320];
            n = cm_piece_parse(text + i, columns, &piece);
            if (n == 0)
                CM_FAIL(err, CM_E_USAGE, "pattern \"%.80s\": %s", text,
                        cm_piece_fault(text + i, columns, why, sizeof why));
            piece.off = (uint16_t) (i + 1);
            piece.len = (uint16_t) (n - 2);
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
    case CM_PIECE_COLUMN:
        cm_put_span(w, v->column[p->column]);
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
