#ifndef CM_CLI_BADROWS_H
#define CM_CLI_BADROWS_H

#include "io/source_list.h"

#include <jansson.h>

/* badrows.h - the rows of a device list that can't be used: the first ones for the eye,
 * all of them for --skip-bad FILE.
 *
 *   FILE           the rows as they stand, a CSV list's below its header: mended, it is a
 *                  list for the next run
 *   FILE.reasons   NDJSON, a line a row: {"line":12,"reason":"…"}, the line in the list
 *
 * Neither replaces a file that is there; both are made with the first row, and vanish
 * with close unless `kept` is set. All zero at first.
 */
struct cm_badrows {
    const char *list; /* its path, for messages; borrowed, as the next */
    const char *path; /* --skip-bad; NULL: no files */
    struct cm_span header;
    FILE *rows, *reasons;
    char *reasons_path; /* malloced */
    bool kept;
    uint64_t count;
    struct {
        uint64_t line;
        char reason[CM_ERROR_TEXT];
    } shown[CM_LIST_SHOWN]; /* the first of them */
};

/* For struct cm_source_list_conf; arg is the cm_badrows. */
CM_MUST_CHECK cm_err cm_badrows_take(void *arg, const struct cm_list_fault *fault, struct cm_error *err);
/* Makes the files durable. Where there was no row, there are none. */
CM_MUST_CHECK cm_err cm_badrows_sync(struct cm_badrows *b, struct cm_error *err);
/* CM_E_FOUND: rows were left out, to be found in `path`. */
CM_MUST_CHECK cm_err cm_badrows_conclude(const struct cm_badrows *b, const char *path, struct cm_error *err);
/* The first ones on stderr, a line each, and how many more there are. */
void cm_badrows_print(const struct cm_badrows *b);
/* An array of the first ones; NULL: out of memory. */
json_t *cm_badrows_json(const struct cm_badrows *b);
void cm_badrows_close(struct cm_badrows *b);

#endif
