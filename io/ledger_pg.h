#ifndef CM_IO_LEDGER_PG_H
#define CM_IO_LEDGER_PG_H

#include "io/ledger_impl.h"

#include <libpq-fe.h>

/* ledger_pg.h - a ledger on a PostgreSQL server: ledger_pg_db.c connects, makes the
 * tables and words the failures; ledger_pg.c reserves.
 *
 * The ids are streamed into a temporary table, and go from there into the ledger in
 * one statement. That statement, and all else that touches the ledger, runs behind
 * the lock of the CA's row: so reservations take turns, can't deadlock, and see what
 * the one before them committed (READ COMMITTED: every statement sees anew).
 *
 * Everything is in the schema `certmill`, named in full: a search_path that differs
 * between users or machines would silently give them a ledger each.
 */
enum {
    CM_LEDGER_COPY = 64 << 10,                   /* octets that are sent at a time */
    CM_LEDGER_TUPLE_MAX = 2 + 4 + 8 + 4 + 96 + 2 /* of an id, and the trailer behind the last */
};

struct pg_ledger {
    struct cm_ledger base;
    PGconn *conn;
    bool copying;
    int64_t ca_no, run_no;
    int64_t reservations; /* of this run, with the one under way */
    uint8_t buf[CM_LEDGER_COPY];
    size_t len;
};

static inline struct pg_ledger *cm_ledger_pg_of(struct cm_ledger *l)
{
    return (struct pg_ledger *) l;
}

cm_err cm_ledger_pg_open(const char *url, unsigned wait_ms, struct cm_ledger **out, struct cm_error *err);
void cm_ledger_pg_close(struct cm_ledger *l);

/* "can't WHAT" with the server's reason, or libpq's where there was no answer. Frees
 * res (NULL accepted). CM_E_DB. */
cm_err cm_ledger_pg_fail(const struct pg_ledger *s, PGresult *res, const char *what, struct cm_error *err);
/* Statements, separated by ';', that give no rows. */
cm_err cm_ledger_pg_run(const struct pg_ledger *s, const char *sql, const char *what, struct cm_error *err);
/* One statement with parameters, whose result must be `want`; out may be NULL. */
cm_err cm_ledger_pg_query(const struct pg_ledger *s, const char *sql, const char *const *text, size_t texts,
                          ExecStatusType want, PGresult **out, const char *what, struct cm_error *err);
/* The first column of the first row, an integer; `none` where there is no row or it is null. */
cm_err cm_ledger_pg_int(const struct pg_ledger *s, const char *sql, const char *const *text, size_t texts,
                        int64_t none, int64_t *out, const char *what, struct cm_error *err);
cm_err cm_ledger_pg_begin(const struct pg_ledger *s, const char *what, struct cm_error *err);
void cm_ledger_pg_rollback(struct cm_ledger *l);

#endif
