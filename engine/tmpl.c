#include "engine/tmpl.h"

#include "engine/ident.h"

#include <ctype.h>

enum { CM_TMPL_TOKENS = 512, CM_TMPL_LITERALS = 32768, CM_TMPL_FIELDS = 64, CM_TMPL_DEPTH = 32 };

enum op { OP_LITERAL, OP_OPEN, OP_CLOSE, OP_SLOT, OP_PIECE };

struct token {
    enum op op;
    union {
        struct {
            uint32_t off, len; /* in literals */
        } literal;
        uint8_t tag; /* OPEN */
        enum cm_slot slot;
        struct {
            uint16_t field, piece;
        } text;
    } as;
};

struct cm_tmpl {
    struct token token[CM_TMPL_TOKENS];
    size_t count;
    uint8_t literals[CM_TMPL_LITERALS];
    size_t literals_len;
    struct cm_field field[CM_TMPL_FIELDS];
    size_t fields;
    bool full; /* a limit was passed: seal says so */
    int depth; /* open brackets */
};

cm_err cm_tmpl_new(struct cm_tmpl **out, struct cm_error *err)
{
    struct cm_tmpl *t = calloc(1, sizeof *t);

    if (t == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the certificate template");
    *out = t;
    return CM_OK;
}

void cm_tmpl_free(struct cm_tmpl *t)
{
    free(t);
}

static void push(struct cm_tmpl *t, struct token token)
{
    if (t->count == CM_TMPL_TOKENS)
        t->full = true;
    else
        t->token[t->count++] = token;
}

void cm_tmpl_literal(struct cm_tmpl *t, const void *der, size_t len)
{
    if (len > sizeof t->literals - t->literals_len) {
        t->full = true;
        return;
    }
    memcpy(t->literals + t->literals_len, der, len);
    push(t,
         (struct token) { .op = OP_LITERAL, .as.literal = { (uint32_t) t->literals_len, (uint32_t) len } });
    t->literals_len += len;
}

void cm_tmpl_open(struct cm_tmpl *t, uint8_t tag)
{
    t->depth++;
    push(t, (struct token) { .op = OP_OPEN, .as.tag = tag });
}

void cm_tmpl_close(struct cm_tmpl *t)
{
    t->depth--;
    push(t, (struct token) { .op = OP_CLOSE });
}

void cm_tmpl_slot(struct cm_tmpl *t, enum cm_slot slot)
{
    push(t, (struct token) { .op = OP_SLOT, .as.slot = slot });
}

void cm_tmpl_field(struct cm_tmpl *t, const struct cm_field *field)
{
    if (t->fields == CM_TMPL_FIELDS) {
        t->full = true;
        return;
    }
    t->field[t->fields] = *field;
    for (size_t i = 0; i < field->text.count; i++) {
        const struct cm_piece *p = &field->text.piece[i];
        if (p->kind == CM_PIECE_TEXT)
            cm_tmpl_literal(t, field->text.text + p->off, p->len);
        else
            push(t, (struct token) { .op = OP_PIECE, .as.text = { (uint16_t) t->fields, (uint16_t) i } });
    }
    t->fields++;
}

/* Writes the tokens from..to-1, the last one first. */
static void emit_range(const struct cm_tmpl *t, size_t from, size_t to, const struct cm_tmpl_input *in,
                       struct cm_der *d)
{
    size_t mark[CM_TMPL_DEPTH];
    size_t depth = 0;

    for (size_t i = to; i-- > from;) {
        const struct token *k = &t->token[i];
        switch (k->op) {
        case OP_LITERAL:
            cm_der_raw(d, t->literals + k->as.literal.off, k->as.literal.len);
            break;
        case OP_CLOSE:
            CM_ASSERT(depth < CM_TMPL_DEPTH);
            mark[depth++] = cm_der_len(d);
            break;
        case OP_OPEN:
            CM_ASSERT(depth > 0);
            cm_der_wrap(d, k->as.tag, mark[--depth]);
            break;
        case OP_SLOT: {
            const struct cm_span s = k->as.slot == CM_SLOT_SERIAL ? in->serial
                                     : k->as.slot == CM_SLOT_SPKI ? in->spki
                                                                  : in->ski;
            cm_der_raw(d, s.data, s.len);
            break;
        }
        case OP_PIECE: {
            const struct cm_pattern *p = &t->field[k->as.text.field].text;
            char buf[CM_PATTERN_OUT];
            struct cm_writer w = cm_writer(buf, sizeof buf);
            cm_piece_put(&p->piece[k->as.text.piece], p->text, in->values, &w);
            d->overflow |= w.overflow;
            cm_der_raw(d, buf, w.len);
            break;
        }
        }
    }
}

void cm_tmpl_emit(const struct cm_tmpl *t, const struct cm_tmpl_input *in, struct cm_der *d)
{
    emit_range(t, 0, t->count, in, d);
}

/* OPEN literal… CLOSE holds no slot: its encoding is a literal, too. Folds
 * t->token[i] (an OPEN) when that is so. */
static bool fold_at(struct cm_tmpl *t, size_t i)
{
    uint8_t buf[8192];
    struct cm_der d = cm_der(buf, sizeof buf);
    struct cm_span s = { 0 };
    size_t end = i + 1;

    while (end < t->count && t->token[end].op == OP_LITERAL)
        end++;
    if (end == t->count || t->token[end].op != OP_CLOSE)
        return false;
    emit_range(t, i, end + 1, NULL, &d);
    s = cm_der_span(&d);
    if (!cm_der_ok(&d) || s.len > sizeof t->literals - t->literals_len)
        return false; /* stays as it is: slower, not wrong */
    memcpy(t->literals + t->literals_len, s.data, s.len);
    t->token[i] =
        (struct token) { .op = OP_LITERAL, .as.literal = { (uint32_t) t->literals_len, (uint32_t) s.len } };
    t->literals_len += s.len;
    memmove(&t->token[i + 1], &t->token[end + 1], (t->count - end - 1) * sizeof t->token[0]);
    t->count -= end - i;
    return true;
}

/* Neighbouring literals become one, where a copy of both fits. */
static void join_literals(struct cm_tmpl *t)
{
    for (size_t i = 0; i + 1 < t->count;) {
        struct token *a = &t->token[i], *b = &t->token[i + 1];
        const size_t len = (size_t) a->as.literal.len + b->as.literal.len;
        if (a->op != OP_LITERAL || b->op != OP_LITERAL || len > sizeof t->literals - t->literals_len) {
            i++;
            continue;
        }
        uint8_t *at = t->literals + t->literals_len;
        memcpy(at, t->literals + a->as.literal.off, a->as.literal.len);
        memcpy(at + a->as.literal.len, t->literals + b->as.literal.off, b->as.literal.len);
        a->as.literal.off = (uint32_t) t->literals_len;
        a->as.literal.len = (uint32_t) len;
        t->literals_len += len;
        memmove(b, b + 1, (t->count - i - 2) * sizeof *b);
        t->count--;
    }
}

cm_err cm_tmpl_seal(struct cm_tmpl *t, struct cm_error *err)
{
    bool folded = true;

    if (t->full)
        CM_FAIL(err, CM_E_LIMIT,
                "the profile is too large: at most %d fields and %d octets of constant parts", CM_TMPL_FIELDS,
                CM_TMPL_LITERALS);
    CM_ASSERT(t->depth == 0);
    while (folded) {
        folded = false;
        for (size_t i = 0; i < t->count; i++)
            if (t->token[i].op == OP_OPEN)
                folded |= fold_at(t, i);
    }
    join_literals(t);
    return CM_OK;
}

bool cm_tmpl_uses(const struct cm_tmpl *t, enum cm_slot slot)
{
    for (size_t i = 0; i < t->count; i++)
        if (t->token[i].op == OP_SLOT && t->token[i].as.slot == slot)
            return true;
    return false;
}

static bool is_printable_string(uint32_t c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           (c != 0 && c < 0x80 && strchr(" '()+,-./:=?", (int) c) != NULL);
}

static const char *charset_fault(enum cm_charset set, uint32_t c)
{
    const bool alnum = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');

    if (set == CM_CHARS_PRINTABLE && !is_printable_string(c))
        return "a character that PrintableString does not allow";
    if (set == CM_CHARS_IA5 && (c < 0x20 || c >= 0x7f))
        return "a character outside printable ASCII";
    if (set == CM_CHARS_DNS && !alnum && c != '-' && c != '.' && c != '*')
        return "a character that a DNS name does not allow";
    if (set == CM_CHARS_EMAIL && !alnum &&
        (c >= 0x80 || c == 0 || strchr("!#$%&'*+-/=?^_`{|}~.@", (int) c) == NULL))
        return "a character that an e-mail address does not allow";
    if (set == CM_CHARS_URI && (c <= 0x20 || c >= 0x7f || strchr("\"<>\\^`{|}", (int) c) != NULL))
        return "a character that a URI does not allow";
    if (set == CM_CHARS_UTF8 && (c < 0x20 || (c >= 0x7f && c < 0xa0)))
        return "a control character";
    return NULL;
}

/* Labels of 1 to 63 characters that neither begin nor end with a hyphen (RFC 1034 3.5). */
static bool dns_labels_ok(struct cm_span s)
{
    size_t label = 0;

    for (size_t i = 0; i <= s.len; i++) {
        if (i < s.len && s.data[i] != '.') {
            label++;
            continue;
        }
        if (label == 0 || label > 63 || s.data[i - label] == '-' || s.data[i - 1] == '-')
            return false;
        label = 0;
    }
    return s.len <= 253;
}

/* RFC 5321 4.1.2, without quoted local parts. */
static bool mailbox_ok(struct cm_span s)
{
    const uint8_t *const at = s.len > 0 ? memchr(s.data, '@', s.len) : NULL;

    if (at == NULL || at == s.data || at - s.data > 64)
        return false;
    const struct cm_span domain = cm_span(at + 1, s.len - (size_t) (at + 1 - s.data));
    return domain.len > 0 && memchr(domain.data, '@', domain.len) == NULL && dns_labels_ok(domain);
}

/* RFC 3986 3.1 and RFC 5280 4.2.1.6: a scheme, and something behind it. */
static bool uri_ok(struct cm_span s)
{
    size_t i = 0;

    while (i < s.len && (isalnum(s.data[i]) || (i > 0 && memchr("+-.", s.data[i], 3) != NULL)))
        i++;
    return i > 0 && !isdigit(s.data[0]) && i + 1 < s.len && s.data[i] == ':';
}

static const char *form_fault(enum cm_charset set, struct cm_span s)
{
    if (set == CM_CHARS_DNS && !dns_labels_ok(s))
        return "a label that is empty, longer than 63 or begins or ends with '-'";
    if (set == CM_CHARS_EMAIL && !mailbox_ok(s))
        return "no e-mail address, which is name@domain";
    if (set == CM_CHARS_URI && !uri_ok(s))
        return "no URI, which begins with its scheme, as in urn:uuid:";
    return NULL;
}

const char *cm_tmpl_text_fault(enum cm_charset set, struct cm_span s, size_t *chars)
{
    const char *fault = NULL;
    uint32_t c = 0;

    *chars = s.len;
    if (set == CM_CHARS_ANY)
        return NULL;
    *chars = 0;
    for (size_t i = 0, n = 0; i < s.len && fault == NULL; i += n, ++*chars) {
        n = cm_utf8_next(s.data + i, s.len - i, &c);
        if (n == 0)
            return "octets that are not UTF-8";
        fault = charset_fault(set, c);
    }
    return fault != NULL ? fault : form_fault(set, s);
}

/* "column "a", "b": " in front of what is wrong with a field that is made of them. */
static const char *columns_of(const struct cm_pattern *p, char *buf, size_t cap)
{
    struct cm_writer w = cm_writer(buf, cap - 3);
    bool any = false;

    for (size_t i = 0; i < p->count; i++) {
        const struct cm_piece *const piece = &p->piece[i];
        if (piece->kind != CM_PIECE_COLUMN || w.len + piece->len + 12 > w.cap)
            continue;
        cm_put_str(&w, any ? ", \"" : "column \"");
        cm_put(&w, p->text + piece->off, piece->len);
        cm_put_byte(&w, '"');
        any = true;
    }
    memcpy(buf + w.len, any ? ": " : "", any ? 3 : 1);
    return buf;
}

/* An empty value leaves a hole in the field, even where other text stands around it. */
static cm_err check_columns(const struct cm_field *f, const struct cm_values *v, struct cm_error *err)
{
    for (size_t i = 0; i < f->text.count; i++) {
        const struct cm_piece *const p = &f->text.piece[i];
        if (p->kind == CM_PIECE_COLUMN && v->column[p->column].len == 0)
            CM_FAIL(err, CM_E_INPUT, "column \"%.*s\": it is empty, and %s needs it", (int) p->len,
                    f->text.text + p->off, f->label);
    }
    return CM_OK;
}

static cm_err check_field(const struct cm_field *f, const struct cm_values *v, struct cm_error *err)
{
    char buf[CM_PATTERN_OUT], shown[100], from[120];
    struct cm_writer w = cm_writer(buf, sizeof buf);
    const char *fault = NULL;
    size_t chars = 0;

    CM_TRY(check_columns(f, v, err));
    cm_pattern_put(&f->text, v, &w);
    if (!cm_writer_ok(&w))
        CM_FAIL(err, CM_E_INPUT, "%s%s is longer than %d octets", columns_of(&f->text, from, sizeof from),
                f->label, CM_PATTERN_OUT);
    const struct cm_span s = cm_span(buf, w.len);
    fault = cm_tmpl_text_fault(f->charset, s, &chars);
    if (fault != NULL)
        CM_FAIL(err, CM_E_INPUT, "%s%s \"%s\" holds %s", columns_of(&f->text, from, sizeof from), f->label,
                cm_printable(s, shown, sizeof shown), fault);
    if (chars < f->min)
        CM_FAIL(err, CM_E_INPUT, "%s%s \"%s\" is %s: at least %u characters are needed",
                columns_of(&f->text, from, sizeof from), f->label, cm_printable(s, shown, sizeof shown),
                chars == 0 ? "empty" : "too short", f->min);
    if (f->max != 0 && chars > f->max)
        CM_FAIL(err, CM_E_INPUT, "%s%s \"%s\" has %zu characters; X.520 allows %u",
                columns_of(&f->text, from, sizeof from), f->label, cm_printable(s, shown, sizeof shown),
                chars, f->max);
    return CM_OK;
}

cm_err cm_tmpl_check(const struct cm_tmpl *t, const struct cm_values *v, struct cm_error *err)
{
    for (size_t i = 0; i < t->fields; i++)
        CM_TRY(check_field(&t->field[i], v, err));
    return CM_OK;
}
