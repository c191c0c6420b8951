#include "io/db_query_impl.h"
#include "io/db_sqlite.h"

const struct cm_db_words cm_db_sqlite_words = {
    .schema = "",
    .lock = "", /* BEGIN IMMEDIATE has locked all */
    .skip_locked = "",
    .by_index = " INDEXED BY ", /* it would take a unique one, and sort all rows */
    .scanned = "+", /* an equality takes its column out of ORDER BY, which the index then no longer has */
    .now = "strftime('%Y-%m-%dT%H:%M:%SZ', 'now')",
    .then = "strftime('%Y-%m-%dT%H:%M:%SZ', 'now', $1 || ' seconds')",
    .time = "%s",
    .hex = "lower(hex(%s))",
};

cm_err cm_db_sqlite_transact(struct cm_db *d, struct cm_error *err)
{
    return cm_sqlite_run(&cm_db_sqlite_of(d)->sql, "BEGIN IMMEDIATE", "write to it", err);
}

/* Named parameters count from the first to appear: by name, then. */
static void bind(sqlite3_stmt *stmt, const char *const *text, size_t texts)
{
    char name[24];

    for (size_t i = 0; i < texts; i++) {
        (void) snprintf(name, sizeof name, "$%zu", i + 1);
        const int at = sqlite3_bind_parameter_index(stmt, name);
        if (at > 0)
            (void) sqlite3_bind_text(stmt, at, text[i], -1, SQLITE_STATIC);
    }
}

static cm_err take_row(sqlite3_stmt *stmt, struct cm_db_answer *out, struct cm_error *err)
{
    const size_t columns = (size_t) sqlite3_column_count(stmt);
    char **const cell = reallocarray(out->cell, (out->rows + 1) * columns, sizeof *cell);

    if (cell == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for an answer of the database");
    out->cell = cell;
    out->columns = columns;
    for (size_t i = 0; i < columns; i++)
        cell[out->rows * columns + i] = NULL;
    out->rows++;
    for (size_t i = 0; i < columns; i++) {
        const char *const text = (const char *) sqlite3_column_text(stmt, (int) i);
        char **const to = &cell[(out->rows - 1) * columns + i];
        if (sqlite3_column_type(stmt, (int) i) == SQLITE_NULL)
            continue;
        *to = text != NULL ? strdup(text) : NULL;
        if (*to == NULL)
            CM_FAIL(err, CM_E_NOMEM, "out of memory for an answer of the database");
    }
    return CM_OK;
}

cm_err cm_db_sqlite_query(struct cm_db *d, const char *sql, const char *const *text, size_t texts,
                          struct cm_db_answer *out, struct cm_error *err)
{
    const struct cm_sqlite *const s = &cm_db_sqlite_of(d)->sql;
    sqlite3_stmt *stmt = NULL;
    cm_err rc = CM_OK;
    int got = SQLITE_DONE;

    CM_TRY(cm_sqlite_prepare(s, sql, &stmt, err));
    bind(stmt, text, texts);
    while (rc == CM_OK && (got = sqlite3_step(stmt)) == SQLITE_ROW)
        rc = take_row(stmt, out, err);
    if (rc == CM_OK && got != SQLITE_DONE)
        rc = cm_sqlite_fail(s, "use it", err);
    (void) sqlite3_finalize(stmt);
    return rc;
}

cm_err cm_db_sqlite_settle(struct cm_db *d, struct cm_error *err)
{
    return cm_sqlite_run(&cm_db_sqlite_of(d)->sql, "COMMIT", "commit to it", err);
}
