#include "io/ledger_impl.h"

#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sqlite3.h>
#include <unistd.h>

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
    sqlite3 *db;
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

static const char *advice(int code)
{
    switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return ": another process has it; try again when that has ended";
    case SQLITE_READONLY:
        return ": the file and its directory must be writable";
    case SQLITE_FULL:
        return ": free space";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return ": restore it from a backup, or name another file";
    default:
        return "";
    }
}

/* The message of the last call on the connection that failed. */
static cm_err fail(const struct sqlite_ledger *s, const char *what, struct cm_error *err)
{
    const int code = sqlite3_extended_errcode(s->db);
    const int os =
        (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN ? sqlite3_system_errno(s->db) : 0;
    char reason[96] = "", text[80];

    if (os != 0)
        (void) snprintf(reason, sizeof reason, " (%s)", strerror_r(os, text, sizeof text));
    CM_FAIL(err, CM_E_DB, "the ledger %s: can't %s: %s%s%s", s->base.name, what, sqlite3_errmsg(s->db),
            reason, advice(code));
}

static cm_err run(const struct sqlite_ledger *s, const char *sql, const char *what, struct cm_error *err)
{
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return fail(s, what, err);
    return CM_OK;
}

static cm_err prepare(const struct sqlite_ledger *s, const char *sql, sqlite3_stmt **out,
                      struct cm_error *err)
{
    if (sqlite3_prepare_v2(s->db, sql, -1, out, NULL) != SQLITE_OK)
        return fail(s, "read it", err);
    return CM_OK;
}

/* The first column of the first row, an integer; `none` where there is no row. */
static cm_err query_int(const struct sqlite_ledger *s, const char *sql, const char *const *text, size_t texts,
                        int64_t none, int64_t *out, struct cm_error *err)
{
    sqlite3_stmt *stmt = NULL;
    cm_err rc = CM_OK;

    CM_TRY(prepare(s, sql, &stmt, err));
    for (size_t i = 0; i < texts; i++)
        (void) sqlite3_bind_text(stmt, (int) i + 1, text[i], -1, SQLITE_STATIC);
    const int got = sqlite3_step(stmt);
    if (got == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    else if (got == SQLITE_DONE)
        *out = none;
    else
        rc = fail(s, "use it", err);
    (void) sqlite3_finalize(stmt);
    return rc;
}

static void sqlite_rollback(struct cm_ledger *l)
{
    const struct sqlite_ledger *s = mine(l);

    (void) sqlite3_reset(s->insert);
    (void) sqlite3_reset(s->holder);
    /* A failure here leaves the journal, by which the next to open undoes it all. */
    if (!sqlite3_get_autocommit(s->db))
        (void) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

static cm_err find_version(const struct sqlite_ledger *s, int64_t *version, struct cm_error *err)
{
    int64_t tables = 0;

    CM_TRY(query_int(s, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'ledger_version'",
                     NULL, 0, 0, &tables, err));
    *version = 0;
    if (tables > 0)
        CM_TRY(query_int(s, "SELECT version FROM ledger_version", NULL, 0, -1, version, err));
    return cm_ledger_check_version(&s->base, *version, err);
}

/* Inside a transaction: another process may have been faster. */
static cm_err make_tables(struct sqlite_ledger *s, struct cm_error *err)
{
    int64_t version = 0;

    CM_TRY(find_version(s, &version, err));
    s->base.is_new = version == 0;
    for (; version < CM_LEDGER_VERSION; version++)
        CM_TRY(run(s, steps[version], "make its tables", err));
    return run(s, "COMMIT", "make its tables", err);
}

static cm_err migrate(struct sqlite_ledger *s, struct cm_error *err)
{
    int64_t version = 0;

    CM_TRY(find_version(s, &version, err));
    if (version == CM_LEDGER_VERSION)
        return CM_OK;
    CM_TRY(run(s, "BEGIN IMMEDIATE", "write to it", err));
    const cm_err rc = make_tables(s, err);
    if (rc != CM_OK)
        sqlite_rollback(&s->base);
    return rc;
}

/* "sqlite:FILE" without a relative path, which keeps SQLite from seeing anything
 * but a file name in it (":memory:", "file:…?…"). */
static cm_err sqlite_public(const char *url, char *out, size_t cap, struct cm_error *err)
{
    const char *path = url + strlen(cm_ledger_sqlite_ops.scheme);
    char here[PATH_MAX] = "";

    if (path[0] == '\0')
        CM_FAIL(err, CM_E_USAGE, "--ledger sqlite: names no file; write sqlite:FILE");
    if (path[0] != '/' && getcwd(here, sizeof here) == NULL)
        CM_FAIL(err, CM_E_IO, "can't find the working directory, where %.200s is", path);
    const int n = snprintf(out, cap, "sqlite:%s%s%s", here, path[0] != '/' ? "/" : "", path);
    if (n < 0 || (size_t) n >= cap)
        CM_FAIL(err, CM_E_USAGE, "--ledger sqlite: the path of the file is too long");
    return CM_OK;
}

/* Who can write to a ledger can free ids in it: a new one is its maker's alone. */
static cm_err make_file(const char *path, struct cm_error *err)
{
    char dir[CM_LEDGER_URL_MAX];
    cm_err rc = CM_OK;
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

    if (fd < 0 && errno == EEXIST)
        return CM_OK;
    if (fd < 0)
        CM_FAIL(err, CM_E_IO, "can't make the ledger %.200s", path);
    cm_fd_close(&fd);
    (void) snprintf(dir, sizeof dir, "%.*s/", (int) (strrchr(path, '/') - path), path);
    CM_TRY(cm_dir_open(dir, &fd, err));
    rc = cm_dir_sync(fd, dir, err);
    cm_fd_close(&fd);
    return rc;
}

static cm_err set_up(struct sqlite_ledger *s, struct cm_error *err)
{
    int64_t plain = 0;

    CM_TRY(run(s, "PRAGMA cache_size = -16384; PRAGMA synchronous = EXTRA; PRAGMA journal_mode = DELETE",
               "read it", err));
    if (sqlite3_db_readonly(s->db, "main") != 0)
        CM_FAIL(err, CM_E_DB, "the ledger %s can't be written%s", s->base.name, advice(SQLITE_READONLY));
    CM_TRY(query_int(s, "SELECT journal_mode = 'delete' FROM pragma_journal_mode", NULL, 0, 0, &plain, err));
    if (plain == 0)
        CM_FAIL(
            err, CM_E_DB,
            "the ledger %s has a write-ahead log, and another process has it open: end that, then try again",
            s->base.name);
    CM_TRY(migrate(s, err));
    CM_TRY(
        prepare(s, "INSERT INTO ledger_device VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING", &s->insert, err));
    return prepare(s,
                   "SELECT r.run_no, r.run_id, r.order_name, r.host, r.reserved_at FROM ledger_device d"
                   " JOIN ledger_run r ON r.run_no = d.run_no WHERE d.ca_no = ?1 AND d.device_id = ?2",
                   &s->holder, err);
}

static void sqlite_close(struct cm_ledger *l)
{
    struct sqlite_ledger *s = mine(l);

    (void) sqlite3_finalize(s->insert);
    (void) sqlite3_finalize(s->holder);
    (void) sqlite3_close(s->db);
    free(s);
}

static cm_err sqlite_open(const char *url, unsigned wait_ms, struct cm_ledger **out, struct cm_error *err)
{
    char whole[CM_LEDGER_URL_MAX];
    struct sqlite_ledger *s = NULL;
    cm_err rc = CM_OK;

    CM_TRY(sqlite_public(url, whole, sizeof whole, err));
    const char *path = whole + strlen(cm_ledger_sqlite_ops.scheme);
    CM_TRY(make_file(path, err));
    s = calloc(1, sizeof *s);
    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the ledger");
    s->base.ops = &cm_ledger_sqlite_ops;
    s->base.wait_ms = wait_ms;
    (void) snprintf(s->base.name, sizeof s->base.name, "%s", url);
    if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK)
        rc = s->db == NULL ? cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for the ledger")
                           : fail(s, "open it", err);
    if (rc == CM_OK) {
        (void) sqlite3_busy_timeout(s->db, (int) wait_ms);
        rc = set_up(s, err);
    }
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

    CM_TRY(run(s, "BEGIN IMMEDIATE", "reserve ids in it", err));
    CM_TRY(query_int(s,
                     "INSERT INTO ledger_ca (ca_certificate_id) VALUES (?1) ON CONFLICT (ca_certificate_id)"
                     " DO UPDATE SET ca_certificate_id = ?1 RETURNING ca_no",
                     ca, CM_COUNT(ca), 0, &s->ca_no, err));
    return query_int(s,
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
        rc = cm_fail(err, CM_E_DB, CM_HERE, "the ledger %s is damaged: an id in it belongs to no run%s",
                     s->base.name, advice(SQLITE_CORRUPT));
    } else if (got != SQLITE_ROW && got != SQLITE_DONE) {
        rc = fail(s, "read it", err);
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
        return fail(s, "reserve ids in it", err);
    (void) sqlite3_reset(s->insert);
    return sqlite3_changes(s->db) == 1 ? CM_OK : look_up(s, id, true, err);
}

static cm_err sqlite_settle(struct cm_ledger *l, struct cm_error *err)
{
    (void) l;
    (void) err;
    return CM_OK; /* add looked up every id */
}

static cm_err sqlite_commit(struct cm_ledger *l, struct cm_error *err)
{
    return run(mine(l), "COMMIT", "reserve ids in it", err);
}

static cm_err free_run(const struct sqlite_ledger *s, const char *const run_of[2], struct cm_error *err)
{
    char sql[200];
    int64_t ca_no = 0, run_no = 0;

    CM_TRY(
        query_int(s, "SELECT ca_no FROM ledger_ca WHERE ca_certificate_id = ?1", run_of, 1, 0, &ca_no, err));
    CM_TRY(query_int(s,
                     "SELECT r.run_no FROM ledger_run r JOIN ledger_ca c ON c.ca_no = r.ca_no"
                     " WHERE c.ca_certificate_id = ?1 AND r.run_id = ?2",
                     run_of, 2, 0, &run_no, err));
    (void) snprintf(sql, sizeof sql,
                    "DELETE FROM ledger_device WHERE ca_no = %lld AND run_no = %lld;"
                    " DELETE FROM ledger_run WHERE run_no = %lld",
                    (long long) ca_no, (long long) run_no, (long long) run_no);
    if (run_no != 0)
        CM_TRY(run(s, sql, "free ids in it", err));
    return run(s, "COMMIT", "free ids in it", err);
}

static cm_err sqlite_release(struct cm_ledger *l, const char *ca_certificate_id, const char *run_id,
                             struct cm_error *err)
{
    const struct sqlite_ledger *s = mine(l);
    const char *const run_of[2] = { ca_certificate_id, run_id };

    CM_TRY(run(s, "BEGIN IMMEDIATE", "free ids in it", err));
    const cm_err rc = free_run(s, run_of, err);
    if (rc != CM_OK)
        sqlite_rollback(l);
    return rc;
}

const struct cm_ledger_ops cm_ledger_sqlite_ops = {
    .scheme = "sqlite:",
    .form = "sqlite:FILE",
    .public = sqlite_public,
    .open = sqlite_open,
    .begin = sqlite_begin,
    .add = sqlite_add,
    .settle = sqlite_settle,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .release = sqlite_release,
    .close = sqlite_close,
};
