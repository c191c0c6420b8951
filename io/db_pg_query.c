#include "io/db_pg.h"
#include "io/db_query_impl.h"

static const char what[] = "use it";

/* clock_timestamp: now() would be the time before a wait for a lock. */
const struct cm_db_words cm_db_pg_words = {
    .schema = "certmill.",
    .lock = " FOR UPDATE",
    .skip_locked = " FOR UPDATE SKIP LOCKED",
    .scanned = "",
    .now = "clock_timestamp()",
    .then = "clock_timestamp() + $1::float8 * interval '1 second'",
    .time = "to_char(%s AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')",
    .hex = "encode(%s, 'hex')",
};

cm_err cm_db_pg_transact(struct cm_db *d, struct cm_error *err)
{
    return cm_pg_begin(&cm_db_pg_of(d)->pg, what, err);
}

static cm_err take_rows(PGresult *res, struct cm_db_answer *out, struct cm_error *err)
{
    const size_t rows = (size_t) PQntuples(res), columns = (size_t) PQnfields(res);

    *out = (struct cm_db_answer) { rows, columns, calloc(rows * columns + 1, sizeof *out->cell) };
    for (size_t i = 0; out->cell != NULL && i < rows * columns; i++) {
        const int row = (int) (i / columns), column = (int) (i % columns);
        if (PQgetisnull(res, row, column))
            continue;
        out->cell[i] = strdup(PQgetvalue(res, row, column));
        if (out->cell[i] == NULL)
            CM_FAIL(err, CM_E_NOMEM, "out of memory for an answer of the database");
    }
    if (out->cell == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for an answer of the database");
    return CM_OK;
}

cm_err cm_db_pg_query(struct cm_db *d, const char *sql, const char *const *text, size_t texts,
                      struct cm_db_answer *out, struct cm_error *err)
{
    PGresult *res = NULL;

    CM_TRY(cm_pg_query(&cm_db_pg_of(d)->pg, sql, text, texts, PGRES_TUPLES_OK, &res, what, err));
    const cm_err rc = take_rows(res, out, err);
    PQclear(res);
    return rc;
}

/* The first key is "clai" in ASCII. */
cm_err cm_db_pg_alone(struct cm_db *d, const char *name, struct cm_error *err)
{
    const char *const text[] = { name };

    return cm_pg_query(&cm_db_pg_of(d)->pg, "SELECT pg_advisory_xact_lock(1668047209, hashtext($1))", text, 1,
                       PGRES_TUPLES_OK, NULL, what, err);
}

cm_err cm_db_pg_settle(struct cm_db *d, struct cm_error *err)
{
    const cm_err rc = cm_pg_commit(&cm_db_pg_of(d)->pg, "commit to it", err);

    if (rc == CM_E_CLOSED)
        CM_FAIL(err, CM_E_DB,
                "the connection to the database %s broke while it committed, nobody knows whether it did: "
                "give the same "
                "command again (a claim with its --request-id)",
                d->name);
    return rc;
}
