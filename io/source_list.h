#ifndef CM_IO_SOURCE_LIST_H
#define CM_IO_SOURCE_LIST_H

#include "engine/source.h"
#include "io/listread.h"

/* source_list.h - `--devices FILE`: a list of ids, or rows with columns (listread.h).
 *
 * The file is read streaming, several times: by open, for the columns; by check, which
 * finds every fault of every row before the first key is made; by each, for those who
 * ask; and while minting. Its SHA-256 is taken each time: a list that changes in between
 * ends the run.
 *
 *  Sequence  seq is the number of the device among those that are minted, from 1; a
 *            message counts lines of the file.
 *  Refused   a row that can't be used, or whose id a row before it has. They are told in
 *            the order of the file, and left out everywhere when that is asked for. Which
 *            they are depends on the file and the request alone: a resume leaves out
 *            the same.
 *  Memory    a few buffers, the external sort of extsort.h and 16 octets a refused row,
 *            whatever the length.
 *  Limits    CM_LIST_REFUSED_MAX refused rows: beyond, this is not the list that was
 *            meant.
 */
enum { CM_LIST_REFUSED_MAX = 100000, CM_LIST_SHOWN = 20, CM_LIST_FIRST = 3 };

struct cm_list_fault {
    uint64_t line;
    const char *reason;
    struct cm_span raw; /* the row as it stands */
};

struct cm_source_list_conf {
    bool fold_case;           /* ids equal but for ASCII case are duplicates, too */
    uint64_t mac_base;        /* of the first device */
    const uint8_t *run_id;    /* 16 octets */
    struct cm_hasher *hasher; /* the caller's, used during check only */
    const char *spill_dir;    /* where the sort may put a temporary file */
    /* Judges one device beyond its id (profile, template); may be NULL. A failure of the
     * class of CM_E_USAGE is the row's, any other ends the check. */
    cm_err (*check)(void *arg, const struct cm_values *v, struct cm_error *err);
    void *check_arg;
    bool skip; /* refused rows are left out, and all reported; else they end the run */
    /* Is told of each refused row (skip) or the first CM_LIST_SHOWN, in order; may be NULL. */
    cm_err (*report)(void *arg, const struct cm_list_fault *fault, struct cm_error *err);
    void *report_arg;
};

/* See listread.h. path is borrowed. */
CM_MUST_CHECK cm_err cm_source_list_open(const char *path, enum cm_list_format format, const char *id_column,
                                         struct cm_source **out, struct cm_error *err);
const struct cm_listread *cm_source_list_reader(const struct cm_source *s); /* format and columns */

/* Once, before anything is asked of the source. CM_E_INPUT (CM_E_USAGE where the one row
 * that is wrong says so) names the file and the line, or how many rows there are. */
CM_MUST_CHECK cm_err cm_source_list_check(struct cm_source *s, const struct cm_source_list_conf *conf,
                                          struct cm_error *err);
/* Checked: */
void cm_source_list_sha256(const struct cm_source *s, uint8_t out[32]);
uint64_t cm_source_list_refused(const struct cm_source *s);
const struct cm_column_bounds *cm_source_list_bounds(const struct cm_source *s); /* NULL: no columns */
/* One of the first CM_LIST_FIRST devices, but for run id and hasher: false when there are
 * fewer. The source's; the column values until the next call. */
bool cm_source_list_first(struct cm_source *s, size_t index, struct cm_values *out);
/* Every device in turn, as it will be minted, before the first is. */
CM_MUST_CHECK cm_err cm_source_list_each(struct cm_source *s,
                                         cm_err (*take)(void *arg, struct cm_span id, struct cm_error *err),
                                         void *arg, struct cm_error *err);

#endif
