#include "io/ledger_pg.h"

#include "io/pgurl.h"

/* No foreign key from ledger_device: it would be checked once per row. */
static const char *const steps[CM_LEDGER_VERSION] = {
    "CREATE TABLE certmill.ledger_version (version integer NOT NULL);"
    "INSERT INTO certmill.ledger_version VALUES (1);"
    "CREATE TABLE certmill.ledger_ca (ca_no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " ca_certificate_id text NOT NULL UNIQUE);"
    "CREATE TABLE certmill.ledger_run (run_no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " ca_no bigint NOT NULL REFERENCES certmill.ledger_ca, run_id uuid NOT NULL, order_name text,"
    " host text NOT NULL, reserved_at timestamptz NOT NULL, reservations bigint NOT NULL,"
    " UNIQUE (ca_no, run_id));"
    "CREATE TABLE certmill.ledger_device (ca_no bigint NOT NULL, device_id text COLLATE \"C\" NOT NULL,"
    " run_no bigint NOT NULL, PRIMARY KEY (ca_no, device_id))",
};

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
        { "55P03", ": another reservation below this CA is under way; try again when it has ended" },
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

cm_err cm_ledger_pg_fail(const struct pg_ledger *s, PGresult *res, const char *what, struct cm_error *err)
{
    const char *state = res != NULL ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    const char *primary = res != NULL ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    char line[200];

    (void) cm_pg_line(primary != NULL ? primary : PQerrorMessage(s->conn), line, sizeof line);
    (void) cm_fail(err, CM_E_DB, CM_HERE, "the ledger %s: can't %s: %s%s", s->base.name, what, line,
                   state != NULL ? advice(state) : "");
    PQclear(res);
    return CM_E_DB;
}

cm_err cm_ledger_pg_query(const struct pg_ledger *s, const char *sql, const char *const *text, size_t texts,
                          ExecStatusType want, PGresult **out, const char *what, struct cm_error *err)
{
    PGresult *res = PQexecParams(s->conn, sql, (int) texts, NULL, text, NULL, NULL, 0);

    if (PQresultStatus(res) != want)
        return cm_ledger_pg_fail(s, res, what, err);
    if (out != NULL)
        *out = res;
    else
        PQclear(res);
    return CM_OK;
}

cm_err cm_ledger_pg_run(const struct pg_ledger *s, const char *sql, const char *what, struct cm_error *err)
{
    PGresult *res = PQexec(s->conn, sql);

    if (PQresultStatus(res) != PGRES_COMMAND_OK)
        return cm_ledger_pg_fail(s, res, what, err);
    PQclear(res);
    return CM_OK;
}

cm_err cm_ledger_pg_int(const struct pg_ledger *s, const char *sql, const char *const *text, size_t texts,
                        int64_t none, int64_t *out, const char *what, struct cm_error *err)
{
    PGresult *res = NULL;

    CM_TRY(cm_ledger_pg_query(s, sql, text, texts, PGRES_TUPLES_OK, &res, what, err));
    if (PQntuples(res) == 0 || PQgetisnull(res, 0, 0))
        *out = none;
    else
        *out = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
    PQclear(res);
    return CM_OK;
}

void cm_ledger_pg_rollback(struct cm_ledger *l)
{
    struct pg_ledger *s = cm_ledger_pg_of(l);
    PGresult *res = NULL;

    if (s->copying && PQputCopyEnd(s->conn, "abandoned") == 1)
        while ((res = PQgetResult(s->conn)) != NULL)
            PQclear(res);
    s->copying = false;
    /* Without a connection the server does it by itself. */
    if (PQstatus(s->conn) == CONNECTION_OK && PQtransactionStatus(s->conn) != PQTRANS_IDLE)
        PQclear(PQexec(s->conn, "ROLLBACK"));
}

/* All bounds are of this transaction alone. A session that does nothing in it has lost its client, which
 * waits for nothing in between: it must not keep the lock. What is committed must be on disk even where a
 * user's default is that it need not. */
cm_err cm_ledger_pg_begin(const struct pg_ledger *s, const char *what, struct cm_error *err)
{
    char lock[24], idle[24];
    const char *const text[] = { lock, idle };

    (void) snprintf(lock, sizeof lock, "%ums", s->base.wait_ms > 0 ? s->base.wait_ms : 1);
    (void) snprintf(idle, sizeof idle, "%ums", s->base.wait_ms > 2000 ? s->base.wait_ms / 2 : 1000);
    CM_TRY(cm_ledger_pg_run(s, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE", what, err));
    return cm_ledger_pg_query(s,
                              "SELECT set_config('lock_timeout', $1, true),"
                              " set_config('idle_in_transaction_session_timeout', $2, true),"
                              " CASE current_setting('synchronous_commit') WHEN 'off'"
                              " THEN set_config('synchronous_commit', 'on', true) END",
                              text, CM_COUNT(text), PGRES_TUPLES_OK, NULL, what, err);
}

/* Asks the catalog's tables: to_regclass may answer from a cache of before the wait for the
 * lock below. */
static cm_err find_version(const struct pg_ledger *s, int64_t *version, struct cm_error *err)
{
    int64_t table = 0;

    CM_TRY(cm_ledger_pg_int(s,
                            "SELECT count(*) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
                            " ON n.oid = c.relnamespace"
                            " WHERE n.nspname = 'certmill' AND c.relname = 'ledger_version'",
                            NULL, 0, 0, &table, "read it", err));
    *version = 0;
    if (table != 0)
        CM_TRY(cm_ledger_pg_int(s, "SELECT version FROM certmill.ledger_version", NULL, 0, -1, version,
                                "read it", err));
    return cm_ledger_check_version(&s->base, *version, err);
}

/* Behind a lock, because another process may be at it: the key is "certmill" in ASCII. */
static cm_err make_tables(struct pg_ledger *s, struct cm_error *err)
{
    static const char what[] = "make its tables";
    int64_t version = 0, schema = 0;

    CM_TRY(cm_ledger_pg_begin(s, what, err));
    CM_TRY(cm_ledger_pg_query(s, "SELECT pg_advisory_xact_lock(7162256626780040300)", NULL, 0,
                              PGRES_TUPLES_OK, NULL, what, err));
    CM_TRY(find_version(s, &version, err));
    s->base.is_new = version == 0;
    CM_TRY(cm_ledger_pg_int(s, "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = 'certmill'",
                            NULL, 0, 0, &schema, what, err));
    if (schema == 0)
        CM_TRY(cm_ledger_pg_run(s, "CREATE SCHEMA certmill", what, err));
    for (; version < CM_LEDGER_VERSION; version++)
        CM_TRY(cm_ledger_pg_run(s, steps[version], what, err));
    return cm_ledger_pg_run(s, "COMMIT", what, err);
}

static cm_err set_up(struct pg_ledger *s, struct cm_error *err)
{
    const char *encoding = PQparameterStatus(s->conn, "server_encoding");
    int64_t version = 0;

    if (encoding == NULL || strcmp(encoding, "UTF8") != 0)
        CM_FAIL(
            err, CM_E_INPUT,
            "the ledger %s: the database has the encoding %s, where not every id can be kept: make one with "
            "createdb -E UTF8 -T template0",
            s->base.name, encoding != NULL ? encoding : "(unknown)");
    CM_TRY(find_version(s, &version, err));
    if (version == CM_LEDGER_VERSION)
        return CM_OK;
    const cm_err rc = make_tables(s, err);
    if (rc != CM_OK)
        cm_ledger_pg_rollback(&s->base);
    return rc;
}

void cm_ledger_pg_close(struct cm_ledger *l)
{
    struct pg_ledger *s = cm_ledger_pg_of(l);

    PQfinish(s->conn);
    free(s);
}

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

static cm_err connect_to(struct pg_ledger *s, const char *url, struct cm_error *err)
{
    char line[240];

    s->conn = cm_pg_connect(url);
    if (s->conn == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the ledger");
    (void) snprintf(s->base.name, sizeof s->base.name, "postgresql://%.70s:%.10s/%.50s",
                    or_empty(PQhost(s->conn)), or_empty(PQport(s->conn)), or_empty(PQdb(s->conn)));
    if (PQstatus(s->conn) != CONNECTION_OK)
        CM_FAIL(err, CM_E_DB, "can't open the ledger %s: %s%s", s->base.name,
                cm_pg_line(PQerrorMessage(s->conn), line, sizeof line),
                PQconnectionNeedsPassword(s->conn) ? ": put it into ~/.pgpass or PGPASSWORD" : "");
    (void) PQsetNoticeProcessor(s->conn, say_nothing, NULL);
    return CM_OK;
}

cm_err cm_ledger_pg_open(const char *url, unsigned wait_ms, struct cm_ledger **out, struct cm_error *err)
{
    struct pg_ledger *s = NULL;

    CM_TRY(cm_pg_url_check(url, err));
    s = calloc(1, sizeof *s);
    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the ledger");
    s->base.ops = &cm_ledger_pg_ops;
    s->base.wait_ms = wait_ms;
    cm_err rc = connect_to(s, url, err);
    if (rc == CM_OK)
        rc = set_up(s, err);
    if (rc != CM_OK) {
        cm_ledger_pg_close(&s->base);
        return rc;
    }
    *out = &s->base;
    return CM_OK;
}
