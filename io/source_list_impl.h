#ifndef CM_IO_SOURCE_LIST_IMPL_H
#define CM_IO_SOURCE_LIST_IMPL_H

#include "engine/ident.h"
#include "io/source_list.h"

/* source_list_impl.h - what the files of source_list share.
 *
 *   source_list.c        opening, giving out devices
 *   source_list_check.c  the first reading: every fault, and what the rows have at most
 */
struct cm_list_refused {
    uint64_t line;  /* of the row */
    uint64_t other; /* of the row before it with the same id; 0: it can't be used by itself */
};

struct cm_list_source {
    struct cm_source base;
    const char *path;
    struct cm_listread *l;
    const struct cm_columns *columns; /* NULL: none */
    uint64_t mac_base;
    uint8_t sha256[32];
    struct cm_column_bounds bounds;
    struct cm_list_refused *refused; /* by line */
    size_t refused_count, refused_room;
    struct {
        uint8_t *data; /* malloced: the id, the packed values */
        size_t id_len;
    } first[CM_LIST_FIRST];
    struct cm_span first_value[CM_COLUMNS_MAX];
    /* the reading that is under way */
    bool begun;        /* it is; else the next call begins it */
    uint64_t next;     /* index of the device to come */
    size_t refused_at; /* the refused row to come */
    bool verified;     /* it met the same octets to the end */
};

/* Begins a reading. */
CM_MUST_CHECK cm_err cm_list_restart(struct cm_list_source *s, struct cm_error *err);

#endif
