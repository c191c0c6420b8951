#ifndef CM_IO_SQLITEKIT_H
#define CM_IO_SQLITEKIT_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "io/dburl.h"
#include "io/migration.h"

#include <sqlite3.h>
#include <sys/types.h>

/* sqlitekit.h - SQLite's calls, each checked, with a message that names the file:
 * what the ledger and the database of the devices share.
 *
 *  Errors  CM_E_DB: "the NOUN NAME: can't WHAT: SQLite's reason: what to do".
 */
#define CM_SQLITE_SCHEME "sqlite:"

struct cm_sqlite {
    sqlite3 *db;
    const char *noun;       /* "ledger" */
    const char *name;       /* what messages call it; borrowed */
    struct cm_db_wait wait; /* for the locks of others; may be changed between calls */
    uint64_t busy_since_ms; /* the kit's own */
};

/* "sqlite:FILE" with an absolute path, which keeps SQLite from seeing anything but a file name in it
 * (":memory:", "file:…?…"). CM_E_USAGE. */
CM_MUST_CHECK cm_err cm_sqlite_url_public(const char *url, const char *option, char *out, size_t cap,
                                          struct cm_error *err);
/* Makes the file where it is missing, with exactly this mode, its name durable; then opens it to be written,
 * waiting for others as s->wait says: so *s stays where it is. public: as above. After a failure close takes
 * what is there. */
CM_MUST_CHECK cm_err cm_sqlite_open(struct cm_sqlite *s, const char *public, mode_t mode,
                                    struct cm_error *err);
/* Opens what is there, to be read only: *there is false where nothing is. CM_E_DB when it, or its directory,
 * could not be written by cm_sqlite_open. */
CM_MUST_CHECK cm_err cm_sqlite_peek(struct cm_sqlite *s, const char *public, bool *there,
                                    struct cm_error *err);
void cm_sqlite_close(struct cm_sqlite *s);
/* CM_E_DB when it can't be written. */
CM_MUST_CHECK cm_err cm_sqlite_check_writable(const struct cm_sqlite *s, struct cm_error *err);

/* is_new: this call made the first tables. A failure changes nothing. */
CM_MUST_CHECK cm_err cm_sqlite_migrate(const struct cm_sqlite *s, const struct cm_migration *m, bool *is_new,
                                       struct cm_error *err);

/* The message of the last call on the connection that failed. */
cm_err cm_sqlite_fail(const struct cm_sqlite *s, const char *what, struct cm_error *err);
/* The contents are not what this program left there. */
cm_err cm_sqlite_damaged(const struct cm_sqlite *s, const char *how, struct cm_error *err);
/* Statements, separated by ';', that give no rows. */
CM_MUST_CHECK cm_err cm_sqlite_run(const struct cm_sqlite *s, const char *sql, const char *what,
                                   struct cm_error *err);
CM_MUST_CHECK cm_err cm_sqlite_prepare(const struct cm_sqlite *s, const char *sql, sqlite3_stmt **out,
                                       struct cm_error *err);
/* The first column of the first row, an integer; `none` where there is no row. text: its parameters. */
CM_MUST_CHECK cm_err cm_sqlite_int(const struct cm_sqlite *s, const char *sql, const char *const *text,
                                   size_t texts, int64_t none, int64_t *out, struct cm_error *err);
/* A failure here leaves the journal, by which the next to open undoes it all. */
void cm_sqlite_rollback(const struct cm_sqlite *s);

#endif
