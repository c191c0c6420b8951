#ifndef CM_IO_DB_QUERY_H
#define CM_IO_DB_QUERY_H

#include "io/db.h"

/* db_query.h - single statements on the database of the devices, for what stations do:
 * the same text for SQLite and PostgreSQL, but for the words in struct cm_db_words.
 *
 * Parameters are $1, $2, … and texts, NULL is null; all values of an answer are texts.
 * Between open and a transaction nothing else may be under way.
 *
 *  Transaction  transact, queries, settle; after any failure cm_db_rollback (or close).
 *  Errors       CM_E_DB; CM_E_NOMEM. After a settle that failed because the connection
 *               broke nobody knows how it ended: CM_E_DB, and cm_db_is_away.
 */
struct cm_db_words {
    const char *schema;      /* before the name of a table: "certmill." */
    const char *lock;        /* behind a SELECT whose rows others must not take meanwhile */
    const char *skip_locked; /* the same, and rows that others have locked are passed over */
    const char
        *by_index; /* behind the name of a table, before that of the index to use; NULL: the planner knows */
    const char
        *scanned;    /* before a column, that the planner keeps the order of the index and looks through it */
    const char *now; /* the time, as columns have it */
    const char *then; /* so many seconds from now: takes $1; null gives null */
    const char *time; /* printf format: a column of time as RFC 3339 */
    const char *hex;  /* printf format: a column of octets as hex digits */
};

struct cm_db_answer {
    size_t rows, columns;
    char **cell; /* row by row, malloced each; NULL: null */
};

/* Like cm_db_open, but what is not there is not made: CM_E_INPUT. Makes the indexes where a first load has
 * not ended: without them nothing is kept apart. */
CM_MUST_CHECK cm_err cm_db_open_used(const char *url, const char *option, const struct cm_db_wait *wait,
                                     struct cm_db **out, struct cm_error *err);
const struct cm_db_words *cm_db_words(const struct cm_db *d);
CM_MUST_CHECK cm_err cm_db_transact(struct cm_db *d, struct cm_error *err);
/* out NULL: the answer is not wanted. */
CM_MUST_CHECK cm_err cm_db_query(struct cm_db *d, const char *sql, const char *const *text, size_t texts,
                                 struct cm_db_answer *out, struct cm_error *err);
/* Others that do the same under the same name wait until this transaction ends. */
CM_MUST_CHECK cm_err cm_db_alone(struct cm_db *d, const char *name, struct cm_error *err);
CM_MUST_CHECK cm_err cm_db_settle(struct cm_db *d, struct cm_error *err);
void cm_db_answer_done(struct cm_db_answer *a); /* zeroed accepted, and left */

#endif
