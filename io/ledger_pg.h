#ifndef CM_IO_LEDGER_PG_H
#define CM_IO_LEDGER_PG_H

#include "io/ledger_impl.h"

#include "io/pgkit.h"

/* ledger_pg.h - a ledger on a PostgreSQL server: ledger_pg_db.c connects, makes the
 * tables and words the failures; ledger_pg.c reserves.
 *
 * The ids are streamed into a temporary table, and go from there into the ledger in
 * one statement. That statement, and all else that touches the ledger, runs behind
 * the lock of the CA's row: so reservations take turns, can't deadlock, and see what
 * the one before them committed (READ COMMITTED: every statement sees anew).
 */
enum {
    CM_LEDGER_COPY = 64 << 10,                   /* octets that are sent at a time */
    CM_LEDGER_TUPLE_MAX = 2 + 4 + 8 + 4 + 96 + 2 /* of an id, and the trailer behind the last */
};

struct pg_ledger {
    struct cm_ledger base;
    struct cm_pg pg;
    int64_t ca_no, run_no;
    int64_t reservations; /* of this run, with the one under way */
    uint8_t buf[CM_LEDGER_COPY];
    struct cm_writer w; /* into buf */
};

static inline struct pg_ledger *cm_ledger_pg_of(struct cm_ledger *l)
{
    return (struct pg_ledger *) l;
}

cm_err cm_ledger_pg_open(const char *url, unsigned wait_ms, struct cm_ledger **out, struct cm_error *err);
void cm_ledger_pg_close(struct cm_ledger *l);

#endif
