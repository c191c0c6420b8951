#include "io/ledger_impl.h"

#include "io/sqlitekit.h"

/* A ledger in one file.
 *
 * Journal: a rollback journal, not WAL, whose shared memory can't be shared by
 * machines. Such a commit is the removal of the journal, so that it is durable
 * only when the directory is synced, too: synchronous=EXTRA.
 * Locks: BEGIN IMMEDIATE takes the one writer's lock at once. So reservations
 * take turns, and none has to be given up half-way because another one reads.
 */
struct sqlite_ledger {
    struct cm_ledger base;
    struct cm_sqlite sql;
    sqlite3_stmt *insert, *holder;
    int64_t ca_no, run_no;
};

static const char *const steps[CM_LEDGER_VERSION] = {
    "CREATE TABLE ledger_version (version INTEGER NOT NULL);"
    "INSERT INTO ledger_version VALUES (1);"
    "CREATE TABLE ledger_ca (ca_no INTEGER PRIMARY KEY, ca_certificate_id TEXT NOT NULL UNIQUE);"
    "CREATE TABLE ledger_run (run_no INTEGER PRIMARY KEY, ca_no INTEGER NOT NULL, run_id TEXT NOT NULL,"
    " order_name TEXT, host TEXT NOT NULL, reserved_at TEXT NOT NULL, reservations INTEGER NOT NULL,"
    " UNIQUE (ca_no, run_id));"
    "CREATE TABLE ledger_device (ca_no INTEGER NOT NULL, device_id TEXT NOT NULL, run_no INTEGER NOT NULL,"
    " PRIMARY KEY (ca_no, device_id)) WITHOUT ROWID;",
};

static struct sqlite_ledger *mine(struct cm_ledger *l)
{
    return (struct sqlite_ledger *) l;
}

static void sqlite_rollback(struct cm_ledger *l)
{
    const struct sqlite_ledger *s = mine(l);

    (void) sqlite3_reset(s->insert);
    (void) sqlite3_reset(s->holder);
    cm_sqlite_rollback(&s->sql);
}

static cm_err find_version(void *arg, int64_t *version, struct cm_error *err)
{
    const struct sqlite_ledger *s = arg;
    int64_t tables = 0;

    CM_TRY(cm_sqlite_int(
        &s->sql, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'ledger_version'", NULL,
        0, 0, &tables, err));
    *version = 0;
    if (tables > 0)
        CM_TRY(cm_sqlite_int(&s->sql, "SELECT version FROM ledger_version", NULL, 0, -1, version, err));
    return cm_ledger_check_version(&s->base, *version, err);
}

static cm_err set_up(struct sqlite_ledger *s, struct cm_error *err)
{
    const struct cm_migration tables = { steps, CM_LEDGER_VERSION, find_version, s };
    int64_t plain = 0;

    CM_TRY(cm_sqlite_run(
        &s->sql, "PRAGMA cache_size = -16384; PRAGMA synchronous = EXTRA; PRAGMA journal_mode = DELETE",
        "read it", err));
    CM_TRY(cm_sqlite_check_writable(&s->sql, err));
    CM_TRY(cm_sqlite_int(&s->sql, "SELECT journal_mode = 'delete' FROM pragma_journal_mode", NULL, 0, 0,
                         &plain, err));
    if (plain == 0)
        CM_FAIL(
            err, CM_E_DB,
            "the ledger %s has a write-ahead log, and another process has it open: end that, then try again",
            s->base.name);
    CM_TRY(cm_sqlite_migrate(&s->sql, &tables, &s->base.is_new, err));
    CM_TRY(cm_sqlite_prepare(&s->sql, "INSERT INTO ledger_device VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING",
                             &s->insert, err));
    return cm_sqlite_prepare(
        &s->sql,
        "SELECT r.run_no, r.run_id, r.order_name, r.host, r.reserved_at FROM ledger_device d"
        " JOIN ledger_run r ON r.run_no = d.run_no WHERE d.ca_no = ?1 AND d.device_id = ?2",
        &s->holder, err);
}

static void sqlite_close(struct cm_ledger *l)
{
    struct sqlite_ledger *s = mine(l);

    (void) sqlite3_finalize(s->insert);
    (void) sqlite3_finalize(s->holder);
    cm_sqlite_close(&s->sql);
    free(s);
}

/* Who can write to a ledger can free ids in it: a new one is its maker's alone. */
static cm_err sqlite_open(const char *url, unsigned wait_ms, struct cm_ledger **out, struct cm_error *err)
{
    char whole[CM_LEDGER_URL_MAX];

    CM_TRY(cm_ledger_public(url, whole, sizeof whole, err));
    struct sqlite_ledger *s = calloc(1, sizeof *s);
    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the ledger");
    s->base.ops = &cm_ledger_sqlite_ops;
    s->base.wait_ms = wait_ms;
    (void) snprintf(s->base.name, sizeof s->base.name, "%s", url);
    s->sql = (struct cm_sqlite) { .noun = "ledger", .name = s->base.name, .wait = { .ms = wait_ms } };
    cm_err rc = cm_sqlite_open(&s->sql, whole, 0600, err);
    if (rc == CM_OK)
        rc = set_up(s, err);
    if (rc != CM_OK) {
        sqlite_close(&s->base);
        return rc;
    }
    *out = &s->base;
    return CM_OK;
}

static cm_err sqlite_begin(struct cm_ledger *l, struct cm_error *err)
{
    struct sqlite_ledger *s = mine(l);
    const char *const ca[] = { l->claim.ca_certificate_id };
    const char *const claim[] = { l->claim.ca_certificate_id, l->claim.run_id, l->claim.order, l->host };

    CM_TRY(cm_sqlite_run(&s->sql, "BEGIN IMMEDIATE", "reserve ids in it", err));
    CM_TRY(
        cm_sqlite_int(&s->sql,
                      "INSERT INTO ledger_ca (ca_certificate_id) VALUES (?1) ON CONFLICT (ca_certificate_id)"
                      " DO UPDATE SET ca_certificate_id = ?1 RETURNING ca_no",
                      ca, CM_COUNT(ca), 0, &s->ca_no, err));
    return cm_sqlite_int(&s->sql,
                         "INSERT INTO ledger_run (ca_no, run_id, order_name, host, reserved_at, reservations)"
                         " SELECT ca_no, ?2, ?3, ?4, strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), 1 FROM ledger_ca"
                         " WHERE ca_certificate_id = ?1 ON CONFLICT (ca_no, run_id)"
                         " DO UPDATE SET reservations = reservations + 1 RETURNING run_no",
                         claim, CM_COUNT(claim), 0, &s->run_no, err);
}

/* Who holds the id? It is fine when this run does. `taken`: somebody must. */
static cm_err look_up(struct sqlite_ledger *s, struct cm_span id, bool taken, struct cm_error *err)
{
    cm_err rc = CM_OK;

    (void) sqlite3_bind_int64(s->holder, 1, s->ca_no);
    (void) sqlite3_bind_text(s->holder, 2, (const char *) id.data, (int) id.len, SQLITE_STATIC);
    const int got = sqlite3_step(s->holder);
    if (got == SQLITE_ROW && sqlite3_column_int64(s->holder, 0) != s->run_no) {
        const struct cm_ledger_holder h = { id, (const char *) sqlite3_column_text(s->holder, 1),
                                            (const char *) sqlite3_column_text(s->holder, 2),
                                            (const char *) sqlite3_column_text(s->holder, 3),
                                            (const char *) sqlite3_column_text(s->holder, 4) };
        s->base.held++;
        cm_ledger_note(&s->base, &h);
    } else if (got == SQLITE_DONE && taken) {
        rc = cm_sqlite_damaged(&s->sql, "an id in it belongs to no run", err);
    } else if (got != SQLITE_ROW && got != SQLITE_DONE) {
        rc = cm_sqlite_fail(&s->sql, "read it", err);
    }
    (void) sqlite3_reset(s->holder);
    return rc;
}

static cm_err sqlite_add(struct cm_ledger *l, struct cm_span id, struct cm_error *err)
{
    struct sqlite_ledger *s = mine(l);

    /* Once refused, it only counts what else is taken. */
    if (l->held > 0)
        return look_up(s, id, false, err);
    (void) sqlite3_bind_int64(s->insert, 1, s->ca_no);
    (void) sqlite3_bind_text(s->insert, 2, (const char *) id.data, (int) id.len, SQLITE_STATIC);
    (void) sqlite3_bind_int64(s->insert, 3, s->run_no);
    if (sqlite3_step(s->insert) != SQLITE_DONE)
        return cm_sqlite_fail(&s->sql, "reserve ids in it", err);
    (void) sqlite3_reset(s->insert);
    return sqlite3_changes(s->sql.db) == 1 ? CM_OK : look_up(s, id, true, err);
}

static cm_err sqlite_settle(struct cm_ledger *l, struct cm_error *err)
{
    (void) l;
    (void) err;
    return CM_OK; /* add looked up every id */
}

static cm_err sqlite_commit(struct cm_ledger *l, struct cm_error *err)
{
    return cm_sqlite_run(&mine(l)->sql, "COMMIT", "reserve ids in it", err);
}

static cm_err free_run(const struct sqlite_ledger *s, const char *const run_of[2], struct cm_error *err)
{
    char sql[200];
    int64_t ca_no = 0, run_no = 0;

    CM_TRY(cm_sqlite_int(&s->sql, "SELECT ca_no FROM ledger_ca WHERE ca_certificate_id = ?1", run_of, 1, 0,
                         &ca_no, err));
    CM_TRY(cm_sqlite_int(&s->sql,
                         "SELECT r.run_no FROM ledger_run r JOIN ledger_ca c ON c.ca_no = r.ca_no"
                         " WHERE c.ca_certificate_id = ?1 AND r.run_id = ?2",
                         run_of, 2, 0, &run_no, err));
    (void) snprintf(sql, sizeof sql,
                    "DELETE FROM ledger_device WHERE ca_no = %lld AND run_no = %lld;"
                    " DELETE FROM ledger_run WHERE run_no = %lld",
                    (long long) ca_no, (long long) run_no, (long long) run_no);
    if (run_no != 0)
        CM_TRY(cm_sqlite_run(&s->sql, sql, "free ids in it", err));
    return cm_sqlite_run(&s->sql, "COMMIT", "free ids in it", err);
}

static cm_err sqlite_release(struct cm_ledger *l, const char *ca_certificate_id, const char *run_id,
                             struct cm_error *err)
{
    const struct sqlite_ledger *s = mine(l);
    const char *const run_of[2] = { ca_certificate_id, run_id };

    CM_TRY(cm_sqlite_run(&s->sql, "BEGIN IMMEDIATE", "free ids in it", err));
    const cm_err rc = free_run(s, run_of, err);
    if (rc != CM_OK)
        sqlite_rollback(l);
    return rc;
}

const struct cm_ledger_ops cm_ledger_sqlite_ops = {
    .open = sqlite_open,
    .begin = sqlite_begin,
    .add = sqlite_add,
    .settle = sqlite_settle,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .release = sqlite_release,
    .close = sqlite_close,
};
