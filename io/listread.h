#ifndef CM_IO_LISTREAD_H
#define CM_IO_LISTREAD_H

#include "engine/columns.h"

/* listread.h - the rows of a device list, whatever its format, any number of times.
 *
 *   lines   one id a line; no columns
 *   csv     RFC 4180 with a header row, which names the columns
 *   ndjson  one flat JSON object a line; the keys of the first one are the columns, and
 *           each later one has these keys, in any order
 *
 * UTF-8; a byte-order mark, CR LF and a missing last LF are accepted, blank lines are
 * skipped. A row that can't be used is given out with the reason, and reading goes on.
 * The file's SHA-256 is taken with each reading.
 *
 *  Id       the column that is asked for by its name. Otherwise the only column there is;
 *           or the one that is called id; else device_id, else serial, else serial_number.
 *           Upper and lower case, '_', '-' and spaces make no difference there, and two
 *           columns that come to the same are unclear.
 *  Memory   a few buffers of 256 KiB, whatever the length.
 *  Threads  one at a time.
 */
enum cm_list_format { CM_LIST_AUTO, CM_LIST_LINES, CM_LIST_CSV, CM_LIST_NDJSON };

struct cm_list_row {
    uint64_t line;               /* where it begins, from 1 */
    struct cm_span id;           /* any octets */
    const struct cm_span *value; /* UTF-8, one for each column; all of the reader's until the next call */
    size_t attributes_len;       /* octets of them as a manifest row's attributes; 0: no columns */
    struct cm_span raw;          /* the row as it stands, without its line end */
    const char *fault;           /* NULL, or why it can't be used: id and value are not set then */
};

struct cm_listread;

/* Reads up to the first row: columns are known then. format AUTO: by the suffix (.csv;
 * .ndjson, .jsonl; else lines). id_column: NULL, or its name. path is borrowed. CM_E_INPUT
 * names the file, and the line of a header that can't be used; CM_E_USAGE: the id column
 * is not there or unclear; the text lists the columns. */
CM_MUST_CHECK cm_err cm_listread_open(const char *path, enum cm_list_format format, const char *id_column,
                                      struct cm_listread **out, struct cm_error *err);
enum cm_list_format cm_listread_format(const struct cm_listread *l);
const char *cm_listread_format_name(const struct cm_listread *l);          /* "lines", "csv", "ndjson" */
const struct cm_columns *cm_listread_columns(const struct cm_listread *l); /* NULL: none */
struct cm_span cm_listread_header(const struct cm_listread *l);            /* CSV: as it stands; else empty */

/* The next row; CM_E_END after the last. */
CM_MUST_CHECK cm_err cm_listread_next(struct cm_listread *l, struct cm_list_row *out, struct cm_error *err);
/* The first row comes next. */
CM_MUST_CHECK cm_err cm_listread_restart(struct cm_listread *l, struct cm_error *err);
/* Of the whole file, after CM_E_END. */
CM_MUST_CHECK cm_err cm_listread_sha256(struct cm_listread *l, uint8_t out[32], struct cm_error *err);
void cm_listread_close(struct cm_listread *l); /* NULL accepted */

#endif
