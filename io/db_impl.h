#ifndef CM_IO_DB_IMPL_H
#define CM_IO_DB_IMPL_H

#include "io/db.h"
#include "io/db_query.h"

/* db_impl.h - what db.c and the kinds of database share. db.c keeps the order of the
 * calls and words the refusals; a kind keeps the rows. */
struct cm_db_look {
    bool indexed;
    int64_t runs, others;   /* other runs than this one, and those of them that are below the CA */
    int64_t manifest_bytes; /* of this run's cursor */
};

struct cm_db_ops {
    cm_err (*open)(const char *url, const char *option, const struct cm_db_wait *wait, struct cm_db **out,
                   bool *away, struct cm_error *err);
    /* Fills in there and version, and writes nothing. */
    cm_err (*peek)(const char *url, const char *option, const struct cm_db_wait *wait,
                   struct cm_db_found *found, struct cm_error *err);
    void (*wait_with)(struct cm_db *d, const struct cm_db_wait *wait);
    /* Asked right after a failure. */
    bool (*is_away)(const struct cm_db *d);
    bool (*is_doubled)(const struct cm_db *d);
    /* Of a run that need not be there: then at is 0. */
    cm_err (*look)(struct cm_db *d, const char *run_id, const char *ca_certificate_id, struct cm_db_look *out,
                   struct cm_error *err);
    cm_err (*enter)(struct cm_db *d, const struct cm_db_run *run, struct cm_error *err);
    cm_err (*has)(struct cm_db *d, struct cm_span certificate_id, bool *out, struct cm_error *err);
    /* Fills in *holder; CM_E_END: none of the ids is taken. */
    cm_err (*taken)(struct cm_db *d, const char *run_id, const char *ca_certificate_id,
                    const struct cm_span *id, size_t ids, struct cm_db_holder *holder, struct cm_error *err);
    cm_err (*begin)(struct cm_db *d, struct cm_db_cursor *at, struct cm_error *err);
    /* changed: rows that were superseded. */
    cm_err (*supersede)(struct cm_db *d, const struct cm_db_successor *next, size_t count, size_t *changed,
                        struct cm_error *err);
    cm_err (*put)(struct cm_db *d, const struct cm_db_row *row, struct cm_error *err);
    cm_err (*commit)(struct cm_db *d, const struct cm_db_cursor *to, struct cm_error *err);
    void (*rollback)(struct cm_db *d);
    cm_err (*index)(struct cm_db *d, struct cm_error *err);
    /* Single statements, as db_query.h has them. alone NULL: a transaction is alone anyway. */
    const struct cm_db_words *words;
    cm_err (*transact)(struct cm_db *d, struct cm_error *err);
    cm_err (*query)(struct cm_db *d, const char *sql, const char *const *text, size_t texts,
                    struct cm_db_answer *out, struct cm_error *err);
    cm_err (*alone)(struct cm_db *d, const char *name, struct cm_error *err);
    cm_err (*settle)(struct cm_db *d, struct cm_error *err);
    void (*close)(struct cm_db *d);
};

extern const struct cm_db_ops cm_db_sqlite_ops, cm_db_pg_ops;

/* The common part, first in each kind's own. */
struct cm_db {
    const struct cm_db_ops *ops;
    char name[160];
    bool is_new;
    bool away;              /* what made the last call fail may pass */
    bool doubled;           /* it was a unique index */
    bool loading;           /* between begin and commit or rollback */
    int64_t run_no;         /* of the run that was entered; 0: none */
    struct cm_db_cursor at; /* where it was at begin */
};

#endif
