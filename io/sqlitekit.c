#include "io/sqlitekit.h"

#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

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

cm_err cm_sqlite_fail(const struct cm_sqlite *s, const char *what, struct cm_error *err)
{
    const int code = sqlite3_extended_errcode(s->db);
    const int os =
        (code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CANTOPEN ? sqlite3_system_errno(s->db) : 0;
    char reason[96] = "", text[80];

    if (os != 0)
        (void) snprintf(reason, sizeof reason, " (%s)", strerror_r(os, text, sizeof text));
    CM_FAIL(err, CM_E_DB, "the %s %s: can't %s: %s%s%s", s->noun, s->name, what, sqlite3_errmsg(s->db),
            reason, advice(code));
}

cm_err cm_sqlite_damaged(const struct cm_sqlite *s, const char *how, struct cm_error *err)
{
    CM_FAIL(err, CM_E_DB, "the %s %s is damaged: %s%s", s->noun, s->name, how, advice(SQLITE_CORRUPT));
}

cm_err cm_sqlite_check_writable(const struct cm_sqlite *s, struct cm_error *err)
{
    if (sqlite3_db_readonly(s->db, "main") != 0)
        CM_FAIL(err, CM_E_DB, "the %s %s can't be written%s", s->noun, s->name, advice(SQLITE_READONLY));
    return CM_OK;
}

cm_err cm_sqlite_run(const struct cm_sqlite *s, const char *sql, const char *what, struct cm_error *err)
{
    if (sqlite3_exec(s->db, sql, NULL, NULL, NULL) != SQLITE_OK)
        return cm_sqlite_fail(s, what, err);
    return CM_OK;
}

cm_err cm_sqlite_prepare(const struct cm_sqlite *s, const char *sql, sqlite3_stmt **out, struct cm_error *err)
{
    if (sqlite3_prepare_v2(s->db, sql, -1, out, NULL) != SQLITE_OK)
        return cm_sqlite_fail(s, "read it", err);
    return CM_OK;
}

cm_err cm_sqlite_int(const struct cm_sqlite *s, const char *sql, const char *const *text, size_t texts,
                     int64_t none, int64_t *out, struct cm_error *err)
{
    sqlite3_stmt *stmt = NULL;
    cm_err rc = CM_OK;

    CM_TRY(cm_sqlite_prepare(s, sql, &stmt, err));
    for (size_t i = 0; i < texts; i++)
        (void) sqlite3_bind_text(stmt, (int) i + 1, text[i], -1, SQLITE_STATIC);
    const int got = sqlite3_step(stmt);
    if (got == SQLITE_ROW)
        *out = sqlite3_column_int64(stmt, 0);
    else if (got == SQLITE_DONE)
        *out = none;
    else
        rc = cm_sqlite_fail(s, "use it", err);
    (void) sqlite3_finalize(stmt);
    return rc;
}

void cm_sqlite_rollback(const struct cm_sqlite *s)
{
    if (!sqlite3_get_autocommit(s->db))
        (void) sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
}

static cm_err make_tables(const struct cm_sqlite *s, const struct cm_migration *m, bool *is_new,
                          struct cm_error *err)
{
    static const char what[] = "make its tables";
    int64_t version = 0;

    CM_TRY(m->find(m->arg, &version, err));
    *is_new = version == 0;
    for (; version < m->last; version++)
        CM_TRY(cm_sqlite_run(s, m->step[version], what, err));
    return cm_sqlite_run(s, "COMMIT", what, err);
}

cm_err cm_sqlite_migrate(const struct cm_sqlite *s, const struct cm_migration *m, bool *is_new,
                         struct cm_error *err)
{
    int64_t version = 0;

    CM_TRY(m->find(m->arg, &version, err));
    if (version == m->last)
        return CM_OK;
    CM_TRY(cm_sqlite_run(s, "BEGIN IMMEDIATE", "write to it", err));
    const cm_err rc = make_tables(s, m, is_new, err);
    if (rc != CM_OK)
        cm_sqlite_rollback(s);
    return rc;
}

cm_err cm_sqlite_url_public(const char *url, const char *option, char *out, size_t cap, struct cm_error *err)
{
    const char *path = url + strlen(CM_SQLITE_SCHEME);
    char here[PATH_MAX] = "";

    if (path[0] == '\0')
        CM_FAIL(err, CM_E_USAGE, "%s sqlite: names no file; write sqlite:FILE", option);
    if (path[0] == '/' && path[1] == '/' && path[2] != '/') /* as other programs' URLs begin */
        CM_FAIL(err, CM_E_USAGE,
                "%s: sqlite:%.150s has slashes too many: write sqlite:%.150s for a file below the working "
                "directory, sqlite:%.150s for one from the root",
                option, path, path + 2, path + 1);
    if (path[0] != '/' && getcwd(here, sizeof here) == NULL)
        CM_FAIL(err, CM_E_IO, "can't find the working directory, where %.200s is", path);
    const int n =
        snprintf(out, cap, "sqlite:%s%s%s", here, path[0] != '/' && here[1] != '\0' ? "/" : "", path);
    if (n < 0 || (size_t) n >= cap)
        CM_FAIL(err, CM_E_USAGE, "%s sqlite: the path of the file is too long", option);
    return CM_OK;
}

static cm_err make_file(const struct cm_sqlite *s, const char *path, mode_t mode, struct cm_error *err)
{
    char dir[CM_DB_URL_MAX];
    cm_err rc = CM_OK;
    int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode);

    if (fd < 0 && errno == EEXIST)
        return CM_OK;
    if (fd < 0)
        CM_FAIL(err, CM_E_IO, "can't make the %s %.200s", s->noun, path);
    cm_fd_close(&fd);
    (void) snprintf(dir, sizeof dir, "%.*s/", (int) (strrchr(path, '/') - path), path);
    CM_TRY(cm_dir_open(dir, &fd, err));
    rc = cm_dir_sync(fd, dir, err);
    cm_fd_close(&fd);
    return rc;
}

static uint64_t now_ms(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

/* SQLite's busy handler; round: 0 for a lock that was not waited for yet. */
static int wait_a_while(void *arg, int round)
{
    enum { PAUSE_MS = 100 };
    struct cm_sqlite *s = arg;
    unsigned pause = round < 10 ? 1u << (round / 2) : PAUSE_MS;

    if (round == 0)
        s->busy_since_ms = now_ms();
    const unsigned waited = (unsigned) (now_ms() - s->busy_since_ms);
    if (waited >= s->wait.ms || (s->wait.more != NULL && !s->wait.more(s->wait.arg, s->name, waited)))
        return 0;
    if (pause > s->wait.ms - waited)
        pause = s->wait.ms - waited;
    (void) sqlite3_sleep((int) pause);
    return 1;
}

/* Counting memory would take a lock at each of SQLite's allocations. */
static void configure(void)
{
    (void) sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

/* A connection belongs to one thread, so it needs no lock of its own. */
static cm_err connect_to(struct cm_sqlite *s, const char *path, int flags, struct cm_error *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void) pthread_once(&once, configure);
    if (sqlite3_open_v2(path, &s->db, flags | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK) {
        if (s->db == NULL)
            CM_FAIL(err, CM_E_NOMEM, "out of memory for the %s", s->noun);
        return cm_sqlite_fail(s, "open it", err);
    }
    (void) sqlite3_busy_handler(s->db, wait_a_while, s);
    return CM_OK;
}

cm_err cm_sqlite_open(struct cm_sqlite *s, const char *public, mode_t mode, struct cm_error *err)
{
    const char *path = public + strlen(CM_SQLITE_SCHEME);

    CM_TRY(make_file(s, path, mode, err));
    return connect_to(s, path, SQLITE_OPEN_READWRITE, err);
}

cm_err cm_sqlite_peek(struct cm_sqlite *s, const char *public, bool *there, struct cm_error *err)
{
    const char *path = public + strlen(CM_SQLITE_SCHEME);
    char dir[CM_DB_URL_MAX];

    (void) snprintf(dir, sizeof dir, "%.*s/", (int) (strrchr(path, '/') - path), path);
    *there = access(path, F_OK) == 0;
    if (access(dir, W_OK) != 0 || (*there && access(path, W_OK) != 0))
        CM_FAIL(err, CM_E_DB, "the %s %s can't be written%s", s->noun, s->name, advice(SQLITE_READONLY));
    return *there ? connect_to(s, path, SQLITE_OPEN_READONLY, err) : CM_OK;
}

void cm_sqlite_close(struct cm_sqlite *s)
{
    (void) sqlite3_close(s->db);
    s->db = NULL;
}
