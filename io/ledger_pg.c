#include "io/ledger_pg.h"

#include <inttypes.h>
#include <time.h>

/* Waits for its turn. The row is made where it is missing, so that a transaction that
 * is just making it is waited for, too. */
static cm_err lock_ca(struct pg_ledger *s, const char *ca_certificate_id, int64_t *ca_no, const char *what,
                      struct cm_error *err)
{
    return cm_pg_int(&s->pg,
                     "INSERT INTO certmill.ledger_ca (ca_certificate_id) VALUES ($1)"
                     " ON CONFLICT (ca_certificate_id) DO UPDATE"
                     " SET ca_certificate_id = EXCLUDED.ca_certificate_id RETURNING ca_no",
                     &ca_certificate_id, 1, 0, ca_no, what, err);
}

static cm_err send_ids(struct pg_ledger *s, struct cm_error *err)
{
    CM_ASSERT(cm_writer_ok(&s->w));
    CM_TRY(cm_pg_copy_put(&s->pg, s->buf, s->w.len, "send ids to it", err));
    s->w.len = 0;
    return CM_OK;
}

static cm_err pg_begin(struct cm_ledger *l, struct cm_error *err)
{
    static const char what[] = "reserve ids in it";
    struct pg_ledger *s = cm_ledger_pg_of(l);

    CM_TRY(cm_pg_begin(&s->pg, what, err));
    CM_TRY(cm_pg_run(
        &s->pg,
        "CREATE TEMPORARY TABLE ledger_wanted (seq bigint NOT NULL, device_id text COLLATE \"C\" NOT NULL)"
        " ON COMMIT DROP",
        what, err));
    CM_TRY(cm_pg_copy_begin(&s->pg, "COPY pg_temp.ledger_wanted FROM STDIN (FORMAT binary)", what, err));
    s->w.len = 0;
    cm_pg_put_head(&s->w);
    return CM_OK;
}

static cm_err pg_add(struct cm_ledger *l, struct cm_span id, struct cm_error *err)
{
    struct pg_ledger *s = cm_ledger_pg_of(l);

    if (CM_LEDGER_COPY - s->w.len < CM_LEDGER_TUPLE_MAX)
        CM_TRY(send_ids(s, err));
    cm_pg_put_be(&s->w, 2, 2); /* fields */
    cm_pg_put_be(&s->w, 8, 4);
    cm_pg_put_be(&s->w, l->added, 8);
    cm_pg_put_be(&s->w, id.len, 4);
    cm_put_span(&s->w, id);
    return CM_OK;
}

static cm_err end_copy(struct pg_ledger *s, struct cm_error *err)
{
    cm_pg_put_tail(&s->w);
    CM_TRY(send_ids(s, err));
    return cm_pg_copy_end(&s->pg, "send ids to it", err);
}

static cm_err enter_run(struct pg_ledger *s, const char *ca_no, const char *what, struct cm_error *err)
{
    const struct cm_ledger *l = &s->base;
    const char *const text[] = { ca_no, l->claim.run_id, l->claim.order, l->host };
    PGresult *res = NULL;

    CM_TRY(cm_pg_query(
        &s->pg,
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
    CM_TRY(cm_pg_query(
        &s->pg,
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
    CM_TRY(cm_pg_query(&s->pg,
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

    PQreset(s->pg.conn);
    if (!cm_pg_is_up(&s->pg))
        return cm_pg_fail(&s->pg, NULL, what, err);
    CM_TRY(cm_pg_begin(&s->pg, what, err));
    CM_TRY(lock_ca(s, s->base.claim.ca_certificate_id, &s->ca_no, what, err));
    (void) snprintf(ca_no, sizeof ca_no, "%" PRId64, s->ca_no);
    CM_TRY(cm_pg_int(&s->pg, "SELECT reservations FROM certmill.ledger_run WHERE ca_no = $1 AND run_id = $2",
                     text, CM_COUNT(text), 0, &reservations, what, err));
    cm_pg_rollback(&s->pg);
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
        if (cm_pg_is_up(&s->pg) || now_ms() >= end)
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
    const cm_err rc = cm_pg_commit(&s->pg, "commit to it", err);

    return rc == CM_E_CLOSED ? find_outcome(s, err) : rc;
}

static cm_err free_run(struct pg_ledger *s, const char *ca_certificate_id, const char *run_id,
                       struct cm_error *err)
{
    static const char what[] = "free ids in it";
    int64_t ca_no = 0;
    char ca_text[24];
    const char *const text[] = { ca_text, run_id };

    CM_TRY(cm_pg_begin(&s->pg, what, err));
    CM_TRY(lock_ca(s, ca_certificate_id, &ca_no, what, err));
    (void) snprintf(ca_text, sizeof ca_text, "%" PRId64, ca_no);
    CM_TRY(cm_pg_query(&s->pg,
                       "DELETE FROM certmill.ledger_device d USING certmill.ledger_run r WHERE r.ca_no = $1"
                       " AND r.run_id = $2 AND d.ca_no = $1 AND d.run_no = r.run_no",
                       text, CM_COUNT(text), PGRES_COMMAND_OK, NULL, what, err));
    CM_TRY(cm_pg_query(&s->pg, "DELETE FROM certmill.ledger_run WHERE ca_no = $1 AND run_id = $2", text,
                       CM_COUNT(text), PGRES_COMMAND_OK, NULL, what, err));
    return cm_pg_run(&s->pg, "COMMIT", what, err);
}

static cm_err pg_release(struct cm_ledger *l, const char *ca_certificate_id, const char *run_id,
                         struct cm_error *err)
{
    const cm_err rc = free_run(cm_ledger_pg_of(l), ca_certificate_id, run_id, err);

    if (rc != CM_OK)
        cm_pg_rollback(&cm_ledger_pg_of(l)->pg);
    return rc;
}

static void pg_rollback(struct cm_ledger *l)
{
    cm_pg_rollback(&cm_ledger_pg_of(l)->pg);
}

const struct cm_ledger_ops cm_ledger_pg_ops = {
    .open = cm_ledger_pg_open,
    .begin = pg_begin,
    .add = pg_add,
    .settle = pg_settle,
    .commit = pg_commit,
    .rollback = pg_rollback,
    .release = pg_release,
    .close = cm_ledger_pg_close,
};
