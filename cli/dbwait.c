#include "cli/dbwait.h"

#include "cli/msg.h"
#include "cli/signals.h"

static bool wait_on(void *arg, const char *name, unsigned waited_ms)
{
    struct cm_dbwait *w = arg;

    if (waited_ms >= CM_DB_TELL_MS && !w->told && !w->quiet)
        cm_msg_note("waiting for the database %s: another process has it locked", name);
    w->told |= waited_ms >= CM_DB_TELL_MS;
    return cm_signals_arrived == 0;
}

struct cm_db_wait cm_dbwait(struct cm_dbwait *w, unsigned ms)
{
    return (struct cm_db_wait) { ms, wait_on, w };
}
