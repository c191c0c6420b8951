#ifndef CM_REHEARSAL_REHEARSAL_H
#define CM_REHEARSAL_REHEARSAL_H

#include "rehearsal/activator.h"
#include "rehearsal/devices.h"
#include "rehearsal/stand.h"

/* rehearsal.h - the first connections of a fleet, as they will be, at a stand-in for AWS IoT.
 *
 * The fleet's CA is registered in SNI_ONLY mode, which needs no proof of possession and so not the CA's key,
 * ACTIVE and with auto-registration. Then the devices connect (devices.h), are dropped, get activated
 * (activator.h), and connect again. A broker that dies meanwhile is started again, and counted.
 *
 *  Ownership  open makes it, close frees it (NULL accepted); what conf points to outlives it. The report's
 *             devices are the caller's: cm_rehearsal_done.
 *  Threads    the main thread (broker.h). From open to close the rule's worker runs in one of its own.
 *  Errors     the environment's. What happened to devices is in the report.
 */
struct cm_rehearsal_conf {
    const struct cm_fleet *fleet;
    struct cm_stand *stand;
    uint64_t devices;    /* 0: all */
    unsigned threads;    /* devices at the same time */
    unsigned timeout_ms; /* for each device */
    uint64_t fault_seed; /* activator.h */
    const volatile sig_atomic_t *stop;
    void (*on_progress)(void *arg, size_t done); /* NULL: none */
    void (*on_begin)(void *arg, size_t devices); /* NULL: none */
    void *arg;
};

struct cm_rehearsal_report {
    struct cm_devices devices;
    uint64_t registered; /* the fleet's certificates in force, in the registry's list of those of the CA */
    uint64_t activated;  /* of them ACTIVE, by the same list */
    uint64_t others;     /* in that list and not in the fleet */
    uint64_t connected, published, refused; /* devices; refused: never got a CONNACK */
    uint64_t closed;                        /* connections without CONNACK */
    uint64_t total_ms;
    uint32_t median_ms, most_ms; /* of a device, from its first connection on */
    unsigned restarts;           /* of the broker */
    struct cm_activator_counts rule;
    char ca_id[65];
};

struct cm_rehearsal;
/* The CA, the policy, the rule: from then on whatever connects to the stand-in is activated or denied. */
CM_MUST_CHECK cm_err cm_rehearsal_open(const struct cm_rehearsal_conf *conf, struct cm_rehearsal **out,
                                       struct cm_error *err);
/* The fleet's devices connect. */
CM_MUST_CHECK cm_err cm_rehearsal_run(struct cm_rehearsal *r, struct cm_rehearsal_report *out,
                                      struct cm_error *err);
struct cm_activator *cm_rehearsal_rule(struct cm_rehearsal *r); /* the rehearsal's: for counts and findings */
void cm_rehearsal_close(struct cm_rehearsal *r);
void cm_rehearsal_done(struct cm_rehearsal_report *report);

#endif
