#ifndef CM_IO_CSVREAD_H
#define CM_IO_CSVREAD_H

#include "io/window.h"

/* csvread.h - reads CSV (RFC 4180) record by record.
 *
 * Fields are divided by commas; one that is quoted may hold commas, line ends and
 * doubled quotes. Lines end with LF or CR LF, the last one perhaps with neither;
 * a byte-order mark is dropped and blank lines are skipped. The header row is a
 * record like the others. Whether a field is UTF-8 is the caller's business.
 *
 *  Faults  a quote in a field that is not quoted, text behind a closing quote, a
 *          quote that nobody closes, a CR alone, a zero octet, too many fields:
 *          such a record is given out with its reason, and reading goes on.
 *  Limits  CM_CSV_RECORD octets and CM_CSV_FIELDS fields a record.
 *  Memory  two buffers of CM_CSV_RECORD octets, whatever the length.
 *  Threads one at a time.
 */
enum { CM_CSV_RECORD = 256 << 10, CM_CSV_FIELDS = 256 };

struct cm_csv_record {
    const struct cm_span *field; /* decoded; the reader's until the next call */
    size_t fields;
    struct cm_span raw; /* as it stands in the file, without its line end; the reader's, too */
    uint64_t line;      /* where it begins, from 1 */
    const char *fault;  /* NULL, or why the fields can't be trusted */
};

struct cm_csvread;

/* `name` is for messages and must outlive the reader, as must `arg`. */
CM_MUST_CHECK cm_err cm_csvread_open(const char *name, cm_window_source *source, void *arg,
                                     struct cm_csvread **out, struct cm_error *err);
/* The next record; CM_E_END after the last. CM_E_INPUT: a record that is too long
 * or a file that is no text, where reading can't go on. */
CM_MUST_CHECK cm_err cm_csvread_next(struct cm_csvread *r, struct cm_csv_record *out, struct cm_error *err);
/* From the beginning again, which the source stands at. */
void cm_csvread_restart(struct cm_csvread *r);
void cm_csvread_close(struct cm_csvread *r); /* NULL accepted */

#endif
