#ifndef CM_REHEARSAL_REHEARSAL_H
#define CM_REHEARSAL_REHEARSAL_H

#include "rehearsal/activator.h"
#include "rehearsal/devices.h"

/* rehearsal.h - the first connections of a fleet, as they will be: broker, registry, rule and devices
 * together.
 *
 * The fleet's CA is registered in SNI_ONLY mode, which needs no proof of possession and so not the CA's key,
 * ACTIVE and with auto-registration. Then the devices connect (devices.h), are dropped, get activated
 * (activator.h), and connect again. A broker that dies is started again, and counted.
 *
 *  Ownership  the report's devices are the caller's: cm_rehearsal_done.
 *  Threads    the main thread (broker.h).
 *  Files      a directory below TMPDIR, mode 0700, that is removed at the end, whatever that is; it never has
 *             a private key in it.
 *  Errors     the environment's. What happened to devices is in the report.
 */
struct cm_rehearsal_conf {
    const struct cm_fleet *fleet;
    const char *plugin;  /* path of rehearsal.so */
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
    uint64_t registered;                    /* certificates in the registry, by the list of those of the CA */
    uint64_t activated;                     /* of them ACTIVE, by the same list */
    uint64_t connected, published, refused; /* devices; refused: never got a CONNACK */
    uint64_t closed;                        /* connections without CONNACK */
    uint64_t total_ms;
    uint32_t median_ms, most_ms; /* of a device, from its first connection on */
    unsigned restarts;           /* of the broker */
    struct cm_activator_counts rule;
    char ca_id[65];
};

CM_MUST_CHECK cm_err cm_rehearsal_run(const struct cm_rehearsal_conf *conf, struct cm_rehearsal_report *out,
                                      struct cm_error *err);
void cm_rehearsal_done(struct cm_rehearsal_report *report);

#endif
