#ifndef CM_REHEARSAL_DEVICES_H
#define CM_REHEARSAL_DEVICES_H

#include "io/fleet.h"
#include "rehearsal/ownca.h"

#include <signal.h>

/* devices.h - the devices of a fleet as MQTT clients over mutual TLS, with their own keys and bundles.
 *
 * Each connects as often as it takes until it is accepted, publishes one message with QoS 1 to ID/hello, and
 * is done when the broker has acknowledged it. The client id is the common name of its certificate.
 *
 *  Ownership  gather makes the list, free frees it.
 *  Threads    run starts `threads` of its own and returns when they have ended.
 *  Secrets    a key is read into locked memory, given to libssl, and wiped; it goes into no file.
 *  Time       at most timeout_ms for each device; a device that is not done by then has failed.
 *  Signals    the program must ignore SIGPIPE.
 *  Errors     of run: the environment's; what happens to a device is in its result.
 */
struct cm_device {
    char *id;
    char certificate_id[65];
    uint64_t at; /* its row in the manifest */
    /* The result, written by run. */
    unsigned closed;  /* connections that ended without CONNACK */
    bool connected;   /* CONNACK with code 0 */
    bool published;   /* PUBACK */
    uint32_t done_ms; /* since its first connection */
    char reason[160]; /* of a failure; "": none */
};

struct cm_devices {
    struct cm_device *item;
    size_t count;
};
/* The rows in force, in manifest order, at most `limit` (0: all). CM_E_INPUT: the fleet has no keys. */
CM_MUST_CHECK cm_err cm_devices_gather(const struct cm_fleet *fleet, uint64_t limit, struct cm_devices *out,
                                       struct cm_error *err);
void cm_devices_free(struct cm_devices *d);

struct cm_devices_conf {
    const struct cm_fleet *fleet;
    const struct cm_ownca *own;
    int port;
    unsigned threads;                  /* 1 to CM_DEVICES_THREADS */
    unsigned timeout_ms;               /* for each device */
    const volatile sig_atomic_t *stop; /* not 0: end; NULL: none */
    /* Called from run's own thread, some ten times a second: progress, and whether what the devices need is
     * still there. Anything but CM_OK ends the run and is returned. */
    cm_err (*on_turn)(void *arg, size_t done, struct cm_error *err);
    void *arg;
};
enum { CM_DEVICES_THREADS = 256 };
CM_MUST_CHECK cm_err cm_devices_run(const struct cm_devices_conf *conf, struct cm_devices *d,
                                    struct cm_error *err);

#endif
