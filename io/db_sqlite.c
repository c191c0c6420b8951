#include "io/db_sqlite.h"

#include "io/db_query_impl.h"
#include "io/db_schema.h"

static cm_err read_version(const struct sqlite_db *s, int64_t *version, struct cm_error *err)
{
    int64_t columns = 0;

    CM_TRY(cm_sqlite_int(&s->sql,
                         "SELECT count(*) FROM pragma_table_info('certmill_schema')"
                         " WHERE name IN " CM_DB_SCHEMA_COLUMNS,
                         NULL, 0, 0, &columns, err));
    CM_TRY(cm_db_check_schema_columns(s->base.name, columns, err));
    CM_TRY(cm_sqlite_int(&s->sql, "SELECT version FROM certmill_schema", NULL, 0, 0, version, err));
    return cm_db_check_version(s->base.name, *version, err);
}

/* All tables in one look: between two, another process may make them. */
static cm_err find_version(void *arg, int64_t *version, struct cm_error *err)
{
    const struct sqlite_db *s = arg;
    int64_t tables = 0;

    CM_TRY(cm_sqlite_int(&s->sql,
                         "SELECT 100 * count(*) FILTER (WHERE name = 'certmill_schema')"
                         " + count(*) FILTER (WHERE name IN " CM_DB_NAMES ") FROM sqlite_master",
                         NULL, 0, 0, &tables, err));
    *version = 0;
    if (tables >= 100)
        CM_TRY(read_version(s, version, err));
    return cm_db_check_tables(s->base.name, *version, tables % 100, err);
}

static cm_err prepare_insert(struct sqlite_db *s, struct cm_error *err)
{
    char sql[1024];
    struct cm_writer w = cm_writer(sql, sizeof sql - 1);

    cm_put_lit(&w, "INSERT INTO device (");
    cm_db_put_columns(&w);
    cm_put_lit(&w, ") VALUES (?");
    for (size_t i = 0; i < CM_DB_COLUMNS; i++)
        cm_put_lit(&w, ", ?");
    cm_put_lit(&w, ")");
    CM_ASSERT(cm_writer_ok(&w));
    sql[w.len] = '\0';
    return cm_sqlite_prepare(&s->sql, sql, &s->insert, err);
}

static cm_err set_up(struct sqlite_db *s, struct cm_error *err)
{
    const struct cm_migration tables = { cm_db_dialect_sqlite.steps, CM_DB_VERSION, find_version, s };

    CM_TRY(cm_sqlite_run(
        &s->sql,
        "PRAGMA page_size = 16384; PRAGMA cache_size = -65536; PRAGMA synchronous = EXTRA;"
        "PRAGMA journal_mode = DELETE",
        "read it", err));
    CM_TRY(cm_sqlite_check_writable(&s->sql, err));
    CM_TRY(cm_sqlite_migrate(&s->sql, &tables, &s->base.is_new, err));
    CM_TRY(prepare_insert(s, err));
    CM_TRY(cm_sqlite_prepare(&s->sql,
                             "UPDATE device SET superseded_by = ?3,"
                             " state = CASE state WHEN 'unused' THEN 'scrapped' ELSE state END"
                             " WHERE run_no = ?1 AND seq = ?2 AND superseded_by IS NULL",
                             &s->supersede, err));
    return cm_sqlite_prepare(&s->sql,
                             "SELECT device_id, run_id FROM device WHERE device_id = ?1"
                             " AND ca_certificate_id = ?2 AND superseded_by IS NULL AND run_id <> ?3",
                             &s->taken, err);
}

static void sqlite_close(struct cm_db *d)
{
    struct sqlite_db *s = cm_db_sqlite_of(d);

    (void) sqlite3_finalize(s->insert);
    (void) sqlite3_finalize(s->supersede);
    (void) sqlite3_finalize(s->taken);
    cm_sqlite_close(&s->sql);
    free(s);
}

static bool sqlite_is_away(const struct cm_db *d)
{
    const int code = sqlite3_errcode(((const struct sqlite_db *) d)->sql.db) & 0xff;

    return code == SQLITE_BUSY || code == SQLITE_LOCKED;
}

static bool sqlite_is_doubled(const struct cm_db *d)
{
    return sqlite3_extended_errcode(((const struct sqlite_db *) d)->sql.db) == SQLITE_CONSTRAINT_UNIQUE;
}

static cm_err sqlite_open(const char *url, const char *option, const struct cm_db_wait *wait,
                          struct cm_db **out, bool *away, struct cm_error *err)
{
    char whole[CM_DB_URL_MAX];

    CM_TRY(cm_sqlite_url_public(url, option, whole, sizeof whole, err));
    struct sqlite_db *s = calloc(1, sizeof *s);
    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the database");
    s->base.ops = &cm_db_sqlite_ops;
    (void) snprintf(s->base.name, sizeof s->base.name, "%s", url);
    s->sql = (struct cm_sqlite) { .noun = "database", .name = s->base.name, .wait = *wait };
    cm_err rc = cm_sqlite_open(&s->sql, whole, 0600, err);
    if (rc == CM_OK)
        rc = set_up(s, err);
    *away = rc == CM_E_DB && sqlite_is_away(&s->base);
    if (rc != CM_OK) {
        sqlite_close(&s->base);
        return rc;
    }
    *out = &s->base;
    return CM_OK;
}

static cm_err sqlite_peek(const char *url, const char *option, const struct cm_db_wait *wait,
                          struct cm_db_found *found, struct cm_error *err)
{
    struct sqlite_db s = { .sql = { .noun = "database", .name = s.base.name, .wait = *wait } };
    char whole[CM_DB_URL_MAX];

    CM_TRY(cm_sqlite_url_public(url, option, whole, sizeof whole, err));
    (void) snprintf(s.base.name, sizeof s.base.name, "%s", url);
    cm_err rc = cm_sqlite_peek(&s.sql, whole, &found->there, err);
    if (rc == CM_OK && found->there)
        rc = find_version(&s, &found->version, err);
    cm_sqlite_close(&s.sql);
    return rc;
}

static void sqlite_wait_with(struct cm_db *d, const struct cm_db_wait *wait)
{
    cm_db_sqlite_of(d)->sql.wait = *wait;
}

static cm_err sqlite_look(struct cm_db *d, const char *run_id, const char *ca_certificate_id,
                          struct cm_db_look *out, struct cm_error *err)
{
    const struct cm_sqlite *sql = &cm_db_sqlite_of(d)->sql;
    const char *const text[] = { run_id, ca_certificate_id };
    int64_t indexed = 0;

    CM_TRY(cm_sqlite_int(sql, "SELECT indexed FROM certmill_schema", NULL, 0, 0, &indexed, err));
    out->indexed = indexed != 0;
    CM_TRY(cm_sqlite_int(sql, "SELECT count(*) FROM run WHERE run_id <> ?1", text, 1, 0, &out->runs, err));
    CM_TRY(cm_sqlite_int(sql, "SELECT count(*) FROM run WHERE run_id <> ?1 AND ca_certificate_id = ?2", text,
                         2, 0, &out->others, err));
    return cm_sqlite_int(sql, "SELECT manifest_bytes FROM run WHERE run_id = ?1", text, 1, 0,
                         &out->manifest_bytes, err);
}

static cm_err enter(struct sqlite_db *s, const struct cm_db_run *run, struct cm_error *err)
{
    char chain_no[24], requested[24];
    const char *const chain[] = { run->chain_sha256, run->chain_pem };
    int64_t number = 0;

    CM_TRY(cm_sqlite_run(&s->sql, "BEGIN IMMEDIATE", "write to it", err));
    CM_TRY(cm_sqlite_int(&s->sql,
                         "INSERT INTO chain (sha256, pem) VALUES (?1, ?2) ON CONFLICT (sha256)"
                         " DO UPDATE SET sha256 = ?1 RETURNING chain_no",
                         chain, CM_COUNT(chain), 0, &number, err));
    (void) snprintf(chain_no, sizeof chain_no, "%lld", (long long) number);
    (void) snprintf(requested, sizeof requested, "%llu", (unsigned long long) run->requested);
    const char *const text[] = {
        run->run_id, run->ca_certificate_id, chain_no,      run->created_at, run->engine, run->libcrypto,
        requested,   run->directory,         run->keys_dir, run->request
    };
    CM_TRY(cm_sqlite_int(
        &s->sql,
        "INSERT INTO run (run_id, ca_certificate_id, chain_no, created_at, engine, libcrypto, requested,"
        " directory, keys_dir, request, manifest_bytes, devices)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 0, 0) ON CONFLICT (run_id)"
        " DO UPDATE SET directory = ?8, keys_dir = ?9 RETURNING run_no",
        text, CM_COUNT(text), 0, &s->base.run_no, err));
    return cm_sqlite_run(&s->sql, "COMMIT", "write to it", err);
}

static cm_err sqlite_enter(struct cm_db *d, const struct cm_db_run *run, struct cm_error *err)
{
    struct sqlite_db *s = cm_db_sqlite_of(d);
    const cm_err rc = enter(s, run, err);

    if (rc != CM_OK)
        cm_sqlite_rollback(&s->sql);
    return rc;
}

static cm_err sqlite_has(struct cm_db *d, struct cm_span certificate_id, bool *out, struct cm_error *err)
{
    char id[65];
    const char *const text[] = { id };
    int64_t found = 0;

    (void) snprintf(id, sizeof id, "%.*s", (int) certificate_id.len, (const char *) certificate_id.data);
    CM_TRY(cm_sqlite_int(&cm_db_sqlite_of(d)->sql, "SELECT 1 FROM device WHERE certificate_id = ?1", text, 1,
                         0, &found, err));
    *out = found != 0;
    return CM_OK;
}

static cm_err sqlite_taken(struct cm_db *d, const char *run_id, const char *ca_certificate_id,
                           const struct cm_span *id, size_t ids, struct cm_db_holder *holder,
                           struct cm_error *err)
{
    struct sqlite_db *s = cm_db_sqlite_of(d);
    cm_err rc = CM_E_END;

    for (size_t i = 0; i < ids && rc == CM_E_END; i++) {
        (void) sqlite3_bind_text(s->taken, 1, (const char *) id[i].data, (int) id[i].len, SQLITE_STATIC);
        (void) sqlite3_bind_text(s->taken, 2, ca_certificate_id, -1, SQLITE_STATIC);
        (void) sqlite3_bind_text(s->taken, 3, run_id, -1, SQLITE_STATIC);
        const int got = sqlite3_step(s->taken);
        if (got == SQLITE_ROW) {
            (void) snprintf(holder->device_id, sizeof holder->device_id, "%s",
                            (const char *) sqlite3_column_text(s->taken, 0));
            (void) snprintf(holder->run_id, sizeof holder->run_id, "%s",
                            (const char *) sqlite3_column_text(s->taken, 1));
            rc = CM_OK;
        } else if (got != SQLITE_DONE) {
            rc = cm_sqlite_fail(&s->sql, "read it", err);
        }
        (void) sqlite3_reset(s->taken);
    }
    return rc;
}

static cm_err sqlite_begin(struct cm_db *d, struct cm_db_cursor *at, struct cm_error *err)
{
    const struct sqlite_db *s = cm_db_sqlite_of(d);
    char run_no[24];
    const char *const text[] = { run_no };
    int64_t bytes = 0, rows = 0;

    (void) snprintf(run_no, sizeof run_no, "%lld", (long long) d->run_no);
    CM_TRY(cm_sqlite_run(&s->sql, "BEGIN IMMEDIATE", "write to it", err));
    CM_TRY(
        cm_sqlite_int(&s->sql, "SELECT manifest_bytes FROM run WHERE run_no = ?1", text, 1, -1, &bytes, err));
    CM_TRY(cm_sqlite_int(&s->sql, "SELECT devices FROM run WHERE run_no = ?1", text, 1, -1, &rows, err));
    if (bytes < 0 || rows < 0)
        return cm_sqlite_damaged(&s->sql, "a run that was entered is not there", err);
    *at = (struct cm_db_cursor) { (uint64_t) bytes, (uint64_t) rows };
    return CM_OK;
}

static cm_err sqlite_supersede(struct cm_db *d, const struct cm_db_successor *next, size_t count,
                               size_t *changed, struct cm_error *err)
{
    struct sqlite_db *s = cm_db_sqlite_of(d);

    for (size_t i = 0; i < count; i++) {
        (void) sqlite3_bind_int64(s->supersede, 1, d->run_no);
        (void) sqlite3_bind_int64(s->supersede, 2, next[i].seq);
        (void) sqlite3_bind_text(s->supersede, 3, next[i].certificate_id, -1, SQLITE_STATIC);
        if (sqlite3_step(s->supersede) != SQLITE_DONE)
            return cm_sqlite_fail(&s->sql, "write to it", err);
        (void) sqlite3_reset(s->supersede);
        *changed += (size_t) sqlite3_changes(s->sql.db);
    }
    return CM_OK;
}

static void bind(sqlite3_stmt *stmt, int at, const struct cm_db_column *c, const struct cm_db_row *row)
{
    const void *const value = (const char *) row + c->offset;

    if (c->type == CM_DB_INT8 || c->type == CM_DB_INT4) {
        const int64_t number = *(const int64_t *) value;
        if (number >= 0)
            (void) sqlite3_bind_int64(stmt, at, number);
        else
            (void) sqlite3_bind_null(stmt, at);
        return;
    }
    const struct cm_span *text = value;
    if (c->type == CM_DB_BLOB)
        (void) sqlite3_bind_blob(stmt, at, text->data, (int) text->len, SQLITE_STATIC);
    else /* NULL binds null */
        (void) sqlite3_bind_text(stmt, at, (const char *) text->data, (int) text->len, SQLITE_STATIC);
}

static cm_err sqlite_put(struct cm_db *d, const struct cm_db_row *row, struct cm_error *err)
{
    struct sqlite_db *s = cm_db_sqlite_of(d);

    (void) sqlite3_bind_int64(s->insert, 1, d->run_no);
    for (size_t i = 0; i < CM_DB_COLUMNS; i++)
        bind(s->insert, (int) i + 2, &cm_db_columns[i], row);
    if (sqlite3_step(s->insert) != SQLITE_DONE)
        return cm_sqlite_fail(&s->sql, "write to it", err);
    (void) sqlite3_reset(s->insert);
    return CM_OK;
}

static cm_err sqlite_commit(struct cm_db *d, const struct cm_db_cursor *to, struct cm_error *err)
{
    const struct sqlite_db *s = cm_db_sqlite_of(d);
    char sql[400];
    const long long run = (long long) d->run_no, bytes = (long long) to->manifest_bytes;

    (void) snprintf(
        sql, sizeof sql,
        "UPDATE run SET manifest_bytes = %lld, devices = %lld WHERE run_no = %lld;"
        " INSERT INTO batch VALUES (%lld, %lld, %lld, %lld, strftime('%%Y-%%m-%%dT%%H:%%M:%%SZ', 'now'));"
        " COMMIT",
        bytes, (long long) to->rows, run, run, (long long) d->at.manifest_bytes, bytes,
        (long long) (to->rows - d->at.rows));
    return cm_sqlite_run(&s->sql, sql, "commit to it", err);
}

static void sqlite_rollback(struct cm_db *d)
{
    const struct sqlite_db *s = cm_db_sqlite_of(d);

    (void) sqlite3_reset(s->insert);
    (void) sqlite3_reset(s->supersede);
    cm_sqlite_rollback(&s->sql);
}

static cm_err make_indexes(const struct sqlite_db *s, struct cm_error *err)
{
    static const char what[] = "make its indexes";
    int64_t indexed = 0;

    CM_TRY(cm_sqlite_run(&s->sql, "BEGIN IMMEDIATE", what, err));
    CM_TRY(cm_sqlite_int(&s->sql, "SELECT indexed FROM certmill_schema", NULL, 0, 0, &indexed, err));
    if (indexed == 0)
        CM_TRY(cm_sqlite_run(&s->sql, cm_db_dialect_sqlite.indexes, what, err));
    return cm_sqlite_run(&s->sql, "COMMIT", what, err);
}

static cm_err sqlite_index(struct cm_db *d, struct cm_error *err)
{
    const struct sqlite_db *s = cm_db_sqlite_of(d);
    const cm_err rc = make_indexes(s, err);

    if (rc != CM_OK)
        cm_sqlite_rollback(&s->sql);
    return rc;
}

const struct cm_db_ops cm_db_sqlite_ops = {
    .open = sqlite_open,
    .peek = sqlite_peek,
    .wait_with = sqlite_wait_with,
    .is_away = sqlite_is_away,
    .is_doubled = sqlite_is_doubled,
    .look = sqlite_look,
    .enter = sqlite_enter,
    .has = sqlite_has,
    .taken = sqlite_taken,
    .begin = sqlite_begin,
    .supersede = sqlite_supersede,
    .put = sqlite_put,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .index = sqlite_index,
    .words = &cm_db_sqlite_words,
    .transact = cm_db_sqlite_transact,
    .query = cm_db_sqlite_query,
    .settle = cm_db_sqlite_settle,
    .close = sqlite_close,
};
