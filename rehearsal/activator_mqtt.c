#include "rehearsal/activator_impl.h"
#include "rehearsal/client.h"

#include <mosquitto.h>
#include <openssl/ssl.h>
#include <time.h>

enum { TURN_MS = 100, AGAIN_MS = 100, SUBSCRIBE_MS = 15000, KEEPALIVE_S = 60 };

static const char topic[] = "$aws/events/certificates/registered/#";

static void nap(long ms)
{
    const struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

    (void) nanosleep(&t, NULL);
}

static void on_connect(struct mosquitto *m, void *arg, int code)
{
    (void) arg;
    if (code == 0)
        (void) mosquitto_subscribe(m, NULL, topic, 1);
}

static void on_subscribe(struct mosquitto *m, void *arg, int mid, int count, const int *granted)
{
    struct cm_activator *a = arg;

    (void) m;
    (void) mid;
    if (count == 1 && granted[0] <= 2)
        atomic_store(&a->subscribed, true);
}

static void on_message(struct mosquitto *m, void *arg, const struct mosquitto_message *message)
{
    (void) m;
    cm_activator_message(arg, cm_span(message->payload, (size_t) message->payloadlen));
}

static void *listen_to(void *arg)
{
    struct cm_activator *a = arg;
    int rc = mosquitto_connect(a->client, "127.0.0.1", a->port, KEEPALIVE_S);

    while (!atomic_load(&a->stop)) {
        if (rc == MOSQ_ERR_SUCCESS)
            rc = mosquitto_loop(a->client, TURN_MS, 1);
        if (rc == MOSQ_ERR_SUCCESS) {
            cm_activator_idle(a);
            continue;
        }
        atomic_store(&a->subscribed, false);
        nap(AGAIN_MS);
        rc = mosquitto_reconnect(a->client);
    }
    (void) mosquitto_disconnect(a->client);
    return NULL;
}

/* A session that the broker keeps: events that come while the connection is down are not lost then. */
static cm_err make_client(struct cm_activator *a, const struct cm_ownca *own, struct cm_error *err)
{
    const struct cm_client_tls tls = { cm_ownca_x509(own), cm_ownca_watcher(own), NULL,
                                       cm_ownca_watcher_key(own), NULL };

    CM_TRY(cm_client_tls_make(&tls, &a->tls, err));
    a->client = mosquitto_new("certmill-rule", false, a);
    if (a->client == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the MQTT client of the rule's worker");
    CM_TRY(cm_client_tls_use(a->client, a->tls, err));
    mosquitto_connect_callback_set(a->client, on_connect);
    mosquitto_subscribe_callback_set(a->client, on_subscribe);
    mosquitto_message_callback_set(a->client, on_message);
    return CM_OK;
}

cm_err cm_activator_start(struct cm_activator *a, const struct cm_ownca *own, int port, struct cm_error *err)
{
    CM_ASSERT(!a->started);
    a->port = port;
    if (mosquitto_lib_init() != MOSQ_ERR_SUCCESS)
        CM_FAIL(err, CM_E_NOMEM, "libmosquitto does not start");
    CM_TRY(make_client(a, own, err));
    const int os = pthread_create(&a->thread, NULL, listen_to, a);
    if (os != 0)
        CM_FAIL(err, CM_E_LIMIT, "can't start the thread of the rule's worker: %s", strerror(os));
    a->started = true;
    for (int ms = 0; !atomic_load(&a->subscribed); ms += 10) {
        if (ms > SUBSCRIBE_MS)
            CM_FAIL(err, CM_E_LIMIT, "the rule's worker can't subscribe to %s at the broker", topic);
        nap(10);
    }
    return CM_OK;
}

void cm_activator_stop(struct cm_activator *a)
{
    atomic_store(&a->stop, true);
    if (a->started)
        (void) pthread_join(a->thread, NULL);
    a->started = false;
    if (a->client != NULL)
        mosquitto_destroy(a->client);
    a->client = NULL;
    SSL_CTX_free(a->tls);
    a->tls = NULL;
}
