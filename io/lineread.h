#ifndef CM_IO_LINEREAD_H
#define CM_IO_LINEREAD_H

#include "io/window.h"

/* lineread.h - reads a text line by line.
 *
 * Lines end with LF or CR LF, the last one perhaps with neither; a byte-order mark is
 * dropped and blank lines are skipped, but counted.
 *
 *  Limits   CM_LINE_MAX octets a line.
 *  Memory   a buffer of that size.
 *  Threads  one at a time.
 */
enum { CM_LINE_MAX = 256 << 10 };

struct cm_lineread;

/* `name` is for messages and must outlive the reader, as must `arg`. */
CM_MUST_CHECK cm_err cm_lineread_open(const char *name, cm_window_source *source, void *arg,
                                      struct cm_lineread **out, struct cm_error *err);
/* The next line without its end, the reader's until the next call, and its number from
 * 1; CM_E_END after the last. CM_E_INPUT: a line that is too long, or no text at all. */
CM_MUST_CHECK cm_err cm_lineread_next(struct cm_lineread *r, struct cm_span *out, uint64_t *line,
                                      struct cm_error *err);
/* From the beginning again, which the source stands at. */
void cm_lineread_restart(struct cm_lineread *r);
void cm_lineread_close(struct cm_lineread *r); /* NULL accepted */

#endif
