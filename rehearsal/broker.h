#ifndef CM_REHEARSAL_BROKER_H
#define CM_REHEARSAL_BROKER_H

#include "rehearsal/ownca.h"

#include <sys/types.h>

/* broker.h - mosquitto with the rehearsal's plugin, as a child process on a port of the loopback.
 *
 * Its files (configuration, certificates, log) go into a directory of the caller's; the key of its
 * certificate goes over in a descriptor. It ends with the thread that started it, however that ends
 * (PR_SET_PDEATHSIG): start it from the main thread.
 *
 *  Ownership  start makes it; stop ends the process, frees it, and accepts NULL. The files stay.
 *  Threads    one at a time.
 *  Errors     CM_E_LIMIT: no mosquitto is installed; CM_E_IO: it can't be started, or died: the message has
 *             the last lines of its log.
 */
struct cm_broker_conf {
    const char *program;  /* NULL: mosquitto on PATH, or in /usr/sbin */
    const char *plugin;   /* absolute path of rehearsal.so */
    const char *dir;      /* absolute path, there, mode 0700 */
    const char *registry; /* absolute path of the registry's file (registry.h) */
    const struct cm_ownca *own;
    int port;   /* 0: any that is free */
    bool again; /* in the place of one that died: CM_REHEARSAL_FAULT (plugin.c) no longer counts */
};

struct cm_broker;
/* Returns when it takes connections. */
CM_MUST_CHECK cm_err cm_broker_start(const struct cm_broker_conf *conf, struct cm_broker **out,
                                     struct cm_error *err);
int cm_broker_port(const struct cm_broker *b);
pid_t cm_broker_pid(const struct cm_broker *b);
/* CM_E_IO when it has died, with how and what it said last. */
CM_MUST_CHECK cm_err cm_broker_check(struct cm_broker *b, struct cm_error *err);
void cm_broker_stop(struct cm_broker *b);

#endif
