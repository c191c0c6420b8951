#include "io/pgscratch.h"

#include "engine/random.h"
#include "io/dburl.h"
#include "io/pgkit.h"

#include <time.h>

enum { NAME_MAX_OCTETS = 32, PATIENCE_MS = 60000, LOOK_MS = 20 };

struct cm_pgscratch {
    struct cm_pg pg;
    char given[CM_DB_URL_MAX];
    char url[CM_DB_URL_MAX + NAME_MAX_OCTETS + 16]; /* of the scratch */
    char name[NAME_MAX_OCTETS];                     /* empty: there is none */
    char version[32];
};

static cm_err check_rights(struct cm_pgscratch *s, struct cm_error *err)
{
    int64_t may = 0;

    CM_TRY(cm_pg_int(&s->pg,
                     "SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = current_user"
                     " AND (rolsuper OR rolcreatedb)",
                     NULL, 0, 0, &may, "look at the user's rights", err));
    if (may == 0)
        CM_FAIL(
            err, CM_E_DB,
            "the %s %s: its user \"%.64s\" may not make databases, and the bench works in one of its own: "
            "ALTER ROLE … CREATEDB, or name another user",
            s->pg.noun, s->pg.name, PQuser(s->pg.conn));
    return CM_OK;
}

cm_err cm_pgscratch_open(const char *url, struct cm_pgscratch **out, struct cm_error *err)
{
    struct cm_pgscratch *s = calloc(1, sizeof *s);

    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the server");
    s->pg.noun = "server";
    (void) snprintf(s->given, sizeof s->given, "%s", url);
    cm_err rc = cm_pg_open(&s->pg, url, err);
    if (rc == CM_OK)
        rc = check_rights(s, err);
    if (rc != CM_OK) {
        cm_pgscratch_close(s);
        return rc;
    }
    const char *version = PQparameterStatus(s->pg.conn, "server_version");
    (void) snprintf(s->version, sizeof s->version, "%.*s", version != NULL ? (int) strcspn(version, " ") : 0,
                    version != NULL ? version : "");
    *out = s;
    return CM_OK;
}

/* A parameter of the URL's query wins over its path. */
static void set_name(struct cm_pgscratch *s, const uint8_t random[16])
{
    size_t n = (size_t) snprintf(s->name, sizeof s->name, "certmill_bench_");

    for (size_t i = 8; i < 16; i++)
        n += (size_t) snprintf(s->name + n, sizeof s->name - n, "%02x", random[i]);
    (void) snprintf(s->url, sizeof s->url, "%s%cdbname=%s", s->given,
                    strchr(s->given, '?') != NULL ? '&' : '?', s->name);
}

/* The name is noted first: an answer that is lost may have been a yes. */
cm_err cm_pgscratch_make(struct cm_pgscratch *s, struct cm_error *err)
{
    uint8_t random[16];
    char sql[120];

    CM_ASSERT(s->name[0] == '\0');
    CM_TRY(cm_random_uuid(random, err));
    set_name(s, random);
    if (strlen(s->url) >= CM_DB_URL_MAX) {
        s->name[0] = '\0';
        CM_FAIL(err, CM_E_USAGE, "the URL of the PostgreSQL server is too long for another database's name");
    }
    (void) snprintf(sql, sizeof sql, "CREATE DATABASE %s TEMPLATE template0 ENCODING 'UTF8'", s->name);
    const cm_err rc = cm_pg_run(&s->pg, sql, "make a database for the bench", err);
    if (rc != CM_OK && cm_pg_is_up(&s->pg))
        s->name[0] = '\0';
    return rc;
}

const char *cm_pgscratch_url(const struct cm_pgscratch *s)
{
    return s->url;
}

const char *cm_pgscratch_name(const struct cm_pgscratch *s)
{
    return s->name;
}

const char *cm_pgscratch_version(const struct cm_pgscratch *s)
{
    return s->version;
}

/* Background workers have no user. */
static cm_err clients(struct cm_pgscratch *s, int64_t *out, struct cm_error *err)
{
    const char *const text[] = { s->name };

    return cm_pg_int(&s->pg,
                     "SELECT count(*) FROM pg_catalog.pg_stat_activity"
                     " WHERE datname = $1 AND usesysid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()",
                     text, 1, 0, out, "see who is connected", err);
}

cm_err cm_pgscratch_wait(struct cm_pgscratch *s, struct cm_error *err)
{
    const struct timespec look = { 0, LOOK_MS * 1000000L };
    int64_t left = 1;

    for (int ms = 0; left > 0; ms += LOOK_MS) {
        CM_TRY(clients(s, &left, err));
        if (left > 0 && ms >= PATIENCE_MS)
            CM_FAIL(err, CM_E_DB, "the %s %s: somebody stays connected to %s", s->pg.noun, s->pg.name,
                    s->name);
        if (left > 0)
            (void) nanosleep(&look, NULL); /* a signal only makes it shorter */
    }
    return CM_OK;
}

cm_err cm_pgscratch_checkpoint(struct cm_pgscratch *s, struct cm_error *err)
{
    return cm_pg_run(&s->pg, "CHECKPOINT", "make a checkpoint", err);
}

cm_err cm_pgscratch_backend(struct cm_pgscratch *s, void (*look)(void *arg, long pid), void *arg,
                            struct cm_error *err)
{
    struct cm_pg pg = { .noun = s->pg.noun };
    int64_t pid = 0;
    cm_err rc = cm_pg_open(&pg, s->url, err);

    if (rc == CM_OK)
        rc = cm_pg_int(&pg, "SELECT pg_catalog.pg_backend_pid()", NULL, 0, 0, &pid, "learn its process", err);
    if (rc == CM_OK)
        look(arg, (long) pid);
    cm_pg_close(&pg);
    return rc;
}

static cm_err drop(struct cm_pgscratch *s, struct cm_error *err)
{
    const char *const text[] = { s->name };
    char sql[80];

    CM_TRY(cm_pg_query(&s->pg,
                       "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity"
                       " WHERE datname = $1 AND usesysid IS NOT NULL AND pid <> pg_catalog.pg_backend_pid()",
                       text, 1, PGRES_TUPLES_OK, NULL, "cut off its clients", err));
    (void) snprintf(sql, sizeof sql, "DROP DATABASE IF EXISTS %s", s->name);
    return cm_pg_run(&s->pg, sql, "drop the bench's database", err);
}

/* Anew, if the connection was lost: the server may have been restarted meanwhile. */
static cm_err come_back(struct cm_pgscratch *s, struct cm_error *err)
{
    if (cm_pg_is_up(&s->pg))
        return CM_OK;
    cm_pg_close(&s->pg);
    return cm_pg_open(&s->pg, s->given, err);
}

/* The server waits five seconds for those that it cut off, and may take longer for one of them. */
cm_err cm_pgscratch_drop(struct cm_pgscratch *s, struct cm_error *err)
{
    enum { TRIES = 4 };
    struct cm_error why = { 0 };
    cm_err rc = CM_E_DB;

    if (s->name[0] == '\0')
        return CM_OK;
    for (int i = 0; rc != CM_OK && i < TRIES; i++) {
        rc = come_back(s, &why);
        if (rc == CM_OK)
            rc = drop(s, &why);
    }
    if (rc != CM_OK)
        CM_FAIL(err, CM_E_DB, "%.300s; drop it by hand: DROP DATABASE %s", why.what, s->name);
    s->name[0] = '\0';
    return CM_OK;
}

void cm_pgscratch_close(struct cm_pgscratch *s)
{
    if (s != NULL)
        cm_pg_close(&s->pg);
    free(s);
}
