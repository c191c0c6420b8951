#ifndef CM_IO_DB_QUERY_IMPL_H
#define CM_IO_DB_QUERY_IMPL_H

#include "io/db_query.h"

/* db_query_impl.h - single statements, by the kind of database: for the tables of
 * calls in db_sqlite.c and db_pg.c. */
extern const struct cm_db_words cm_db_sqlite_words, cm_db_pg_words;

cm_err cm_db_sqlite_transact(struct cm_db *d, struct cm_error *err);
cm_err cm_db_sqlite_query(struct cm_db *d, const char *sql, const char *const *text, size_t texts,
                          struct cm_db_answer *out, struct cm_error *err);
cm_err cm_db_sqlite_settle(struct cm_db *d, struct cm_error *err);

cm_err cm_db_pg_transact(struct cm_db *d, struct cm_error *err);
cm_err cm_db_pg_query(struct cm_db *d, const char *sql, const char *const *text, size_t texts,
                      struct cm_db_answer *out, struct cm_error *err);
cm_err cm_db_pg_alone(struct cm_db *d, const char *name, struct cm_error *err);
cm_err cm_db_pg_settle(struct cm_db *d, struct cm_error *err);

#endif
