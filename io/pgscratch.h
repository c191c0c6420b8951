#ifndef CM_IO_PGSCRATCH_H
#define CM_IO_PGSCRATCH_H

#include "engine/err.h"

/* pgscratch.h - databases on a PostgreSQL server that are made for a measurement and
 * dropped behind it. The database that the URL names is connected to and nothing more.
 *
 *  Names    certmill_bench_ and 16 hexadecimal digits, drawn anew for each.
 *  Secrets  the URL of a scratch has the password of the one it was opened with;
 *           messages have no part of it.
 *  Threads  one at a time.
 */
struct cm_pgscratch;

/* Connects. CM_E_USAGE: the URL; CM_E_DB: the server, or its user may not make databases. */
CM_MUST_CHECK cm_err cm_pgscratch_open(const char *url, struct cm_pgscratch **out, struct cm_error *err);
/* A new, empty one. None may be there. */
CM_MUST_CHECK cm_err cm_pgscratch_make(struct cm_pgscratch *s, struct cm_error *err);
/* The URL of the one that is there, for `mint --to`; and its name. */
const char *cm_pgscratch_url(const struct cm_pgscratch *s);
const char *cm_pgscratch_name(const struct cm_pgscratch *s);
/* Waits until nobody is connected to it, at most a minute. */
CM_MUST_CHECK cm_err cm_pgscratch_wait(struct cm_pgscratch *s, struct cm_error *err);
/* Brings what the server has changed onto its disk. Not every user may ask for that. */
CM_MUST_CHECK cm_err cm_pgscratch_checkpoint(struct cm_pgscratch *s, struct cm_error *err);
/* Connects to it, calls back with the id of the server process that serves the connection, as the server
 * sees it, and disconnects. */
CM_MUST_CHECK cm_err cm_pgscratch_backend(struct cm_pgscratch *s, void (*look)(void *arg, long pid),
                                          void *arg, struct cm_error *err);
/* Drops the one that is there, if one is, whoever is connected to it. CM_E_DB: it is left; err says what
 * drops it. */
CM_MUST_CHECK cm_err cm_pgscratch_drop(struct cm_pgscratch *s, struct cm_error *err);
/* "15.8" */
const char *cm_pgscratch_version(const struct cm_pgscratch *s);
/* Drops nothing. NULL accepted. */
void cm_pgscratch_close(struct cm_pgscratch *s);

#endif
