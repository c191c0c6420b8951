#include "io/lineread.h"

struct cm_lineread {
    struct cm_window w;
    uint64_t line; /* that was given out last */
    uint8_t buf[CM_LINE_MAX];
};

/* The next line, blank or not. */
static cm_err raw_line(struct cm_lineread *r, struct cm_span *out, struct cm_error *err)
{
    struct cm_window *const w = &r->w;
    const uint8_t *lf = memchr(w->buf + w->from, '\n', w->to - w->from);

    if (lf == NULL && !w->ended) {
        CM_TRY(cm_window_fill(w, err));
        lf = memchr(w->buf + w->from, '\n', w->to - w->from);
    }
    if (lf == NULL && w->from == w->to)
        return CM_E_END;
    r->line++;
    if (lf == NULL && !w->ended)
        CM_FAIL(err, CM_E_INPUT, "%s, line %llu: longer than %d octets; this is no list of devices", w->name,
                (unsigned long long) r->line, CM_LINE_MAX);
    const uint8_t *const start = w->buf + w->from;
    size_t len = lf != NULL ? (size_t) (lf - start) : w->to - w->from;
    w->from += len + (lf != NULL);
    len -= len > 0 && start[len - 1] == '\r';
    *out = cm_span(start, len);
    return CM_OK;
}

cm_err cm_lineread_next(struct cm_lineread *r, struct cm_span *out, uint64_t *line, struct cm_error *err)
{
    if (!r->w.begun)
        CM_TRY(cm_window_begin(&r->w, err));
    do
        CM_TRY(raw_line(r, out, err));
    while (out->len == 0);
    *line = r->line;
    return CM_OK;
}

cm_err cm_lineread_open(const char *name, cm_window_source *source, void *arg, struct cm_lineread **out,
                        struct cm_error *err)
{
    struct cm_lineread *const r = malloc(sizeof *r);

    if (r == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory to read %s", name);
    r->w = (struct cm_window) {
        .name = name, .source = source, .arg = arg, .buf = r->buf, .cap = sizeof r->buf
    };
    r->line = 0;
    *out = r;
    return CM_OK;
}

void cm_lineread_restart(struct cm_lineread *r)
{
    r->w.from = r->w.to = 0;
    r->w.begun = r->w.ended = false;
    r->line = 0;
}

void cm_lineread_close(struct cm_lineread *r)
{
    free(r);
}
