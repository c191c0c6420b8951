#ifndef CM_BENCH_SERVER_H
#define CM_BENCH_SERVER_H

#include "io/pgscratch.h"

#include <stdbool.h>

/* server.h - the PostgreSQL server that the ladder is given, and what its processes cost.
 *
 * Databases of the bench's own are made on it and dropped again (io/pgscratch.h). On this
 * machine all of its processes are counted by what the kernel says of them in /proc: the
 * one that serves a load, those that write behind it, and their parent, which has the
 * time of those that have ended. What the server does for others meanwhile counts, too.
 */
struct cm_server {
    struct cm_pgscratch *scratch; /* NULL: no server was given */
    long parent;                  /* process id of the parent of its processes; 0: not to be seen */
    char why[200];                /* not to be seen; empty: it is */
};

/* Connects, makes a database and drops it: what would fail later fails now. close takes what is there. */
CM_MUST_CHECK cm_err cm_server_open(const char *url, struct cm_server *s, struct cm_error *err);
/* Processor seconds of all processes of the server until now, when its clients have gone and it has written
 * what they changed; below 0: not to be seen. */
CM_MUST_CHECK cm_err cm_server_cpu(struct cm_server *s, double *out, struct cm_error *err);
/* Drops what is left. CM_E_DB: something is. */
CM_MUST_CHECK cm_err cm_server_close(struct cm_server *s, struct cm_error *err);

#endif
