#include "io/pgkit.h"

#include "engine/when.h"
#include "io/pgurl.h"

static void say_nothing(void *arg, const char *message)
{
    (void) arg;
    (void) message;
}

static const char *advice(const char *state)
{
    static const struct {
        const char *state, *advice;
    } list[] = {
        { "55P03", ": another process has it locked; try again when that has ended" },
        { "57014", ": raise statement_timeout for this user" },
        { "25006", ": name the primary server, not a standby" },
        { "42501", ": grant what docs/formats.md lists" },
        { "53100", ": free space on the server" },
    };

    for (size_t i = 0; i < CM_COUNT(list); i++)
        if (strcmp(list[i].state, state) == 0)
            return list[i].advice;
    return "";
}

/* Waiting for a lock in vain, a transaction that lost against another, a server that goes down: its word
 * comes before the end of the connection. */
static bool passes(const char *state)
{
    return strcmp(state, "55P03") == 0 || strncmp(state, "40", 2) == 0 || strncmp(state, "57P", 3) == 0;
}

cm_err cm_pg_fail(struct cm_pg *s, PGresult *res, const char *what, struct cm_error *err)
{
    const char *state = res != NULL ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    const char *primary = res != NULL ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    char line[200];

    s->in_the_way = state != NULL && passes(state);
    s->doubled = state != NULL && strcmp(state, "23505") == 0;
    (void) cm_pg_line(primary != NULL ? primary : PQerrorMessage(s->conn), line, sizeof line);
    (void) cm_fail(err, CM_E_DB, CM_HERE, "the %s %s: can't %s: %s%s", s->noun, s->name, what, line,
                   state != NULL ? advice(state) : "");
    PQclear(res);
    return CM_E_DB;
}

cm_err cm_pg_query(struct cm_pg *s, const char *sql, const char *const *text, size_t texts,
                   ExecStatusType want, PGresult **out, const char *what, struct cm_error *err)
{
    PGresult *res = PQexecParams(s->conn, sql, (int) texts, NULL, text, NULL, NULL, 0);

    if (PQresultStatus(res) != want)
        return cm_pg_fail(s, res, what, err);
    if (out != NULL)
        *out = res;
    else
        PQclear(res);
    return CM_OK;
}

cm_err cm_pg_run(struct cm_pg *s, const char *sql, const char *what, struct cm_error *err)
{
    PGresult *res = PQexec(s->conn, sql);

    if (PQresultStatus(res) != PGRES_COMMAND_OK)
        return cm_pg_fail(s, res, what, err);
    PQclear(res);
    return CM_OK;
}

cm_err cm_pg_int(struct cm_pg *s, const char *sql, const char *const *text, size_t texts, int64_t none,
                 int64_t *out, const char *what, struct cm_error *err)
{
    PGresult *res = NULL;

    CM_TRY(cm_pg_query(s, sql, text, texts, PGRES_TUPLES_OK, &res, what, err));
    if (PQntuples(res) == 0 || PQgetisnull(res, 0, 0))
        *out = none;
    else
        *out = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
    PQclear(res);
    return CM_OK;
}

cm_err cm_pg_has_table(struct cm_pg *s, const char *name, bool *out, struct cm_error *err)
{
    int64_t count = 0;

    CM_TRY(cm_pg_int(s,
                     "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
                     " ON n.oid = c.relnamespace WHERE n.nspname = 'certmill' AND c.relname = $1",
                     &name, 1, 0, &count, "read it", err));
    *out = count > 0;
    return CM_OK;
}

void cm_pg_rollback(struct cm_pg *s)
{
    PGresult *res = NULL;

    if (s->copying && PQputCopyEnd(s->conn, "abandoned") == 1)
        while ((res = PQgetResult(s->conn)) != NULL)
            PQclear(res);
    s->copying = false;
    /* Without a connection the server does it by itself. */
    if (cm_pg_is_up(s) && PQtransactionStatus(s->conn) != PQTRANS_IDLE)
        PQclear(PQexec(s->conn, "ROLLBACK"));
}

/* All bounds are of this transaction alone. A session that does nothing in it has lost its client, which
 * waits for nothing in between: it must not keep the lock. What is committed must be on disk even where a
 * user's default is that it need not. */
cm_err cm_pg_begin(struct cm_pg *s, const char *what, struct cm_error *err)
{
    char lock[24], idle[24];
    const char *const text[] = { lock, idle };

    (void) snprintf(lock, sizeof lock, "%ums", s->wait_ms > 0 ? s->wait_ms : 1);
    (void) snprintf(idle, sizeof idle, "%ums", s->wait_ms > 2000 ? s->wait_ms / 2 : 1000);
    CM_TRY(cm_pg_run(s, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", what, err));
    return cm_pg_query(s,
                       "SELECT set_config('lock_timeout', $1, true),"
                       " set_config('idle_in_transaction_session_timeout', $2, true),"
                       " CASE current_setting('synchronous_commit') WHEN 'off'"
                       " THEN set_config('synchronous_commit', 'on', true) END",
                       text, CM_COUNT(text), PGRES_TUPLES_OK, NULL, what, err);
}

/* Behind a lock, because another process may be at it: the key is "certmill" in ASCII. */
static cm_err begin_making(struct cm_pg *s, const char *what, struct cm_error *err)
{
    int64_t schema = 0;

    CM_TRY(cm_pg_begin(s, what, err));
    CM_TRY(cm_pg_query(s, "SELECT pg_advisory_xact_lock(7162256626780040300)", NULL, 0, PGRES_TUPLES_OK, NULL,
                       what, err));
    CM_TRY(cm_pg_int(s, "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = 'certmill'", NULL, 0, 0,
                     &schema, what, err));
    return schema == 0 ? cm_pg_run(s, "CREATE SCHEMA certmill", what, err) : CM_OK;
}

static cm_err make_tables(struct cm_pg *s, const struct cm_migration *m, bool *is_new, struct cm_error *err)
{
    static const char what[] = "make its tables";
    int64_t version = 0;

    CM_TRY(begin_making(s, what, err));
    CM_TRY(m->find(m->arg, &version, err));
    *is_new = version == 0;
    for (; version < m->last; version++)
        CM_TRY(cm_pg_run(s, m->step[version], what, err));
    return cm_pg_run(s, "COMMIT", what, err);
}

cm_err cm_pg_migrate(struct cm_pg *s, const struct cm_migration *m, bool *is_new, struct cm_error *err)
{
    int64_t version = 0;

    CM_TRY(m->find(m->arg, &version, err));
    if (version == m->last)
        return CM_OK;
    const cm_err rc = make_tables(s, m, is_new, err);
    if (rc != CM_OK)
        cm_pg_rollback(s);
    return rc;
}

cm_err cm_pg_check_may_make(struct cm_pg *s, struct cm_error *err)
{
    int64_t may = 0;

    CM_TRY(cm_pg_int(s,
                     "SELECT coalesce(has_schema_privilege(to_regnamespace('certmill'), 'CREATE'),"
                     " has_database_privilege(current_database(), 'CREATE'))::int",
                     NULL, 0, 0, &may, "read it", err));
    if (may == 0)
        CM_FAIL(err, CM_E_DB,
                "the %s %s: permission denied to make certmill's tables: grant what docs/formats.md lists",
                s->noun, s->name);
    return CM_OK;
}

cm_err cm_pg_commit(struct cm_pg *s, const char *what, struct cm_error *err)
{
    PGresult *res = PQexec(s->conn, "COMMIT");
    /* The answer of a transaction that had failed is ROLLBACK, and no error. */
    const bool done = PQresultStatus(res) == PGRES_COMMAND_OK && strcmp(PQcmdStatus(res), "COMMIT") == 0;

    if (!done && cm_pg_is_up(s))
        return cm_pg_fail(s, res, what, err);
    PQclear(res);
    return done ? CM_OK : CM_E_CLOSED;
}

cm_err cm_pg_copy_begin(struct cm_pg *s, const char *sql, const char *what, struct cm_error *err)
{
    CM_TRY(cm_pg_query(s, sql, NULL, 0, PGRES_COPY_IN, NULL, what, err));
    s->copying = true;
    return CM_OK;
}

cm_err cm_pg_copy_put(struct cm_pg *s, const void *data, size_t len, const char *what, struct cm_error *err)
{
    return PQputCopyData(s->conn, data, (int) len) == 1 ? CM_OK : cm_pg_fail(s, NULL, what, err);
}

cm_err cm_pg_copy_end(struct cm_pg *s, const char *what, struct cm_error *err)
{
    cm_err rc = CM_OK;
    PGresult *res = NULL;

    if (PQputCopyEnd(s->conn, NULL) != 1)
        return cm_pg_fail(s, NULL, what, err);
    s->copying = false;
    while ((res = PQgetResult(s->conn)) != NULL) {
        if (PQresultStatus(res) == PGRES_COMMAND_OK)
            PQclear(res);
        else if (rc == CM_OK)
            rc = cm_pg_fail(s, res, what, err);
        else
            PQclear(res);
    }
    return rc;
}

void cm_pg_put_head(struct cm_writer *w)
{
    static const char head[CM_PG_COPY_HEAD] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";

    cm_put(w, head, sizeof head);
}

void cm_pg_put_tail(struct cm_writer *w)
{
    cm_pg_put_be(w, 0xffff, CM_PG_COPY_TAIL);
}

void cm_pg_time(const char *text, uint8_t out[8])
{
    static const cm_when from = 946684800; /* 2000-01-01T00:00:00Z */
    struct cm_writer w = cm_writer(out, 8);
    cm_when when = 0;
    const bool good = cm_when_parse(text, &when, NULL) == CM_OK;

    cm_pg_put_be(&w, good ? (uint64_t) (when - from) * 1000000 : (uint64_t) INT64_MAX - 1, 8);
}

void cm_pg_uuid(const char *text, uint8_t out[16])
{
    memset(out, 0, 16);
    for (size_t n = 0; *text != '\0' && n < 32; text++)
        if (*text != '-') {
            out[n / 2] = (uint8_t) (out[n / 2] << 4 | (*text <= '9' ? *text - '0' : *text - 'a' + 10));
            n++;
        }
}

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static cm_err connect_to(struct cm_pg *s, const char *url, struct cm_error *err)
{
    char line[240];

    s->conn = cm_pg_connect(url);
    if (s->conn == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the %s", s->noun);
    (void) snprintf(s->name, sizeof s->name, "postgresql://%.70s:%.10s/%.50s", or_empty(PQhost(s->conn)),
                    or_empty(PQport(s->conn)), or_empty(PQdb(s->conn)));
    s->in_the_way = !cm_pg_is_up(s) && cm_pg_is_unreachable(url);
    if (!cm_pg_is_up(s))
        CM_FAIL(err, CM_E_DB, "can't open the %s %s: %s%s", s->noun, s->name,
                cm_pg_line(PQerrorMessage(s->conn), line, sizeof line),
                PQconnectionNeedsPassword(s->conn) ? ": put it into ~/.pgpass or PGPASSWORD" : "");
    (void) PQsetNoticeProcessor(s->conn, say_nothing, NULL);
    return CM_OK;
}

cm_err cm_pg_open(struct cm_pg *s, const char *url, struct cm_error *err)
{
    CM_TRY(cm_pg_url_check(url, err));
    CM_TRY(connect_to(s, url, err));
    const char *encoding = PQparameterStatus(s->conn, "server_encoding");
    if (encoding == NULL || strcmp(encoding, "UTF8") != 0)
        CM_FAIL(err, CM_E_INPUT,
                "the %s %s: the database has the encoding %s, where not every id can be kept: make one with "
                "createdb -E UTF8 -T template0",
                s->noun, s->name, encoding != NULL ? encoding : "(unknown)");
    return CM_OK;
}

bool cm_pg_is_up(const struct cm_pg *s)
{
    return PQstatus(s->conn) == CONNECTION_OK;
}

void cm_pg_close(struct cm_pg *s)
{
    PQfinish(s->conn);
    s->conn = NULL;
}
