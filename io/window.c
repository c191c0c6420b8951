#include "io/window.h"

cm_err cm_window_fill(struct cm_window *w, struct cm_error *err)
{
    memmove(w->buf, w->buf + w->from, w->to - w->from);
    w->to -= w->from;
    w->from = 0;
    while (!w->ended && w->to < w->cap) {
        size_t got = 0;
        CM_TRY(w->source(w->arg, w->buf + w->to, w->cap - w->to, &got, err));
        w->ended = got == 0;
        w->to += got;
    }
    return CM_OK;
}

/* Without a byte-order mark: every other octet of what begins with ASCII is zero. */
static bool looks_like_utf16(const uint8_t *p, size_t len)
{
    return len >= 4 && (p[0] == 0) == (p[2] == 0) && (p[1] == 0) == (p[3] == 0) && (p[0] == 0) != (p[1] == 0);
}

cm_err cm_window_begin(struct cm_window *w, struct cm_error *err)
{
    CM_TRY(cm_window_fill(w, err));
    w->begun = true;
    if (w->to >= 2 && (memcmp(w->buf, "\xff\xfe", 2) == 0 || memcmp(w->buf, "\xfe\xff", 2) == 0))
        CM_FAIL(err, CM_E_INPUT, "%s is UTF-16; save it as UTF-8", w->name);
    if (looks_like_utf16(w->buf, w->to))
        CM_FAIL(err, CM_E_INPUT, "%s looks like UTF-16; save it as UTF-8", w->name);
    if (w->to >= 2 && memcmp(w->buf, "\x1f\x8b", 2) == 0)
        CM_FAIL(err, CM_E_INPUT, "%s is compressed with gzip; unpack it first", w->name);
    if (w->to >= 3 && memcmp(w->buf, "\xef\xbb\xbf", 3) == 0)
        w->from = 3;
    return CM_OK;
}
