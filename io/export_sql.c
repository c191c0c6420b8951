#include "io/export_impl.h"

/* A table and its rows in the SQL that SQLite and PostgreSQL share, in one transaction. */
enum { STATEMENT = 64 << 10 }; /* octets behind which another INSERT begins; SQLite's bound is 1,000,000 */

static const char *table_of(const struct cm_export *x)
{
    return x->options->table != NULL ? x->options->table : "devices";
}

static cm_err check(const struct cm_export *x, struct cm_error *err)
{
    const char *const table = table_of(x);

    if (!cm_export_fits(table, "_", 1, 63) || (table[0] >= '0' && table[0] <= '9'))
        CM_FAIL(err, CM_E_USAGE,
                "--table %.80s: a name of letters, digits and underscores, not a digit first, at most 63",
                table);
    return CM_OK;
}

static void begin(struct cm_export *x)
{
    struct cm_writer *const w = &x->text;

    x->open_len = 0;
    cm_put_lit(w, "BEGIN;\nCREATE TABLE IF NOT EXISTS \"");
    cm_put_str(w, table_of(x));
    cm_put_lit(w, "\" (");
    for (size_t i = 0; i < cm_table_count(x); i++) {
        const char *const name = cm_table_name(i);
        cm_put_str(w, i > 0 ? ", " : "");
        cm_put_str(w, name);
        cm_put_str(w, cm_table_number(i) ? " BIGINT" : " TEXT");
        cm_put_str(w, strcmp(name, "certificate_id") == 0 ? " PRIMARY KEY" : "");
    }
    cm_put_lit(w, ");\n");
}

static void begin_statement(struct cm_export *x)
{
    struct cm_writer *const w = &x->text;

    cm_put_lit(w, "INSERT INTO \"");
    cm_put_str(w, table_of(x));
    cm_put_lit(w, "\" (");
    for (size_t i = 0; i < cm_table_count(x); i++) {
        cm_put_str(w, i > 0 ? ", " : "");
        cm_put_str(w, cm_table_name(i));
    }
    cm_put_lit(w, ") VALUES\n");
}

static cm_err put_row(struct cm_export *x, const struct cm_row *row, struct cm_error *err)
{
    struct cm_writer *const w = &x->text;
    const size_t before = w->len;

    (void) err;
    if (x->open_len >= STATEMENT) {
        cm_put_lit(w, ";\n");
        x->open_len = 0;
    }
    if (x->open_len == 0)
        begin_statement(x);
    else
        cm_put_lit(w, ",\n");
    for (size_t i = 0; i < cm_table_count(x); i++) {
        struct cm_span value;
        cm_put_byte(w, i > 0 ? ',' : '(');
        if (!cm_table_value(x, i, row, &value))
            cm_put_lit(w, "NULL");
        else if (cm_table_number(i))
            cm_put_span(w, value);
        else
            cm_put_sql(w, value);
    }
    cm_put_byte(w, ')');
    x->open_len += w->len - before;
    return CM_OK;
}

static void end(struct cm_export *x)
{
    cm_put_str(&x->text, x->open_len > 0 ? ";\nCOMMIT;\n" : "COMMIT;\n");
}

const struct cm_export_format cm_export_sql = {
    .name = "sql",
    .options = check,
    .begin = begin,
    .row = put_row,
    .end = end,
};
