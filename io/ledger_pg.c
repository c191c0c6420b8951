#include "io/ledger_pg.h"

#include "io/pgurl.h"

#include <inttypes.h>
#include <time.h>

/* Waits for its turn. The row is made where it is missing, so that a transaction that
 * is just making it is waited for, too. */
static cm_err lock_ca(const struct pg_ledger *s, const char *ca_certificate_id, int64_t *ca_no,
                      const char *what, struct cm_error *err)
{
    return cm_ledger_pg_int(s,
                            "INSERT INTO certmill.ledger_ca (ca_certificate_id) VALUES ($1)"
                            " ON CONFLICT (ca_certificate_id) DO UPDATE"
                            " SET ca_certificate_id = EXCLUDED.ca_certificate_id RETURNING ca_no",
                            &ca_certificate_id, 1, 0, ca_no, what, err);
}

static void put_be(struct pg_ledger *s, uint64_t value, size_t octets)
{
    while (octets-- > 0)
        s->buf[s->len++] = (uint8_t) (value >> (8 * octets));
}

static cm_err send_ids(struct pg_ledger *s, struct cm_error *err)
{
    if (PQputCopyData(s->conn, (const char *) s->buf, (int) s->len) != 1)
        return cm_ledger_pg_fail(s, NULL, "send ids to it", err);
    s->len = 0;
    return CM_OK;
}

static cm_err pg_begin(struct cm_ledger *l, struct cm_error *err)
{
    static const char head[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"; /* its own NUL is the last octet */
    static const char what[] = "reserve ids in it";
    struct pg_ledger *s = cm_ledger_pg_of(l);

    CM_TRY(cm_ledger_pg_begin(s, what, err));
    CM_TRY(cm_ledger_pg_run(
        s,
        "CREATE TEMPORARY TABLE ledger_wanted (seq bigint NOT NULL, device_id text COLLATE \"C\" NOT NULL)"
        " ON COMMIT DROP",
        what, err));
    CM_TRY(cm_ledger_pg_query(s, "COPY pg_temp.ledger_wanted FROM STDIN (FORMAT binary)", NULL, 0,
                              PGRES_COPY_IN, NULL, what, err));
    s->copying = true;
    memcpy(s->buf, head, sizeof head);
    s->len = sizeof head;
    return CM_OK;
}

static cm_err pg_add(struct cm_ledger *l, struct cm_span id, struct cm_error *err)
{
    struct pg_ledger *s = cm_ledger_pg_of(l);

    if (CM_LEDGER_COPY - s->len < CM_LEDGER_TUPLE_MAX)
        CM_TRY(send_ids(s, err));
    put_be(s, 2, 2); /* fields */
    put_be(s, 8, 4);
    put_be(s, l->added, 8);
    put_be(s, id.len, 4);
    memcpy(s->buf + s->len, id.data, id.len);
    s->len += id.len;
    return CM_OK;
}

static cm_err end_copy(struct pg_ledger *s, struct cm_error *err)
{
    static const char what[] = "send ids to it";
    cm_err rc = CM_OK;
    PGresult *res = NULL;

    put_be(s, 0xffff, 2); /* the trailer */
    CM_TRY(send_ids(s, err));
    if (PQputCopyEnd(s->conn, NULL) != 1)
        return cm_ledger_pg_fail(s, NULL, what, err);
    s->copying = false;
    while ((res = PQgetResult(s->conn)) != NULL) {
        if (PQresultStatus(res) == PGRES_COMMAND_OK)
            PQclear(res);
        else if (rc == CM_OK)
            rc = cm_ledger_pg_fail(s, res, what, err);
        else
            PQclear(res);
    }
    return rc;
}

static cm_err enter_run(struct pg_ledger *s, const char *ca_no, const char *what, struct cm_error *err)
{
    const struct cm_ledger *l = &s->base;
    const char *const text[] = { ca_no, l->claim.run_id, l->claim.order, l->host };
    PGresult *res = NULL;

    CM_TRY(cm_ledger_pg_query(
        s,
        "INSERT INTO certmill.ledger_run AS r (ca_no, run_id, order_name, host, reserved_at, reservations)"
        " VALUES ($1, $2, $3, $4, now(), 1) ON CONFLICT (ca_no, run_id)"
        " DO UPDATE SET reservations = r.reservations + 1 RETURNING run_no, reservations",
        text, CM_COUNT(text), PGRES_TUPLES_OK, &res, what, err));
    s->run_no = strtoll(PQgetvalue(res, 0, 0), NULL, 10);
    s->reservations = strtoll(PQgetvalue(res, 0, 1), NULL, 10);
    PQclear(res);
    return CM_OK;
}

/* Of the ids that were not entered: which do others hold? */
static cm_err find_held(struct pg_ledger *s, const char *ca_no, const char *run_no, const char *what,
                        struct cm_error *err)
{
    char limit[12];
    const char *const text[] = { ca_no, run_no, limit };
    PGresult *res = NULL;

    (void) snprintf(limit, sizeof limit, "%d", CM_LEDGER_NAMED);
    CM_TRY(cm_ledger_pg_query(
        s,
        "SELECT count(*) OVER (), w.device_id, coalesce(r.run_id::text, '(unknown)'), r.order_name,"
        " coalesce(r.host, ''),"
        " coalesce(to_char(r.reserved_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '')"
        " FROM pg_temp.ledger_wanted w"
        " JOIN certmill.ledger_device d ON d.ca_no = $1 AND d.device_id = w.device_id"
        " LEFT JOIN certmill.ledger_run r ON r.run_no = d.run_no"
        " WHERE d.run_no <> $2 ORDER BY w.seq LIMIT $3",
        text, CM_COUNT(text), PGRES_TUPLES_OK, &res, what, err));
    for (int i = 0; i < PQntuples(res); i++) {
        const struct cm_ledger_holder h = { cm_span(PQgetvalue(res, i, 1), (size_t) PQgetlength(res, i, 1)),
                                            PQgetvalue(res, i, 2),
                                            PQgetisnull(res, i, 3) ? NULL : PQgetvalue(res, i, 3),
                                            PQgetvalue(res, i, 4), PQgetvalue(res, i, 5) };
        s->base.held = strtoull(PQgetvalue(res, i, 0), NULL, 10);
        cm_ledger_note(&s->base, &h);
    }
    PQclear(res);
    return CM_OK;
}

static cm_err pg_settle(struct cm_ledger *l, struct cm_error *err)
{
    static const char what[] = "reserve ids in it";
    struct pg_ledger *s = cm_ledger_pg_of(l);
    char ca_no[24], run_no[24];
    const char *const text[] = { ca_no, run_no };
    PGresult *res = NULL;

    CM_TRY(end_copy(s, err));
    CM_TRY(lock_ca(s, l->claim.ca_certificate_id, &s->ca_no, what, err));
    (void) snprintf(ca_no, sizeof ca_no, "%" PRId64, s->ca_no);
    CM_TRY(enter_run(s, ca_no, what, err));
    (void) snprintf(run_no, sizeof run_no, "%" PRId64, s->run_no);
    /* In the index's order, which touches each of its pages once. */
    CM_TRY(cm_ledger_pg_query(s,
                              "INSERT INTO certmill.ledger_device SELECT $1::bigint, device_id, $2::bigint "
                              "FROM pg_temp.ledger_wanted"
                              " ORDER BY device_id ON CONFLICT DO NOTHING",
                              text, CM_COUNT(text), PGRES_COMMAND_OK, &res, what, err));
    const uint64_t entered = strtoull(PQcmdTuples(res), NULL, 10);
    PQclear(res);
    return entered == l->added ? CM_OK : find_held(s, ca_no, run_no, what, err);
}

static uint64_t now_ms(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

/* The connection broke between COMMIT and its answer. The transaction still has the
 * lock if it still goes on; behind it, the run's row tells how it ended. */
static cm_err ask_outcome(struct pg_ledger *s, bool *committed, struct cm_error *err)
{
    static const char what[] =
        "tell how the commit ended; whether the ids are reserved is not known, resume the run";
    char ca_no[24];
    const char *const text[] = { ca_no, s->base.claim.run_id };
    int64_t reservations = 0;

    PQreset(s->conn);
    if (PQstatus(s->conn) != CONNECTION_OK)
        return cm_ledger_pg_fail(s, NULL, what, err);
    CM_TRY(cm_ledger_pg_begin(s, what, err));
    CM_TRY(lock_ca(s, s->base.claim.ca_certificate_id, &s->ca_no, what, err));
    (void) snprintf(ca_no, sizeof ca_no, "%" PRId64, s->ca_no);
    CM_TRY(cm_ledger_pg_int(s,
                            "SELECT reservations FROM certmill.ledger_run WHERE ca_no = $1 AND run_id = $2",
                            text, CM_COUNT(text), 0, &reservations, what, err));
    cm_ledger_pg_rollback(&s->base);
    *committed = reservations >= s->reservations;
    return CM_OK;
}

/* A server that was restarted takes a moment, and may break the connection once more. */
static cm_err find_outcome(struct pg_ledger *s, struct cm_error *err)
{
    const uint64_t end = now_ms() + s->base.wait_ms;
    bool committed = false;
    cm_err rc = CM_OK;

    while ((rc = ask_outcome(s, &committed, err)) != CM_OK) {
        if (PQstatus(s->conn) == CONNECTION_OK || now_ms() >= end)
            return rc;
        (void) nanosleep(&(struct timespec) { .tv_nsec = 200000000 }, NULL);
    }
    if (!committed)
        CM_FAIL(err, CM_E_DB, "the connection to the ledger %s broke, and nothing was reserved: try again",
                s->base.name);
    return CM_OK;
}

static cm_err pg_commit(struct cm_ledger *l, struct cm_error *err)
{
    struct pg_ledger *s = cm_ledger_pg_of(l);
    PGresult *res = PQexec(s->conn, "COMMIT");
    /* The answer of a transaction that had failed is ROLLBACK, and no error. */
    const bool done = PQresultStatus(res) == PGRES_COMMAND_OK && strcmp(PQcmdStatus(res), "COMMIT") == 0;

    if (!done && PQstatus(s->conn) == CONNECTION_OK)
        return cm_ledger_pg_fail(s, res, "commit to it", err);
    PQclear(res);
    return done ? CM_OK : find_outcome(s, err);
}

static cm_err free_run(const struct pg_ledger *s, const char *ca_certificate_id, const char *run_id,
                       struct cm_error *err)
{
    static const char what[] = "free ids in it";
    int64_t ca_no = 0;
    char ca_text[24];
    const char *const text[] = { ca_text, run_id };

    CM_TRY(cm_ledger_pg_begin(s, what, err));
    CM_TRY(lock_ca(s, ca_certificate_id, &ca_no, what, err));
    (void) snprintf(ca_text, sizeof ca_text, "%" PRId64, ca_no);
    CM_TRY(cm_ledger_pg_query(
        s,
        "DELETE FROM certmill.ledger_device d USING certmill.ledger_run r WHERE r.ca_no = $1"
        " AND r.run_id = $2 AND d.ca_no = $1 AND d.run_no = r.run_no",
        text, CM_COUNT(text), PGRES_COMMAND_OK, NULL, what, err));
    CM_TRY(cm_ledger_pg_query(s, "DELETE FROM certmill.ledger_run WHERE ca_no = $1 AND run_id = $2", text,
                              CM_COUNT(text), PGRES_COMMAND_OK, NULL, what, err));
    return cm_ledger_pg_run(s, "COMMIT", what, err);
}

static cm_err pg_release(struct cm_ledger *l, const char *ca_certificate_id, const char *run_id,
                         struct cm_error *err)
{
    const cm_err rc = free_run(cm_ledger_pg_of(l), ca_certificate_id, run_id, err);

    if (rc != CM_OK)
        cm_ledger_pg_rollback(l);
    return rc;
}

const struct cm_ledger_ops cm_ledger_pg_ops = {
    .scheme = "postgresql://",
    .form = "postgresql://[user@]host[:port]/database",
    .public = cm_pg_url_public,
    .open = cm_ledger_pg_open,
    .begin = pg_begin,
    .add = pg_add,
    .settle = pg_settle,
    .commit = pg_commit,
    .rollback = cm_ledger_pg_rollback,
    .release = pg_release,
    .close = cm_ledger_pg_close,
};
