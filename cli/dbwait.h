#ifndef CM_CLI_DBWAIT_H
#define CM_CLI_DBWAIT_H

#include "io/dburl.h"

/* dbwait.h - waiting for a database that another process has locked, told once it
 * lasts. Main thread. */
struct cm_dbwait {
    bool quiet, told;
};

/* How to wait, at most `ms` for one lock; w is borrowed by what waits so. A signal ends it. */
struct cm_db_wait cm_dbwait(struct cm_dbwait *w, unsigned ms);

#endif
