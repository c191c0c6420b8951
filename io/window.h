#ifndef CM_IO_WINDOW_H
#define CM_IO_WINDOW_H

#include "engine/bytes.h"
#include "engine/err.h"

/* window.h - the part of a text that is being looked at, while it comes in pieces.
 *
 * Shared by the readers of lists (lineread.h, csvread.h): octets from..to of buf are
 * read and not yet given out. The buffer is the reader's.
 */

/* Puts at most cap octets into buf; *got 0 is the end. */
typedef cm_err cm_window_source(void *arg, uint8_t *buf, size_t cap, size_t *got, struct cm_error *err);

struct cm_window {
    const char *name; /* for messages */
    cm_window_source *source;
    void *arg;
    uint8_t *buf;
    size_t cap, from, to;
    bool begun, ended; /* ended: nothing comes any more */
};

/* Moves what is left to the beginning and fills the buffer to its end. */
CM_MUST_CHECK cm_err cm_window_fill(struct cm_window *w, struct cm_error *err);
/* The first filling: drops a byte-order mark; CM_E_INPUT: UTF-16 or gzip. */
CM_MUST_CHECK cm_err cm_window_begin(struct cm_window *w, struct cm_error *err);

#endif
