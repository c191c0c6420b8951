#include "io/pgurl.h"

#include "engine/bytes.h"
#include "io/dburl.h"

#include <ctype.h>

/* libpq takes what stands before the first '@' for user and password when no '/' comes
 * before it; everything behind that '@' is host, port and database. */
static const char *end_of_user(const char *authority)
{
    const char *at = authority + strcspn(authority, "@/");

    return *at == '@' ? at : NULL;
}

/* libpq knows its scheme in small letters only. */
static void with_small_scheme(const char *url, char out[CM_DB_URL_MAX])
{
    (void) snprintf(out, CM_DB_URL_MAX, "%s", url);
    for (char *c = out; *c != '\0' && *c != ':'; c++)
        *c = (char) tolower((unsigned char) *c);
}

static cm_err parse(const char *url, PQconninfoOption **out, struct cm_error *err)
{
    char *message = NULL, reason[120] = "", small[CM_DB_URL_MAX];

    with_small_scheme(url, small);
    *out = PQconninfoParse(small, &message);
    if (*out != NULL)
        return CM_OK;
    /* Behind its last colon libpq quotes what it does not understand, secrets too. */
    const char *quoted = message != NULL ? strstr(message, ": \"") : NULL;
    if (quoted != NULL)
        (void) snprintf(reason, sizeof reason, ": %.*s", (int) (quoted - message), message);
    PQfreemem(message);
    CM_FAIL(err, CM_E_USAGE, "the URL of the PostgreSQL server can't be read%s", reason);
}

static const char *option(const PQconninfoOption *options, const char *keyword)
{
    for (const PQconninfoOption *o = options; o != NULL && o->keyword != NULL; o++)
        if (strcmp(o->keyword, keyword) == 0)
            return o->val;
    return NULL;
}

cm_err cm_pg_url_check(const char *url, struct cm_error *err)
{
    const char *authority = strstr(url, "://");
    PQconninfoOption *options = NULL;

    CM_ASSERT(authority != NULL);
    authority += 3;
    const char *at = end_of_user(authority);
    const char *rest = at != NULL ? at + 1 : authority;
    if (memchr(rest, '@', strcspn(rest, "?")) != NULL)
        CM_FAIL(err, CM_E_USAGE,
                "the URL of the PostgreSQL server has an '@' too many, or a '/' before it: in a user name or "
                "password write %%40 for '@' and %%2F for '/'");
    CM_TRY(parse(url, &options, err));
    const char *port = option(options, "port");
    const bool plain = port == NULL || strspn(port, "0123456789,") == strlen(port);
    PQconninfoFree(options);
    if (!plain) /* it may be a password: "user:password/database", its '@' forgotten */
        CM_FAIL(err, CM_E_USAGE,
                "the URL of the PostgreSQL server has a port that is no number; the form is "
                "postgresql://user@host:port/database");
    return CM_OK;
}

/* The query string without the parameters that are secret. */
static void put_query(struct cm_writer *w, const char *query)
{
    static const char *const secret[] = { "password=", "sslpassword=" };
    char before = '?';

    while (*query != '\0') {
        const size_t len = strcspn(query, "&");
        bool hide = false;
        for (size_t i = 0; i < CM_COUNT(secret); i++)
            hide = hide || strncmp(query, secret[i], strlen(secret[i])) == 0;
        if (!hide) {
            cm_put_byte(w, (uint8_t) before);
            cm_put(w, query, len);
            before = '&';
        }
        query += len + (query[len] == '&');
    }
}

/* Parameters may be named in ways that put_query doesn't see (percent-encoded). */
static cm_err check_no_secret(const char *url, struct cm_error *err)
{
    PQconninfoOption *options = NULL;

    CM_TRY(parse(url, &options, err));
    const bool found = option(options, "password") != NULL || option(options, "sslpassword") != NULL;
    PQconninfoFree(options);
    if (found)
        CM_FAIL(err, CM_E_USAGE,
                "the URL of the PostgreSQL server hides its password: write password= plainly");
    return CM_OK;
}

cm_err cm_pg_url_public(const char *url, const char *option_name, char *out, size_t cap, struct cm_error *err)
{
    struct cm_writer w = cm_writer(out, cap);
    char small[CM_DB_URL_MAX];

    (void) option_name; /* these messages name the server, not the option */
    CM_TRY(cm_pg_url_check(url, err));
    const char *authority = strstr(url, "://") + 3;
    const char *at = end_of_user(authority);
    const char *rest = at != NULL ? at : authority;
    const size_t query = strcspn(rest, "?");
    with_small_scheme(url, small);
    cm_put(&w, small, (size_t) (authority - url));
    if (at != NULL)
        cm_put(&w, authority, strcspn(authority, ":@"));
    cm_put(&w, rest, query);
    if (rest[query] == '?')
        put_query(&w, rest + query + 1);
    cm_put_byte(&w, '\0');
    if (!cm_writer_ok(&w))
        CM_FAIL(err, CM_E_USAGE, "the URL of the PostgreSQL server is too long");
    return check_no_secret(out, err);
}

/* Is this set in the environment (PGCONNECT_TIMEOUT) or a service file? */
static bool is_set_outside(const char *keyword)
{
    PQconninfoOption *options = PQconndefaults();
    const char *value = option(options, keyword);
    const bool set = value != NULL && value[0] != '\0';

    PQconninfoFree(options);
    return set;
}

/* What a connection is made with; NULL ends them. */
enum { PARAMETERS = 9 };

static void set_parameters(const char *url, const char *keyword[PARAMETERS], const char *value[PARAMETERS])
{
    static const char *const names[PARAMETERS] = {
        "connect_timeout",  "keepalives_idle",           "keepalives_interval",
        "keepalives_count", "tcp_user_timeout",          "dbname",
        "client_encoding",  "fallback_application_name", NULL
    };
    /* Later ones win, and what the URL says stands at "dbname". Without these bounds a
     * server that vanished is noticed after two minutes when connecting and a quarter
     * of an hour later on. */
    const char *const timeout = is_set_outside("connect_timeout") ? NULL : "10";
    const char *const values[PARAMETERS] = {
        timeout, "30", "10", "3", "60000", url, "UTF8", "certmill", NULL
    };

    memcpy(keyword, names, sizeof names);
    memcpy(value, values, sizeof values);
}

PGconn *cm_pg_connect(const char *url)
{
    const char *keyword[PARAMETERS], *value[PARAMETERS];
    char small[CM_DB_URL_MAX];

    with_small_scheme(url, small);
    set_parameters(small, keyword, value);
    return PQconnectdbParams(keyword, value, 1);
}

/* A connection that failed does not tell why; the answer of a server, or that there is none, does. */
bool cm_pg_is_unreachable(const char *url)
{
    const char *keyword[PARAMETERS], *value[PARAMETERS];
    char small[CM_DB_URL_MAX];

    with_small_scheme(url, small);
    set_parameters(small, keyword, value);
    const PGPing answer = PQpingParams(keyword, value, 1);
    return answer == PQPING_REJECT || answer == PQPING_NO_RESPONSE;
}

const char *cm_pg_line(const char *message, char *buf, size_t cap)
{
    size_t len = 0;

    for (const char *p = message; *p != '\0' && len + 1 < cap; p++) {
        const bool space = isspace((unsigned char) *p) != 0;
        if (!space || (len > 0 && buf[len - 1] != ' '))
            buf[len++] = space ? ' ' : *p;
    }
    while (len > 0 && buf[len - 1] == ' ')
        len--;
    buf[len] = '\0';
    return buf;
}
