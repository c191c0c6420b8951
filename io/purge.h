#ifndef CM_IO_PURGE_H
#define CM_IO_PURGE_H

#include "engine/err.h"

#include <stdbool.h>

/* purge.h - overwrites and removes all key segments or shards of a run that ended, also
 * what an attempt has left unfinished. Whoever calls puts it on record, before and after.
 *
 *  Order   zeros durable, then the name gone, segment by segment or shard by shard; the
 *          directory durable at the end. Can be interrupted and begun again: what is gone
 *          is passed over.
 *  Errors  CM_E_IO.
 */
struct cm_purge_conf {
    int fd; /* keys/ or --keys-out */
    const char *path;
    bool tree;
};

struct cm_purge_result {
    uint64_t units;          /* segments or shards */
    uint64_t foreign;        /* names that a fleet does not have, left alone */
    char first_foreign[256]; /* one of them */
};

CM_MUST_CHECK cm_err cm_purge(const struct cm_purge_conf *conf, struct cm_purge_result *out,
                              struct cm_error *err);

#endif
