#ifndef CM_IO_DBURL_H
#define CM_IO_DBURL_H

#include "engine/err.h"

#include <stdbool.h>
#include <stddef.h>

/* dburl.h - the URLs of databases: sqlite:FILE and postgresql://…, for the ledger and
 * for the database of the devices alike.
 *
 *  Secrets    no message has any part of an URL that may be its password.
 *  Scheme     in any case; what is recorded has small letters.
 *  `option`   what a message begins with: "--ledger".
 *
 * TO ADD A KIND: a value here, a row in dburl.c, one in ledger.c and one in db.c.
 */
enum cm_db_kind { CM_DB_SQLITE, CM_DB_POSTGRESQL, CM_DB_KINDS };

enum {
    CM_DB_URL_MAX = 2048,  /* octets of an URL, and of what public gives */
    CM_DB_WAIT_MS = 60000, /* the usual wait for others */
    CM_DB_TELL_MS = 1000   /* from then on a person should be told what is waited for */
};

/* How to wait for what others have locked. */
struct cm_db_wait {
    unsigned ms; /* at most so long for one lock */
    /* SQLite: called time and again meanwhile, by whoever waits; false: no longer. NULL: in silence.
     * name: what messages call the database. PostgreSQL waits in the server. */
    bool (*more)(void *arg, const char *name, unsigned waited_ms);
    void *arg;
};

/* CM_E_USAGE: no such kind, or too long. */
CM_MUST_CHECK cm_err cm_db_url_kind(const char *url, const char *option, enum cm_db_kind *out,
                                    struct cm_error *err);
/* Checks the form of the URL, and writes it without its password and with an absolute path: what may be
 * recorded, and names the same database everywhere. CM_E_USAGE says what is wrong with it. Touches nothing.
 */
CM_MUST_CHECK cm_err cm_db_url_public(const char *url, const char *option, char *out, size_t cap,
                                      struct cm_error *err);
/* The kinds there are, for tests and help: "sqlite:FILE"; NULL beyond the last. */
const char *cm_db_url_form(size_t kind);

#endif
