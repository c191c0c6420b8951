#ifndef CM_REHEARSAL_CONTROL_H
#define CM_REHEARSAL_CONTROL_H

#include "rehearsal/registry.h"

/* control.h - the control plane: AWS IoT's REST operations over HTTP on 127.0.0.1.
 *
 * Requests are signed (SigV4) with the credentials given here; everything else gets 403. Bodies, headers,
 * connections and their idle time are bounded.
 *
 *  Threads   requests are answered in a thread of its own, one after the other. start and stop: one thread's.
 *  Errors    CM_E_IO: no port; else those of the registry.
 */
struct cm_control;

struct cm_control_conf {
    const char *registry_path;
    struct cm_registry_conf registry;
    const char *access_key, *secret_key;
    const char *data_endpoint; /* what DescribeEndpoint answers; NULL: "127.0.0.1" */
    const char *buckets_dir;   /* of bulk registration's input files; NULL: there is none */
    uint16_t port;             /* 0: a free one */
    bool limits_aws;           /* the documented rates */
    /* What goes wrong inside, a line each; called in the thread of the requests. NULL: it is dropped. */
    void (*on_failure)(void *arg, const char *line);
    void *arg;
};

CM_MUST_CHECK cm_err cm_control_start(const struct cm_control_conf *conf, struct cm_control **out,
                                      struct cm_error *err);
uint16_t cm_control_port(const struct cm_control *c);
const char *cm_control_url(const struct cm_control *c); /* "http://127.0.0.1:PORT" */
const char *cm_control_account(const struct cm_control *c);
const char *cm_control_region(const struct cm_control *c);
void cm_control_stop(struct cm_control *c); /* NULL accepted */

#endif
