#include "io/fleet_walk.h"

#include "io/journalread.h"

enum { WINDOW = 1 << 20 }; /* octets; several of the longest rows */

struct cm_fleet_walk {
    const struct cm_fleet *fleet;
    uint8_t *window;
    uint64_t at;        /* offset of the window in the manifest */
    size_t from, until; /* in the window: what is not taken yet */
    struct cm_row row;
    uint64_t superseded;
};

cm_err cm_fleet_walk_open(const struct cm_fleet *f, struct cm_fleet_walk **out, struct cm_error *err)
{
    struct cm_fleet_walk *w = calloc(1, sizeof *w);

    if (w == NULL || (w->window = malloc(WINDOW)) == NULL) {
        free(w);
        CM_FAIL(err, CM_E_NOMEM, "out of memory for reading the manifest");
    }
    w->fleet = f;
    *out = w;
    return CM_OK;
}

/* The next line, without its LF. */
static cm_err next_line(struct cm_fleet_walk *w, struct cm_span *line, struct cm_error *err)
{
    for (int again = 0;; again++) {
        const uint8_t *const from = w->window + w->from;
        const uint8_t *const lf = memchr(from, '\n', w->until - w->from);
        if (lf != NULL) {
            *line = cm_span(from, (size_t) (lf - from));
            w->from += line->len + 1;
            return CM_OK;
        }
        w->at += w->from;
        w->from = w->until = 0;
        if (again == 0)
            CM_TRY(cm_fleet_manifest_read(w->fleet, w->window, WINDOW, w->at, &w->until, err));
        if (w->until == 0 && w->at >= cm_fleet_manifest_bytes(w->fleet))
            return CM_E_END;
        if (again > 0)
            CM_FAIL(err, CM_E_INPUT, "manifest.ndjson at offset %llu: no whole row; run certmill verify %s",
                    (unsigned long long) w->at, cm_fleet_path(w->fleet));
    }
}

cm_err cm_fleet_walk_next(struct cm_fleet_walk *w, const struct cm_row **out, struct cm_error *err)
{
    for (;;) {
        struct cm_span line;
        struct cm_error why;
        cm_rowread_done(&w->row);
        CM_TRY(next_line(w, &line, err));
        const uint64_t at = w->at + (uint64_t) (line.data - w->window);
        const cm_err rc = cm_rowread_parse(cm_span(line.data, cm_rowread_len(line)), &w->row, &why);
        if (rc != CM_OK)
            CM_FAIL(err, rc, "manifest.ndjson at offset %llu: %.300s", (unsigned long long) at, why.what);
        w->row.at = at;
        if (cm_journal_superseded(cm_fleet_journal(w->fleet), (uint64_t) w->row.seq, at) == NULL)
            break;
        w->superseded++;
    }
    *out = &w->row;
    return CM_OK;
}

uint64_t cm_fleet_walk_superseded(const struct cm_fleet_walk *w)
{
    return w->superseded;
}

void cm_fleet_walk_close(struct cm_fleet_walk *w)
{
    if (w == NULL)
        return;
    cm_rowread_done(&w->row);
    free(w->window);
    free(w);
}
