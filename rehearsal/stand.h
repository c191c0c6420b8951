#ifndef CM_REHEARSAL_STAND_H
#define CM_REHEARSAL_STAND_H

#include "rehearsal/ownca.h"

/* stand.h - what stands in for AWS IoT on this machine: control plane and broker, which share a registry in
 * one directory.
 *
 *  Ownership  start makes it; stop ends and frees it, and accepts NULL; what the getters return lives as
 *             long.
 *  Threads    the main thread (broker.h); credentials and addresses are constant after start.
 *  Files      the directory's: registry, buckets/ (of bulk registration), broker/ (broker.h). No private key.
 *  Secrets    the credentials are drawn for each stand-in, and open nothing but it.
 *  Errors     those of broker.h, control.h and registry.h.
 */
struct cm_stand_conf {
    const char *dir;    /* made where it is missing; NULL: one below TMPDIR, which stop removes */
    const char *plugin; /* path of rehearsal.so */
    bool limits_aws;    /* control.h */
    void (*on_failure)(void *arg, const char *line); /* control.h */
    void *arg;
};

/* What one needs to get to it. */
struct cm_stand_address {
    const char *endpoint_url; /* of the control plane */
    const char *access_key, *secret_key, *account, *region;
    const char *buckets; /* a directory: DIR/NAME stands for the bucket NAME */
    int broker_port;     /* at 127.0.0.1 */
    const char *cafile;  /* of the broker's certificate */
    const char *registry;
};

struct cm_stand;
CM_MUST_CHECK cm_err cm_stand_start(const struct cm_stand_conf *conf, struct cm_stand **out,
                                    struct cm_error *err);
const struct cm_stand_address *cm_stand_address(const struct cm_stand *s);
const struct cm_ownca *cm_stand_own(const struct cm_stand *s);
/* CM_E_IO when the broker has died, with how and what it said last. */
CM_MUST_CHECK cm_err cm_stand_check(struct cm_stand *s, struct cm_error *err);
/* A broker in the place of the one that died, on its port. */
CM_MUST_CHECK cm_err cm_stand_replace_broker(struct cm_stand *s, struct cm_error *err);
/* Fails where its directory can't be removed; the rest is ended and freed in any case. */
CM_MUST_CHECK cm_err cm_stand_stop(struct cm_stand *s, struct cm_error *err);

#endif
