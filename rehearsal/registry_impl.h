#ifndef CM_REHEARSAL_REGISTRY_IMPL_H
#define CM_REHEARSAL_REGISTRY_IMPL_H

#include "io/sqlitekit.h"
#include "rehearsal/registry.h"

/* registry_impl.h - what the files of the registry share: statements and transactions. */
struct cm_registry {
    struct cm_sqlite sqlite;
    char *path;
    char account[16], region[32];
    unsigned depth; /* of transactions: the outermost one is SQLite's */
};

/* A statement with its parameters: one letter each, t const char * (NULL: null), i int64_t, b const struct
 * cm_span *. */
CM_MUST_CHECK cm_err cm_reg_query(struct cm_registry *r, sqlite3_stmt **out, struct cm_svc_error *no,
                                  const char *sql, const char *types, ...);
/* *got: there is a row (more). */
CM_MUST_CHECK cm_err cm_reg_step(struct cm_registry *r, sqlite3_stmt *stmt, bool *got,
                                 struct cm_svc_error *no);
/* The same, and its first row. *out, which starts as NULL, is to be finalized after a failure too. */
CM_MUST_CHECK cm_err cm_reg_first(struct cm_registry *r, sqlite3_stmt **out, bool *got,
                                  struct cm_svc_error *no, const char *sql, const char *types, ...);
/* A statement without rows; *changed (NULL: not wanted): rows that it changed. */
CM_MUST_CHECK cm_err cm_reg_do(struct cm_registry *r, int64_t *changed, struct cm_svc_error *no,
                               const char *sql, const char *types, ...);
/* The first column of the first row; 0: no row. */
CM_MUST_CHECK cm_err cm_reg_number(struct cm_registry *r, int64_t *out, struct cm_svc_error *no,
                                   const char *sql, const char *types, ...);
/* A text column, copied; NULL stays NULL. */
CM_MUST_CHECK cm_err cm_reg_text(sqlite3_stmt *stmt, int column, char **out, struct cm_svc_error *no);
/* A text column into a fixed array; null becomes "". */
void cm_reg_copy(sqlite3_stmt *stmt, int column, char *out, size_t cap);

/* A transaction around what returned rc: leave commits it, or undoes it and returns rc. */
CM_MUST_CHECK cm_err cm_reg_enter(struct cm_registry *r, struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_leave(struct cm_registry *r, cm_err rc, struct cm_svc_error *no);

int64_t cm_reg_now_ms(void);

extern const char cm_reg_schema[];

#endif
