#include "io/db_pg.h"

#include "io/db_query_impl.h"
#include "io/db_schema.h"

#include <inttypes.h>

static cm_err read_version(struct pg_db *s, int64_t *version, struct cm_error *err)
{
    int64_t columns = 0;

    CM_TRY(cm_pg_int(&s->pg,
                     "SELECT count(*) FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c"
                     " ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
                     " WHERE n.nspname = 'certmill' AND c.relname = 'certmill_schema'"
                     " AND NOT a.attisdropped AND a.attname IN " CM_DB_SCHEMA_COLUMNS,
                     NULL, 0, 0, &columns, "read it", err));
    CM_TRY(cm_db_check_schema_columns(s->base.name, columns, err));
    CM_TRY(cm_pg_int(&s->pg, "SELECT version FROM certmill.certmill_schema", NULL, 0, 0, version, "read it",
                     err));
    return cm_db_check_version(s->base.name, *version, err);
}

/* All tables in one look: between two, another process may make them. */
static cm_err find_version(void *arg, int64_t *version, struct cm_error *err)
{
    struct pg_db *s = arg;
    int64_t tables = 0;

    CM_TRY(cm_pg_int(&s->pg,
                     "SELECT 100 * count(*) FILTER (WHERE c.relname = 'certmill_schema')"
                     " + count(*) FILTER (WHERE c.relname IN " CM_DB_NAMES ") FROM pg_catalog.pg_class c"
                     " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'certmill'",
                     NULL, 0, 0, &tables, "read it", err));
    *version = 0;
    if (tables >= 100)
        CM_TRY(read_version(s, version, err));
    return cm_db_check_tables(s->base.name, *version, tables % 100, err);
}

static void pg_close(struct cm_db *d)
{
    struct pg_db *s = cm_db_pg_of(d);

    cm_pg_close(&s->pg);
    free(s);
}

static bool pg_is_away(const struct cm_db *d)
{
    const struct pg_db *s = (const struct pg_db *) d;

    return !cm_pg_is_up(&s->pg) || s->pg.in_the_way;
}

static bool pg_is_doubled(const struct cm_db *d)
{
    return ((const struct pg_db *) d)->pg.doubled;
}

static cm_err pg_open(const char *url, const char *option, const struct cm_db_wait *wait, struct cm_db **out,
                      bool *away, struct cm_error *err)
{
    struct pg_db *s = calloc(1, sizeof *s);

    (void) option; /* these messages name the server */
    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the database");
    s->base.ops = &cm_db_pg_ops;
    s->pg.noun = "database";
    s->pg.wait_ms = wait->ms;
    s->w = cm_writer(s->buf, sizeof s->buf);
    const struct cm_migration tables = { cm_db_dialect_pg.steps, CM_DB_VERSION, find_version, s };
    cm_err rc = cm_pg_open(&s->pg, url, err);
    *away = rc == CM_E_DB && s->pg.in_the_way;
    (void) snprintf(s->base.name, sizeof s->base.name, "%s", s->pg.name);
    if (rc == CM_OK) {
        rc = cm_pg_migrate(&s->pg, &tables, &s->base.is_new, err);
        *away = rc == CM_E_DB && pg_is_away(&s->base);
    }
    if (rc != CM_OK) {
        pg_close(&s->base);
        return rc;
    }
    *out = &s->base;
    return CM_OK;
}

static cm_err pg_peek(const char *url, const char *option, const struct cm_db_wait *wait,
                      struct cm_db_found *found, struct cm_error *err)
{
    struct pg_db *s = calloc(1, sizeof *s);

    (void) option; /* these messages name the server */
    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the database");
    s->pg.noun = "database";
    s->pg.wait_ms = wait->ms;
    cm_err rc = cm_pg_open(&s->pg, url, err);
    (void) snprintf(s->base.name, sizeof s->base.name, "%s", s->pg.name);
    found->there = rc == CM_OK;
    if (rc == CM_OK)
        rc = find_version(s, &found->version, err);
    if (rc == CM_OK && found->version == 0)
        rc = cm_pg_check_may_make(&s->pg, err);
    pg_close(&s->base);
    return rc;
}

static void pg_wait_with(struct cm_db *d, const struct cm_db_wait *wait)
{
    cm_db_pg_of(d)->pg.wait_ms = wait->ms;
}

/* Who looks is about to load: without the rights for that it ends here, before a first key. */
static cm_err pg_look(struct cm_db *d, const char *run_id, const char *ca_certificate_id,
                      struct cm_db_look *out, struct cm_error *err)
{
    struct cm_pg *pg = &cm_db_pg_of(d)->pg;
    const char *const text[] = { run_id, ca_certificate_id };
    PGresult *res = NULL;

    CM_TRY(cm_pg_query(pg,
                       "SELECT (SELECT indexed FROM certmill.certmill_schema)::int,"
                       " count(*) FILTER (WHERE run_id <> $1),"
                       " count(*) FILTER (WHERE run_id <> $1 AND ca_certificate_id = $2),"
                       " coalesce(max(manifest_bytes) FILTER (WHERE run_id = $1), 0),"
                       " (SELECT bool_and(has_table_privilege('certmill.' || t, p))"
                       " FROM unnest('{run,chain,batch,device}'::text[]) t,"
                       " unnest('{SELECT,INSERT,UPDATE}'::text[]) p)::int FROM certmill.run",
                       text, CM_COUNT(text), PGRES_TUPLES_OK, &res, "read it", err));
    *out = (struct cm_db_look) { .indexed = PQgetvalue(res, 0, 0)[0] == '1',
                                 .runs = strtoll(PQgetvalue(res, 0, 1), NULL, 10),
                                 .others = strtoll(PQgetvalue(res, 0, 2), NULL, 10),
                                 .manifest_bytes = strtoll(PQgetvalue(res, 0, 3), NULL, 10) };
    const bool may = PQgetvalue(res, 0, 4)[0] == '1';
    PQclear(res);
    if (!may)
        CM_FAIL(err, CM_E_DB,
                "the database %s: permission denied to write to certmill's tables: grant what "
                "docs/formats.md lists",
                d->name);
    return CM_OK;
}

static cm_err enter(struct pg_db *s, const struct cm_db_run *run, struct cm_error *err)
{
    static const char what[] = "write to it";
    char chain_no[24], requested[24];
    const char *const chain[] = { run->chain_sha256, run->chain_pem };
    int64_t number = 0;

    CM_TRY(cm_pg_begin(&s->pg, what, err));
    CM_TRY(cm_pg_int(&s->pg,
                     "INSERT INTO certmill.chain (sha256, pem) VALUES ($1, $2) ON CONFLICT (sha256)"
                     " DO UPDATE SET sha256 = EXCLUDED.sha256 RETURNING chain_no",
                     chain, CM_COUNT(chain), 0, &number, what, err));
    (void) snprintf(chain_no, sizeof chain_no, "%" PRId64, number);
    (void) snprintf(requested, sizeof requested, "%" PRIu64, run->requested);
    const char *const text[] = {
        run->run_id, run->ca_certificate_id, chain_no,      run->created_at, run->engine, run->libcrypto,
        requested,   run->directory,         run->keys_dir, run->request
    };
    CM_TRY(cm_pg_int(
        &s->pg,
        "INSERT INTO certmill.run (run_id, ca_certificate_id, chain_no, created_at, engine, libcrypto,"
        " requested, directory, keys_dir, request, manifest_bytes, devices)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, 0) ON CONFLICT (run_id)"
        " DO UPDATE SET directory = EXCLUDED.directory, keys_dir = EXCLUDED.keys_dir RETURNING run_no",
        text, CM_COUNT(text), 0, &s->base.run_no, what, err));
    return cm_pg_run(&s->pg, "COMMIT", what, err);
}

static cm_err pg_enter(struct cm_db *d, const struct cm_db_run *run, struct cm_error *err)
{
    const cm_err rc = enter(cm_db_pg_of(d), run, err);

    if (rc != CM_OK)
        cm_pg_rollback(&cm_db_pg_of(d)->pg);
    return rc;
}

static cm_err pg_has(struct cm_db *d, struct cm_span certificate_id, bool *out, struct cm_error *err)
{
    char id[65];
    const char *const text[] = { id };
    int64_t found = 0;

    (void) snprintf(id, sizeof id, "%.*s", (int) certificate_id.len, (const char *) certificate_id.data);
    CM_TRY(cm_pg_int(&cm_db_pg_of(d)->pg, "SELECT 1 FROM certmill.device WHERE certificate_id = $1 LIMIT 1",
                     text, 1, 0, &found, "read it", err));
    *out = found != 0;
    return CM_OK;
}

/* A literal of text[]: an element in quotes, with a backslash before its quotes and backslashes. */
static void put_element(struct cm_writer *w, struct cm_span text)
{
    cm_put_byte(w, '"');
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '"' || text.data[i] == '\\')
            cm_put_byte(w, '\\');
        cm_put_byte(w, text.data[i]);
    }
    cm_put_byte(w, '"');
}

static cm_err pg_taken(struct cm_db *d, const char *run_id, const char *ca_certificate_id,
                       const struct cm_span *id, size_t ids, struct cm_db_holder *holder,
                       struct cm_error *err)
{
    struct pg_db *s = cm_db_pg_of(d);
    const char *const text[] = { (const char *) s->buf, ca_certificate_id, run_id };
    PGresult *res = NULL;

    s->w.len = 0;
    for (size_t i = 0; i < ids; i++) {
        cm_put_byte(&s->w, i > 0 ? ',' : '{');
        put_element(&s->w, id[i]);
    }
    cm_put_str(&s->w, ids > 0 ? "}" : "{}");
    cm_put_byte(&s->w, '\0');
    CM_ASSERT(cm_writer_ok(&s->w)); /* CM_DB_IDS_MAX ids of 96 octets */
    CM_TRY(cm_pg_query(&s->pg,
                       "SELECT device_id, run_id FROM certmill.device WHERE device_id = ANY ($1::text[])"
                       " AND ca_certificate_id = $2 AND superseded_by IS NULL AND run_id <> $3 LIMIT 1",
                       text, CM_COUNT(text), PGRES_TUPLES_OK, &res, "read it", err));
    const bool found = PQntuples(res) > 0;
    if (found) {
        (void) snprintf(holder->device_id, sizeof holder->device_id, "%s", PQgetvalue(res, 0, 0));
        (void) snprintf(holder->run_id, sizeof holder->run_id, "%s", PQgetvalue(res, 0, 1));
    }
    PQclear(res);
    return found ? CM_OK : CM_E_END;
}

static cm_err pg_begin(struct cm_db *d, struct cm_db_cursor *at, struct cm_error *err)
{
    static const char what[] = "write to it";
    struct pg_db *s = cm_db_pg_of(d);
    char run_no[24];
    const char *const text[] = { run_no };
    PGresult *res = NULL;

    (void) snprintf(run_no, sizeof run_no, "%" PRId64, d->run_no);
    CM_TRY(cm_pg_begin(&s->pg, what, err));
    CM_TRY(cm_pg_query(&s->pg,
                       "SELECT manifest_bytes, devices FROM certmill.run WHERE run_no = $1 FOR UPDATE", text,
                       CM_COUNT(text), PGRES_TUPLES_OK, &res, what, err));
    const bool found = PQntuples(res) == 1;
    if (found)
        *at = (struct cm_db_cursor) { strtoull(PQgetvalue(res, 0, 0), NULL, 10),
                                      strtoull(PQgetvalue(res, 0, 1), NULL, 10) };
    PQclear(res);
    if (!found)
        CM_FAIL(err, CM_E_DB, "the database %s: a run that was entered is not there any more; load it again",
                d->name);
    s->w.len = 0;
    return CM_OK;
}

/* A few thousand at a time: two arrays, of numbers and of certificate ids. */
static cm_err supersede_some(struct pg_db *s, const struct cm_db_successor *next, size_t count,
                             size_t *changed, struct cm_error *err)
{
    char run_no[24];
    PGresult *res = NULL;

    (void) snprintf(run_no, sizeof run_no, "%" PRId64, s->base.run_no);
    s->w.len = 0;
    for (size_t i = 0; i < count; i++) {
        cm_put_byte(&s->w, i > 0 ? ',' : '{');
        cm_put_dec(&s->w, (uint64_t) next[i].seq, 0);
    }
    cm_put(&s->w, "}", 2);
    const size_t second = s->w.len;
    for (size_t i = 0; i < count; i++) {
        cm_put_byte(&s->w, i > 0 ? ',' : '{');
        cm_put_str(&s->w, next[i].certificate_id);
    }
    cm_put(&s->w, "}", 2);
    CM_ASSERT(cm_writer_ok(&s->w));
    const char *const text[] = { run_no, (const char *) s->buf, (const char *) s->buf + second };
    CM_TRY(cm_pg_query(&s->pg,
                       "UPDATE certmill.device d SET superseded_by = n.id,"
                       " state = CASE d.state WHEN 'unused' THEN 'scrapped' ELSE d.state END"
                       " FROM unnest($2::bigint[], $3::text[]) n (seq, id)"
                       " WHERE d.run_no = $1 AND d.seq = n.seq AND d.superseded_by IS NULL",
                       text, CM_COUNT(text), PGRES_COMMAND_OK, &res, "write to it", err));
    *changed += strtoull(PQcmdTuples(res), NULL, 10);
    PQclear(res);
    s->w.len = 0;
    return CM_OK;
}

static cm_err pg_supersede(struct cm_db *d, const struct cm_db_successor *next, size_t count, size_t *changed,
                           struct cm_error *err)
{
    enum { SOME = 2048 };

    for (size_t i = 0; i < count; i += SOME)
        CM_TRY(supersede_some(cm_db_pg_of(d), next + i, count - i < SOME ? count - i : SOME, changed, err));
    return CM_OK;
}

/* --- COPY in binary -------------------------------------------------------- */

static cm_err begin_copy(struct pg_db *s, struct cm_error *err)
{
    char sql[1024];
    struct cm_writer w = cm_writer(sql, sizeof sql - 1);

    cm_put_lit(&w, "COPY certmill.device (");
    cm_db_put_columns(&w);
    cm_put_lit(&w, ") FROM STDIN (FORMAT binary)");
    CM_ASSERT(cm_writer_ok(&w));
    sql[w.len] = '\0';
    CM_TRY(cm_pg_copy_begin(&s->pg, sql, "write to it", err));
    cm_pg_put_head(&s->w);
    return CM_OK;
}

static cm_err send_rows(struct pg_db *s, struct cm_error *err)
{
    CM_ASSERT(cm_writer_ok(&s->w));
    CM_TRY(cm_pg_copy_put(&s->pg, s->buf, s->w.len, "send rows to it", err));
    s->w.len = 0;
    return CM_OK;
}

static void put_text(struct cm_writer *w, struct cm_span text)
{
    if (text.data == NULL) {
        cm_pg_put_be(w, UINT32_MAX, 4);
        return;
    }
    cm_pg_put_be(w, text.len, 4);
    cm_put_span(w, text);
}

static void put_number(struct cm_writer *w, int64_t number, size_t octets)
{
    if (number < 0) {
        cm_pg_put_be(w, UINT32_MAX, 4);
        return;
    }
    cm_pg_put_be(w, octets, 4);
    cm_pg_put_be(w, (uint64_t) number, octets);
}

static void put_converted(struct pg_db *s, size_t column, struct cm_span text)
{
    char *const last = s->kept[column].text;
    const bool time = cm_db_columns[column].type == CM_DB_TIME;

    CM_ASSERT(text.len < sizeof s->kept[column].text);
    if (memcmp(last, text.data, text.len) != 0 || last[text.len] != '\0') {
        memcpy(last, text.data, text.len);
        last[text.len] = '\0';
        (time ? cm_pg_time : cm_pg_uuid)(last, s->kept[column].octets);
    }
    put_text(&s->w, cm_span(s->kept[column].octets, time ? 8 : 16));
}

static void put_value(struct pg_db *s, size_t column, const struct cm_db_row *row)
{
    const struct cm_db_column *const c = &cm_db_columns[column];
    const void *const value = (const char *) row + c->offset;
    const struct cm_span *text = value;
    struct cm_writer *const w = &s->w;

    switch (c->type) {
    case CM_DB_INT8:
    case CM_DB_INT4:
        put_number(w, *(const int64_t *) value, c->type == CM_DB_INT8 ? 8 : 4);
        return;
    case CM_DB_TIME:
    case CM_DB_UUID:
        put_converted(s, column, *text);
        return;
    case CM_DB_JSON: /* jsonb: a version, then the text */
        cm_pg_put_be(w, text->len + 1, 4);
        cm_put_byte(w, 1);
        cm_put_span(w, *text);
        return;
    case CM_DB_TEXT:
    case CM_DB_BLOB:
        put_text(w, *text);
        return;
    }
}

static cm_err pg_put(struct cm_db *d, const struct cm_db_row *row, struct cm_error *err)
{
    struct pg_db *s = cm_db_pg_of(d);

    if (!s->pg.copying)
        CM_TRY(begin_copy(s, err));
    cm_pg_put_be(&s->w, CM_DB_COLUMNS + 1, 2);
    put_number(&s->w, d->run_no, 4);
    for (size_t i = 0; i < CM_DB_COLUMNS; i++)
        put_value(s, i, row);
    return s->w.len >= CM_DB_COPY ? send_rows(s, err) : CM_OK;
}

static cm_err pg_commit(struct cm_db *d, const struct cm_db_cursor *to, struct cm_error *err)
{
    static const char what[] = "commit to it";
    struct pg_db *s = cm_db_pg_of(d);
    char run_no[24], first[24], end[24], rows[24], all[24];
    const char *const text[] = { run_no, first, end, rows, all };

    if (s->pg.copying) {
        cm_pg_put_tail(&s->w);
        CM_TRY(send_rows(s, err));
        CM_TRY(cm_pg_copy_end(&s->pg, "send rows to it", err));
    }
    (void) snprintf(run_no, sizeof run_no, "%" PRId64, d->run_no);
    (void) snprintf(first, sizeof first, "%" PRIu64, d->at.manifest_bytes);
    (void) snprintf(end, sizeof end, "%" PRIu64, to->manifest_bytes);
    (void) snprintf(rows, sizeof rows, "%" PRIu64, to->rows - d->at.rows);
    (void) snprintf(all, sizeof all, "%" PRIu64, to->rows);
    CM_TRY(cm_pg_query(&s->pg,
                       "WITH run AS (UPDATE certmill.run SET manifest_bytes = $3, devices = $5"
                       " WHERE run_no = $1 RETURNING run_no)"
                       " INSERT INTO certmill.batch SELECT run_no, $2, $3, $4, now() FROM run",
                       text, CM_COUNT(text), PGRES_COMMAND_OK, NULL, what, err));
    const cm_err rc = cm_pg_commit(&s->pg, what, err);
    if (rc == CM_E_CLOSED)
        CM_FAIL(err, CM_E_DB, "the connection to the database %s broke while it committed", d->name);
    return rc;
}

static void pg_rollback(struct cm_db *d)
{
    cm_pg_rollback(&cm_db_pg_of(d)->pg);
}

static cm_err make_indexes(struct pg_db *s, struct cm_error *err)
{
    static const char what[] = "make its indexes";
    int64_t indexed = 0;

    CM_TRY(cm_pg_begin(&s->pg, what, err));
    CM_TRY(cm_pg_int(&s->pg, "SELECT indexed::int FROM certmill.certmill_schema FOR UPDATE", NULL, 0, 0,
                     &indexed, what, err));
    if (indexed == 0)
        CM_TRY(cm_pg_run(&s->pg, cm_db_dialect_pg.indexes, what, err));
    return cm_pg_run(&s->pg, "COMMIT", what, err);
}

static cm_err pg_index(struct cm_db *d, struct cm_error *err)
{
    const cm_err rc = make_indexes(cm_db_pg_of(d), err);

    if (rc != CM_OK)
        cm_pg_rollback(&cm_db_pg_of(d)->pg);
    return rc;
}

const struct cm_db_ops cm_db_pg_ops = {
    .open = pg_open,
    .peek = pg_peek,
    .wait_with = pg_wait_with,
    .is_away = pg_is_away,
    .is_doubled = pg_is_doubled,
    .look = pg_look,
    .enter = pg_enter,
    .has = pg_has,
    .taken = pg_taken,
    .begin = pg_begin,
    .supersede = pg_supersede,
    .put = pg_put,
    .commit = pg_commit,
    .rollback = pg_rollback,
    .index = pg_index,
    .words = &cm_db_pg_words,
    .transact = cm_db_pg_transact,
    .query = cm_db_pg_query,
    .alone = cm_db_pg_alone,
    .settle = cm_db_pg_settle,
    .close = pg_close,
};
