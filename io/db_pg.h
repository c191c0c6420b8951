#ifndef CM_IO_DB_PG_H
#define CM_IO_DB_PG_H

#include "io/db_impl.h"
#include "io/db_schema.h"
#include "io/pgkit.h"

/* db_pg.h - the database on a PostgreSQL server. A batch of rows is one transaction with one COPY
 * in binary, behind the lock of the run's row: loads of one run take turns, and each
 * begins where the one before it ended. Such a load keeps its rows invisible until
 * COMMIT, and what breaks off before it leaves nothing.
 */
enum {
    CM_DB_COPY = 256 << 10,                             /* octets that are sent at a time */
    CM_DB_COPY_ROW = 3 * (64 << 10) + CM_DB_COLUMNS * 4 /* of a row: its texts, the certificate, lengths */
};

struct pg_db {
    struct cm_db base;
    struct cm_pg pg;
    uint8_t buf[CM_DB_COPY + CM_DB_COPY_ROW];
    struct cm_writer w; /* into buf */
    /* Of each time or UUID, what it was last and as the server takes it: most rows have the same. */
    struct {
        char text[37];
        uint8_t octets[16];
    } kept[CM_DB_COLUMNS];
};

static inline struct pg_db *cm_db_pg_of(struct cm_db *d)
{
    return (struct pg_db *) d;
}

#endif
