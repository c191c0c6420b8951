#include "io/dburl.h"

#include "engine/bytes.h"
#include "io/pgurl.h"
#include "io/sqlitekit.h"

#include <strings.h>

static const struct kind {
    const char *scheme, *alias; /* alias may be NULL */
    const char *form;
    cm_err (*public)(const char *url, const char *option, char *out, size_t cap, struct cm_error *err);
} kinds[CM_DB_KINDS] = {
    [CM_DB_SQLITE] = { CM_SQLITE_SCHEME, NULL, "sqlite:FILE", cm_sqlite_url_public },
    /* libpq takes both */
    [CM_DB_POSTGRESQL] = { "postgresql://", "postgres://", "postgresql://[user@]host[:port]/database",
                           cm_pg_url_public },
};

const char *cm_db_url_form(size_t kind)
{
    return kind < CM_COUNT(kinds) ? kinds[kind].form : NULL;
}

/* A scheme's case does not matter. */
static bool begins(const char *url, const char *scheme)
{
    return scheme != NULL && strncasecmp(url, scheme, strlen(scheme)) == 0;
}

/* No part of the URL goes into a message: it may have a password anywhere. */
cm_err cm_db_url_kind(const char *url, const char *option, enum cm_db_kind *out, struct cm_error *err)
{
    char forms[120];
    struct cm_writer w = cm_writer(forms, sizeof forms - 1);

    if (strlen(url) >= CM_DB_URL_MAX)
        CM_FAIL(err, CM_E_USAGE, "%s: the URL is longer than %d octets", option, CM_DB_URL_MAX - 1);
    for (size_t i = 0; i < CM_COUNT(kinds); i++) {
        if (begins(url, kinds[i].scheme) || begins(url, kinds[i].alias)) {
            *out = (enum cm_db_kind) i;
            return CM_OK;
        }
        cm_put_str(&w, i > 0 ? ", " : "");
        cm_put_str(&w, kinds[i].form);
    }
    forms[w.len] = '\0';
    CM_FAIL(err, CM_E_USAGE, "%s: no such kind of database; there are: %s", option, forms);
}

cm_err cm_db_url_public(const char *url, const char *option, char *out, size_t cap, struct cm_error *err)
{
    enum cm_db_kind kind = CM_DB_SQLITE;

    CM_TRY(cm_db_url_kind(url, option, &kind, err));
    return kinds[kind].public(url, option, out, cap, err);
}
