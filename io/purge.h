#ifndef CM_IO_PURGE_H
#define CM_IO_PURGE_H

#include "engine/err.h"

#include <stdbool.h>

/* purge.h - overwrites and removes the segments or shards with keys of a run that
 * ended. Whoever calls puts it on record, before and after.
 *
 *  Order   zeros durable, then the name gone, file by file; the directory durable at
 *          the end. Can be interrupted and begun again: what is gone is passed over.
 *  Errors  CM_E_IO.
 */
struct cm_purge_conf {
    int fd; /* keys/ or --keys-out */
    const char *path;
    bool tree;
    uint32_t before; /* segments or shards with smaller numbers */
};

struct cm_purge_result {
    uint64_t units, bytes;   /* segments or shards, octets of keys */
    uint64_t foreign;        /* names that a fleet does not have, left alone */
    char first_foreign[256]; /* one of them */
};

CM_MUST_CHECK cm_err cm_purge(const struct cm_purge_conf *conf, struct cm_purge_result *out,
                              struct cm_error *err);

#endif
