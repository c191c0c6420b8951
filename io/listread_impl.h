#ifndef CM_IO_LISTREAD_IMPL_H
#define CM_IO_LISTREAD_IMPL_H

#include "engine/digest.h"
#include "io/csvread.h"
#include "io/flatjson.h"
#include "io/lineread.h"
#include "io/listread.h"

/* listread_impl.h - what the files of listread share.
 *
 *   listread.c          the file, its hash, the rows
 *   listread_columns.c  the names of the columns, and which of them is the id
 */
struct cm_listread {
    const char *path;
    int fd;
    struct cm_digest *digest;
    enum cm_list_format format;
    struct cm_csvread *csv;     /* of CSV */
    struct cm_lineread *lines;  /* of the two others */
    struct cm_flatjson *object; /* of NDJSON, as the next */
    uint8_t *text;
    struct cm_columns columns;
    const char *name[CM_COLUMNS_MAX]; /* malloced */
    struct cm_span value[CM_COLUMNS_MAX];
    struct cm_span header; /* malloced */
    size_t braces;         /* octets of attributes without the values */
    char why[320];         /* the fault of the row at hand */
};

/* These names become l->columns. CM_E_INPUT names the line. */
CM_MUST_CHECK cm_err cm_listread_set_columns(struct cm_listread *l, const struct cm_span *name, size_t count,
                                             uint64_t line, struct cm_error *err);
CM_MUST_CHECK cm_err cm_listread_choose_id(struct cm_listread *l, const char *asked, struct cm_error *err);

#endif
