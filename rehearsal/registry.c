#include "rehearsal/registry_impl.h"

#include "engine/hash.h"
#include "io/jsonread.h"

#include <limits.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int64_t cm_reg_now_ms(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

cm_err cm_reg_uuid(char out[37], struct cm_svc_error *no)
{
    uint8_t uuid[16];

    if (RAND_bytes(uuid, sizeof uuid) != 1)
        CM_FAIL(&no->base, CM_E_CRYPTO, "no random octets for a name");
    uuid[6] = (uint8_t) (0x40 | (uuid[6] & 0x0f));
    uuid[8] = (uint8_t) (0x80 | (uuid[8] & 0x3f));
    cm_uuid_text(uuid, out);
    out[36] = '\0';
    return CM_OK;
}

/* ---- Statements */

static cm_err query(struct cm_registry *r, sqlite3_stmt **out, struct cm_svc_error *no, const char *sql,
                    const char *types, va_list ap)
{
    sqlite3_stmt *stmt = NULL;
    int bound = SQLITE_OK;

    CM_TRY(cm_sqlite_prepare(&r->sqlite, sql, &stmt, &no->base));
    for (int i = 0; types[i] != '\0' && bound == SQLITE_OK; i++) {
        if (types[i] == 'i') {
            bound = sqlite3_bind_int64(stmt, i + 1, va_arg(ap, int64_t));
        } else if (types[i] == 'b') {
            const struct cm_span *const blob = va_arg(ap, const struct cm_span *);
            bound = sqlite3_bind_blob64(stmt, i + 1, blob->data, blob->len, SQLITE_STATIC);
        } else {
            bound = sqlite3_bind_text(stmt, i + 1, va_arg(ap, const char *), -1, SQLITE_STATIC);
        }
    }
    if (bound != SQLITE_OK) {
        const cm_err rc = cm_sqlite_fail(&r->sqlite, "use it", &no->base);
        (void) sqlite3_finalize(stmt);
        return rc;
    }
    *out = stmt;
    return CM_OK;
}

cm_err cm_reg_query(struct cm_registry *r, sqlite3_stmt **out, struct cm_svc_error *no, const char *sql,
                    const char *types, ...)
{
    va_list ap;

    va_start(ap, types);
    const cm_err rc = query(r, out, no, sql, types, ap);
    va_end(ap);
    return rc;
}

cm_err cm_reg_step(struct cm_registry *r, sqlite3_stmt *stmt, bool *got, struct cm_svc_error *no)
{
    const int step = sqlite3_step(stmt);

    if (step != SQLITE_ROW && step != SQLITE_DONE)
        return cm_sqlite_fail(&r->sqlite, "use it", &no->base);
    *got = step == SQLITE_ROW;
    return CM_OK;
}

static cm_err first(struct cm_registry *r, sqlite3_stmt **out, bool *got, struct cm_svc_error *no,
                    const char *sql, const char *types, va_list ap)
{
    cm_err rc = query(r, out, no, sql, types, ap);

    if (rc == CM_OK)
        rc = cm_reg_step(r, *out, got, no);
    return rc;
}

cm_err cm_reg_first(struct cm_registry *r, sqlite3_stmt **out, bool *got, struct cm_svc_error *no,
                    const char *sql, const char *types, ...)
{
    va_list ap;

    va_start(ap, types);
    const cm_err rc = first(r, out, got, no, sql, types, ap);
    va_end(ap);
    return rc;
}

cm_err cm_reg_do(struct cm_registry *r, int64_t *changed, struct cm_svc_error *no, const char *sql,
                 const char *types, ...)
{
    sqlite3_stmt *stmt = NULL;
    bool got = false;
    va_list ap;

    va_start(ap, types);
    const cm_err rc = first(r, &stmt, &got, no, sql, types, ap);
    va_end(ap);
    if (rc == CM_OK && changed != NULL)
        *changed = sqlite3_changes(r->sqlite.db);
    (void) sqlite3_finalize(stmt);
    return rc;
}

cm_err cm_reg_number(struct cm_registry *r, int64_t *out, struct cm_svc_error *no, const char *sql,
                     const char *types, ...)
{
    sqlite3_stmt *stmt = NULL;
    bool got = false;
    va_list ap;

    va_start(ap, types);
    const cm_err rc = first(r, &stmt, &got, no, sql, types, ap);
    va_end(ap);
    if (rc == CM_OK)
        *out = got ? sqlite3_column_int64(stmt, 0) : 0;
    (void) sqlite3_finalize(stmt);
    return rc;
}

cm_err cm_reg_text(sqlite3_stmt *stmt, int column, char **out, struct cm_svc_error *no)
{
    const char *const text = (const char *) sqlite3_column_text(stmt, column);

    *out = NULL;
    if (text == NULL)
        return CM_OK;
    *out = strdup(text);
    if (*out == NULL)
        CM_FAIL(&no->base, CM_E_NOMEM, "out of memory for a row of the registry");
    return CM_OK;
}

void cm_reg_copy(sqlite3_stmt *stmt, int column, char *out, size_t cap)
{
    const char *const text = (const char *) sqlite3_column_text(stmt, column);

    (void) snprintf(out, cap, "%s", text != NULL ? text : "");
}

/* ---- Transactions */

cm_err cm_reg_enter(struct cm_registry *r, struct cm_svc_error *no)
{
    if (r->depth == 0)
        CM_TRY(cm_sqlite_run(&r->sqlite, "BEGIN IMMEDIATE", "write to it", &no->base));
    r->depth++;
    return CM_OK;
}

cm_err cm_reg_leave(struct cm_registry *r, cm_err rc, struct cm_svc_error *no)
{
    CM_ASSERT(r->depth > 0);
    r->depth--;
    if (r->depth > 0)
        return rc;
    if (rc == CM_OK)
        rc = cm_sqlite_run(&r->sqlite, "COMMIT", "write to it", &no->base);
    if (rc != CM_OK)
        cm_sqlite_rollback(&r->sqlite);
    return rc;
}

cm_err cm_reg_begin(struct cm_registry *r, struct cm_svc_error *no)
{
    return cm_reg_enter(r, no);
}

cm_err cm_reg_commit(struct cm_registry *r, struct cm_svc_error *no)
{
    return cm_reg_leave(r, CM_OK, no);
}

void cm_reg_rollback(struct cm_registry *r)
{
    r->depth = 0;
    cm_sqlite_rollback(&r->sqlite);
}

/* ---- Opening */

static cm_err keep_setting(struct cm_registry *r, const char *key, const char *value, char *out, size_t cap,
                           struct cm_svc_error *no)
{
    sqlite3_stmt *stmt = NULL;
    bool got = false;

    CM_TRY(
        cm_reg_do(r, NULL, no, "INSERT OR IGNORE INTO setting(key, value) VALUES(?1, ?2)", "tt", key, value));
    const cm_err rc = cm_reg_first(r, &stmt, &got, no, "SELECT value FROM setting WHERE key = ?1", "t", key);
    if (rc == CM_OK && got)
        cm_reg_copy(stmt, 0, out, cap);
    (void) sqlite3_finalize(stmt);
    return rc;
}

static cm_err set_up(struct cm_registry *r, const struct cm_registry_conf *conf, struct cm_svc_error *no)
{
    const char *const account = conf != NULL && conf->account != NULL ? conf->account : "123456789012";
    const char *const region = conf != NULL && conf->region != NULL ? conf->region : "us-east-1";

    CM_TRY(cm_sqlite_run(&r->sqlite, cm_reg_schema, "lay it out", &no->base));
    CM_TRY(keep_setting(r, "account", account, r->account, sizeof r->account, no));
    CM_TRY(keep_setting(r, "region", region, r->region, sizeof r->region, no));
    return cm_reg_do(r, NULL, no, "INSERT OR IGNORE INTO setting(key, value) VALUES('cas', 0)", "");
}

/* The switch to a write-ahead log needs the file for itself, and SQLite doesn't wait for that. */
static cm_err use_wal(struct cm_registry *r, struct cm_error *err)
{
    const struct timespec pause = { .tv_nsec = 10000000 };
    int rc = SQLITE_BUSY;

    for (int ms = 0; rc == SQLITE_BUSY && ms < CM_REG_WAIT_MS; ms += 10) {
        rc = sqlite3_exec(r->sqlite.db, "PRAGMA journal_mode = WAL", NULL, NULL, NULL);
        if (rc == SQLITE_BUSY)
            (void) nanosleep(&pause, NULL);
    }
    if (rc != SQLITE_OK)
        return cm_sqlite_fail(&r->sqlite, "switch it to a write-ahead log", err);
    return cm_sqlite_run(&r->sqlite, "PRAGMA synchronous = NORMAL", "open it", err);
}

/* jansson's allocation functions are exchanged before there are threads (io/jsonread.h). */
static cm_err prepare_json(struct cm_error *err)
{
    json_t *none = NULL;

    CM_TRY(cm_json_read(cm_span_str("null"), &none, NULL, err));
    json_decref(none);
    return CM_OK;
}

static cm_err open_file(struct cm_registry *r, const char *path, const struct cm_registry_conf *conf,
                        struct cm_error *err)
{
    struct cm_svc_error no = { 0 };
    char url[PATH_MAX + 16], public[PATH_MAX + 32];

    (void) snprintf(url, sizeof url, CM_SQLITE_SCHEME "%s", path);
    CM_TRY(cm_sqlite_url_public(url, "the registry", public, sizeof public, err));
    r->path = strdup(public + strlen(CM_SQLITE_SCHEME));
    if (r->path == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the registry");
    r->sqlite.noun = "registry";
    r->sqlite.name = r->path;
    r->sqlite.wait.ms = CM_REG_WAIT_MS;
    CM_TRY(cm_sqlite_open(&r->sqlite, public, 0600, err));
    CM_TRY(use_wal(r, err));
    cm_err rc = cm_reg_enter(r, &no);
    if (rc == CM_OK)
        rc = cm_reg_leave(r, set_up(r, conf, &no), &no);
    if (rc != CM_OK)
        *err = no.base;
    return rc;
}

cm_err cm_registry_open(const char *path, const struct cm_registry_conf *conf, struct cm_registry **out,
                        struct cm_error *err)
{
    struct cm_registry *const r = calloc(1, sizeof *r);

    if (r == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the registry");
    cm_err rc = prepare_json(err);
    if (rc == CM_OK)
        rc = open_file(r, path, conf, err);
    if (rc != CM_OK) {
        cm_registry_close(r);
        return rc;
    }
    *out = r;
    return CM_OK;
}

void cm_registry_close(struct cm_registry *r)
{
    if (r == NULL)
        return;
    cm_sqlite_close(&r->sqlite);
    free(r->path);
    free(r);
}

/* ---- Names */

const char *cm_registry_account(const struct cm_registry *r)
{
    return r->account;
}

const char *cm_registry_region(const struct cm_registry *r)
{
    return r->region;
}

bool cm_registry_arn(const struct cm_registry *r, const char *kind, const char *name, char *out, size_t cap)
{
    const int n = snprintf(out, cap, "arn:aws:iot:%s:%s:%s/%s", r->region, r->account, kind, name);

    return n > 0 && (size_t) n < cap;
}

const char *cm_registry_arn_name(const struct cm_registry *r, const char *kind, const char *arn)
{
    char front[CM_SVC_ARN];

    if (!cm_registry_arn(r, kind, "", front, sizeof front) || strncmp(arn, front, strlen(front)) != 0)
        return NULL;
    return arn + strlen(front);
}

/* ---- The registration code */

static cm_err code(struct cm_registry *r, char out[CM_REG_ID], struct cm_svc_error *no)
{
    struct cm_writer w = cm_writer(out, CM_REG_ID - 1);
    uint8_t raw[32];

    if (RAND_bytes(raw, sizeof raw) != 1)
        CM_FAIL(&no->base, CM_E_CRYPTO, "no random octets for the registration code");
    cm_put_hex(&w, raw, sizeof raw);
    out[CM_REG_ID - 1] = '\0';
    return keep_setting(r, "code", out, out, CM_REG_ID, no);
}

cm_err cm_reg_code(struct cm_registry *r, char out[CM_REG_ID], struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, code(r, out, no), no);
}

cm_err cm_reg_code_delete(struct cm_registry *r, struct cm_svc_error *no)
{
    int64_t gone = 0;

    CM_TRY(cm_reg_do(r, &gone, no, "DELETE FROM setting WHERE key = 'code'", ""));
    if (gone == 0)
        CM_REFUSE(no, CM_SVC_NOT_FOUND, "There is no registration code to delete");
    return CM_OK;
}
