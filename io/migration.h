#ifndef CM_IO_MIGRATION_H
#define CM_IO_MIGRATION_H

#include "engine/err.h"

#include <stdint.h>

/* migration.h - how the tables of a ledger or a database become those of this version:
 * sqlitekit.h and pgkit.h go through it, whoever keeps the tables says what is in it.
 */
struct cm_migration {
    const char *const *step; /* from version i to i + 1; statements, separated by ';' */
    int64_t last;            /* the version after the last of them */
    /* Which version is there, 0 for none; refuses what is not to be changed. Called twice: another process
     * may have been faster. */
    cm_err (*find)(void *arg, int64_t *version, struct cm_error *err);
    void *arg;
};

#endif
