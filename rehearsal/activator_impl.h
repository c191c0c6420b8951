#ifndef CM_REHEARSAL_ACTIVATOR_IMPL_H
#define CM_REHEARSAL_ACTIVATOR_IMPL_H

#include "rehearsal/activator.h"

#include <openssl/types.h>
#include <pthread.h>
#include <stdatomic.h>

/* activator_impl.h - what deciding (activator.c) and listening (activator_mqtt.c) share. */
struct cm_activator {
    struct cm_activator_conf conf;
    uint64_t random;
    struct cm_activator_event {
        char certificate_id[65], ca_id[65];
    } held; /* one that comes late; "": none */
    pthread_mutex_t lock;
    struct cm_activator_counts counts;
    struct cm_activator_finding *finding; /* room for all that are kept */
    size_t findings;

    pthread_t thread;
    bool started;
    struct mosquitto *client;
    SSL_CTX *tls;
    int port;
    atomic_bool stop, subscribed;
};

void cm_activator_stop(struct cm_activator *a);

#endif
