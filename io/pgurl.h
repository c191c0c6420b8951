#ifndef CM_IO_PGURL_H
#define CM_IO_PGURL_H

#include "engine/err.h"

#include <libpq-fe.h>
#include <stdbool.h>

/* pgurl.h - the URL of a PostgreSQL server, handled so that its password gets
 * into no message. pgkit.c connects with it. */

/* Refuses what libpq can't read, and what it would read otherwise than the user
 * meant: a password with an '@' or '/' that is not percent-encoded becomes a part
 * of the host's or database's name, which messages show. CM_E_USAGE. */
CM_MUST_CHECK cm_err cm_pg_url_check(const char *url, struct cm_error *err);
/* The URL without its passwords. CM_E_USAGE as above, or beyond cap. option: dburl.h's; not used. */
CM_MUST_CHECK cm_err cm_pg_url_public(const char *url, const char *option, char *out, size_t cap,
                                      struct cm_error *err);
/* A connection in whatever state (look at PQstatus), or NULL without memory. What
 * the URL and the environment leave open gets bounds in time. */
PGconn *cm_pg_connect(const char *url);
/* Asks anew, after a connection that failed: does nobody answer, or a server that is starting or going down?
 */
bool cm_pg_is_unreachable(const char *url);
/* libpq's or the server's words in one line. */
const char *cm_pg_line(const char *message, char *buf, size_t cap);

#endif
