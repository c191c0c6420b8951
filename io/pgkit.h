#ifndef CM_IO_PGKIT_H
#define CM_IO_PGKIT_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "io/migration.h"

#include <endian.h>
#include <libpq-fe.h>

/* pgkit.h - a PostgreSQL server's calls, each checked, with a message that names the
 * server and never its password: what the ledger and the database of the devices share.
 *
 * Everything of certmill is in the schema `certmill`, named in full: a search_path that
 * differs between users or machines would silently give them tables each.
 *
 *  Errors  CM_E_DB: "the NOUN NAME: can't WHAT: the server's reason: what to do".
 */
struct cm_pg {
    PGconn *conn;
    const char *noun; /* "ledger" */
    char name[160];   /* what messages call it; connect fills it in */
    unsigned wait_ms; /* how long a transaction waits for the locks of others */
    bool copying;     /* a COPY FROM STDIN is under way */
    bool doubled;     /* what made it fail: a value is there that may be there once */
    bool in_the_way;  /* what made the last call fail may pass: a lock, a server that goes down or can't be
                         reached */
};

/* A database in UTF8. CM_E_USAGE: the URL; CM_E_INPUT: the encoding. After a failure close takes what is
 * there. */
CM_MUST_CHECK cm_err cm_pg_open(struct cm_pg *s, const char *url, struct cm_error *err);
void cm_pg_close(struct cm_pg *s);
/* The connection is there, as far as anybody knows. */
bool cm_pg_is_up(const struct cm_pg *s);

/* With the server's reason, or libpq's where there was no answer. Frees res (NULL accepted). */
cm_err cm_pg_fail(struct cm_pg *s, PGresult *res, const char *what, struct cm_error *err);
/* Statements, separated by ';', that give no rows. */
CM_MUST_CHECK cm_err cm_pg_run(struct cm_pg *s, const char *sql, const char *what, struct cm_error *err);
/* One statement with parameters, whose result must be `want`; out may be NULL, and is the caller's. */
CM_MUST_CHECK cm_err cm_pg_query(struct cm_pg *s, const char *sql, const char *const *text, size_t texts,
                                 ExecStatusType want, PGresult **out, const char *what, struct cm_error *err);
/* The first column of the first row, an integer; `none` where there is no row or it is null. */
CM_MUST_CHECK cm_err cm_pg_int(struct cm_pg *s, const char *sql, const char *const *text, size_t texts,
                               int64_t none, int64_t *out, const char *what, struct cm_error *err);
/* Has the schema such a table? Asks the catalog's tables: to_regclass may answer from a cache of before the
 * wait for a lock. */
CM_MUST_CHECK cm_err cm_pg_has_table(struct cm_pg *s, const char *name, bool *out, struct cm_error *err);

/* CM_E_DB: migrate would not be let make the first tables. */
CM_MUST_CHECK cm_err cm_pg_check_may_make(struct cm_pg *s, struct cm_error *err);

/* A transaction that sees anew with every statement, whose commit will be durable. */
CM_MUST_CHECK cm_err cm_pg_begin(struct cm_pg *s, const char *what, struct cm_error *err);
/* is_new: this call made the first tables. One process at a time does; a failure changes nothing. */
CM_MUST_CHECK cm_err cm_pg_migrate(struct cm_pg *s, const struct cm_migration *m, bool *is_new,
                                   struct cm_error *err);
/* CM_E_CLOSED, without a message: the connection broke, nobody knows how it ended. */
CM_MUST_CHECK cm_err cm_pg_commit(struct cm_pg *s, const char *what, struct cm_error *err);
void cm_pg_rollback(struct cm_pg *s);

CM_MUST_CHECK cm_err cm_pg_copy_begin(struct cm_pg *s, const char *sql, const char *what,
                                      struct cm_error *err);
CM_MUST_CHECK cm_err cm_pg_copy_put(struct cm_pg *s, const void *data, size_t len, const char *what,
                                    struct cm_error *err);
/* Waits for the server's word on all of it. */
CM_MUST_CHECK cm_err cm_pg_copy_end(struct cm_pg *s, const char *what, struct cm_error *err);

/* What a COPY in binary begins with, and ends with. */
enum { CM_PG_COPY_HEAD = 19, CM_PG_COPY_TAIL = 2 };
void cm_pg_put_head(struct cm_writer *w);
void cm_pg_put_tail(struct cm_writer *w);
/* value, most significant octet first. */
static inline void cm_pg_put_be(struct cm_writer *w, uint64_t value, size_t octets)
{
    const uint64_t be = htobe64(value);

    cm_put(w, (const uint8_t *) &be + (sizeof be - octets), octets);
}

/* A time YYYY-MM-DDTHH:MM:SSZ as timestamptz: microseconds since 2000. What is no day becomes a number that
 * the server refuses as out of range. */
void cm_pg_time(const char *text, uint8_t out[8]);
/* A UUID's text, its form checked before, as uuid. */
void cm_pg_uuid(const char *text, uint8_t out[16]);

#endif
