#include "io/csvread.h"

#define NONE SIZE_MAX

enum state {
    AT_START, /* of a field */
    PLAIN,
    QUOTED,
    AFTER_QUOTE, /* which closes the field or is the first of two */
};

struct cm_csvread {
    struct cm_window w; /* filled to its end, so that a record is looked at twice at most */
    uint64_t line;      /* where the next record begins */
    /* the record that is being read */
    enum state state;
    size_t fields, text_len, field_start;
    size_t quote_at, open_at; /* the last quote that opened a field; the first whose field goes on in the next
                                 line, else NONE */
    const char *fault;
    char why[120];
    struct cm_span field[CM_CSV_FIELDS];
    uint8_t buf[CM_CSV_RECORD];
    uint8_t text[CM_CSV_RECORD]; /* its fields, decoded: never longer than the record */
};

static void blame(struct cm_csvread *r, const char *why)
{
    if (r->fault == NULL)
        r->fault = why;
}

static void end_field(struct cm_csvread *r)
{
    if (r->fields < CM_CSV_FIELDS)
        r->field[r->fields++] = cm_span(r->text + r->field_start, r->text_len - r->field_start);
    else
        blame(r, "more than 256 fields");
    r->field_start = r->text_len;
    r->state = AT_START;
}

static void put(struct cm_csvread *r, uint8_t c, enum state next)
{
    if (c == 0)
        blame(r, "a zero octet");
    r->text[r->text_len++] = c;
    r->state = next;
}

/* One octet, at `at` of the record, that does not end it. */
static void step(struct cm_csvread *r, size_t at, uint8_t c)
{
    if (r->state == QUOTED) {
        if (c == '\n' && r->open_at == NONE)
            r->open_at = r->quote_at;
        if (c == '"')
            r->state = AFTER_QUOTE;
        else
            put(r, c, QUOTED);
    } else if (c == ',') {
        end_field(r);
    } else if (c == '"' && r->state == AT_START) {
        r->quote_at = at;
        r->state = QUOTED;
    } else if (c == '"' && r->state == AFTER_QUOTE) {
        put(r, c, QUOTED);
    } else {
        if (r->state == AFTER_QUOTE)
            blame(r, "text behind a closing quote");
        else if (c == '"')
            blame(r, "a quote in a field that does not begin with one");
        else if (c == '\r')
            blame(r, "a carriage return without a line feed");
        put(r, c, PLAIN);
    }
}

static uint64_t count_lines(const uint8_t *p, size_t len)
{
    uint64_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += p[i] == '\n';
    return n;
}

/* Of the quote that was most likely forgotten to be closed. */
static unsigned long long quote_line(const struct cm_csvread *r)
{
    const size_t at = r->open_at != NONE ? r->open_at : r->quote_at;

    return r->line + count_lines(r->w.buf + r->w.from, at);
}

static void blame_quote(struct cm_csvread *r)
{
    (void) snprintf(
        r->why, sizeof r->why,
        "the quote that opens a field in line %llu is not closed before the file ends: close it there",
        quote_line(r));
    r->fault = r->why;
}

/* Nobody knows where such a record ends. */
static cm_err too_long(const struct cm_csvread *r, struct cm_error *err)
{
    if (r->open_at != NONE || r->state == QUOTED)
        CM_FAIL(
            err, CM_E_INPUT,
            "%s, line %llu: the quote that opens a field there is not closed within %d octets: close it, or "
            "write a quote that belongs to the text twice, in a field in quotes; --skip-bad can't leave it "
            "out",
            r->w.name, quote_line(r), CM_CSV_RECORD);
    CM_FAIL(err, CM_E_INPUT, "%s, line %llu: a record longer than %d octets: shorten it", r->w.name,
            (unsigned long long) r->line, CM_CSV_RECORD);
}

/* Reads what the buffer holds of a record. True: it is whole, *len octets and the
 * line end of *end octets. */
static bool scan(struct cm_csvread *r, size_t *len, size_t *end)
{
    const uint8_t *const p = r->w.buf + r->w.from;
    const size_t have = r->w.to - r->w.from;

    r->state = AT_START;
    r->fields = r->text_len = r->field_start = 0;
    r->fault = NULL;
    r->open_at = NONE;
    *end = 0;
    for (*len = 0; *len < have; (*len)++) {
        const uint8_t c = p[*len];
        const bool last = *len + 1 == have;
        if (r->state != QUOTED && c == '\r' && last && !r->w.ended)
            return false;
        if (r->state != QUOTED && c == '\r' && (last || p[*len + 1] == '\n'))
            *end = last ? 1 : 2;
        else if (r->state != QUOTED && c == '\n')
            *end = 1;
        if (*end != 0)
            break;
        step(r, *len, c);
    }
    if (*end == 0 && !r->w.ended)
        return false;
    if (r->state == QUOTED)
        blame_quote(r);
    end_field(r);
    return true;
}

cm_err cm_csvread_next(struct cm_csvread *r, struct cm_csv_record *out, struct cm_error *err)
{
    size_t len = 0, end = 0;
    struct cm_csv_record rec = { 0 };

    if (!r->w.begun)
        CM_TRY(cm_window_begin(&r->w, err));
    do {
        if (!scan(r, &len, &end)) {
            CM_TRY(cm_window_fill(&r->w, err));
            if (!scan(r, &len, &end))
                return too_long(r, err);
        }
        if (r->w.from == r->w.to)
            return CM_E_END;
        rec.raw = cm_span(r->w.buf + r->w.from, len);
        rec.line = r->line;
        r->line += count_lines(r->w.buf + r->w.from, len + end);
        r->w.from += len + end;
    } while (len == 0);
    rec.field = r->field;
    rec.fields = r->fields;
    rec.fault = r->fault;
    *out = rec;
    return CM_OK;
}

cm_err cm_csvread_open(const char *name, cm_window_source *source, void *arg, struct cm_csvread **out,
                       struct cm_error *err)
{
    struct cm_csvread *const r = calloc(1, sizeof *r);

    if (r == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory to read %s", name);
    r->w = (struct cm_window) {
        .name = name, .source = source, .arg = arg, .buf = r->buf, .cap = sizeof r->buf
    };
    r->line = 1;
    *out = r;
    return CM_OK;
}

void cm_csvread_restart(struct cm_csvread *r)
{
    r->w.from = r->w.to = 0;
    r->w.begun = r->w.ended = false;
    r->line = 1;
}

void cm_csvread_close(struct cm_csvread *r)
{
    free(r);
}
