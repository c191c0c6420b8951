#include "rehearsal/devices.h"

#include "engine/ossl.h"
#include "engine/secret.h"
#include "io/fleet_walk.h"
#include "rehearsal/client.h"

#include <mosquitto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum {
    TURN_MS = 50,
    PAUSE_MS = 50, /* before the second connection; then twice as long each time */
    PAUSE_MAX_MS = 2000,
    PATIENCE_MS = 10000, /* with a broker that does not answer */
    KEEPALIVE_S = 60,
    STACK_BYTES = 256 << 10,
};

CM_AUTO_DEFINE(SSL_CTX)
static void free_chain(STACK_OF(X509) * *chain)
{
    sk_X509_pop_free(*chain, X509_free);
}

/* ---- The list */

static cm_err append(struct cm_devices *d, size_t *cap, const struct cm_row *row, struct cm_error *err)
{
    if (d->count == *cap) {
        const size_t more = *cap == 0 ? 1024 : *cap * 2;
        struct cm_device *item = reallocarray(d->item, more, sizeof *item);
        if (item == NULL)
            CM_FAIL(err, CM_E_NOMEM, "out of memory for the list of devices");
        d->item = item;
        *cap = more;
    }
    struct cm_device *dev = &d->item[d->count];
    *dev = (struct cm_device) { .id = strdup(row->device_id), .at = row->at };
    if (dev->id == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the list of devices");
    (void) snprintf(dev->certificate_id, sizeof dev->certificate_id, "%s", row->certificate_id);
    d->count++;
    return CM_OK;
}

static cm_err gather(struct cm_fleet_walk *walk, uint64_t limit, struct cm_devices *out, struct cm_error *err)
{
    const struct cm_row *row = NULL;
    size_t cap = 0;
    cm_err rc = CM_OK;

    while ((limit == 0 || out->count < limit) && (rc = cm_fleet_walk_next(walk, &row, err)) == CM_OK) {
        if (!row->has_key)
            CM_FAIL(err, CM_E_INPUT,
                    "device %.96s has no key in the fleet, so it can't connect; rehearse a fleet that was "
                    "minted with its keys",
                    row->device_id);
        CM_TRY(append(out, &cap, row, err));
    }
    return rc == CM_E_END ? CM_OK : rc;
}

cm_err cm_devices_gather(const struct cm_fleet *fleet, uint64_t limit, struct cm_devices *out,
                         struct cm_error *err)
{
    struct cm_fleet_walk *walk = NULL;
    struct cm_devices d = { 0 };

    CM_TRY(cm_fleet_need_keys(fleet, err));
    CM_TRY(cm_fleet_walk_open(fleet, &walk, err));
    const cm_err rc = gather(walk, limit, &d, err);
    cm_fleet_walk_close(walk);
    if (rc != CM_OK)
        cm_devices_free(&d);
    else
        *out = d;
    return rc;
}

void cm_devices_free(struct cm_devices *d)
{
    for (size_t i = 0; i < d->count; i++)
        free(d->item[i].id);
    free(d->item);
    *d = (struct cm_devices) { 0 };
}

/* ---- One device */

struct run {
    const struct cm_devices_conf *conf;
    struct cm_devices *devices;
    atomic_bool ended;    /* by a failure: all devices stop */
    pthread_mutex_t lock; /* of what follows */
    size_t next, done;
    unsigned working;    /* threads */
    struct cm_error err; /* the first failure of the environment */
};

struct worker {
    struct run *run;
    pthread_t thread;
    uint8_t *bundle;
    struct cm_secret key;
};

/* What libmosquitto's callbacks see. */
struct session {
    struct cm_device *dev;
    const char *alert;
    int connack; /* -1: none */
    bool sent;
};

static uint64_t now_ms(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

static bool stopped(const struct run *run)
{
    return atomic_load(&run->ended) || (run->conf->stop != NULL && *run->conf->stop != 0);
}

/* An encrypted key has no passphrase here. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void) buf;
    (void) size;
    (void) writing;
    (void) arg;
    return -1;
}

static EVP_PKEY *parse_key(const uint8_t *data, size_t len, bool der)
{
    const uint8_t *in = data;
    CM_AUTO(BIO) bio = BIO_new_mem_buf(data, (int) len);
    EVP_PKEY *key = NULL;

    if (der)
        key = d2i_AutoPrivateKey(NULL, &in, (long) len);
    else if (bio != NULL)
        key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
    ERR_clear_error();
    return key;
}

/* The first certificate, and the others behind it. */
static X509 *parse_bundle(const uint8_t *data, size_t len, bool der, STACK_OF(X509) * above)
{
    const uint8_t *in = data;
    CM_AUTO(BIO) bio = BIO_new_mem_buf(data, (int) len);
    X509 *leaf = NULL, *x = NULL;

    while (bio != NULL && above != NULL) {
        x = der ? d2i_X509(NULL, &in, (long) (len - (size_t) (in - data)))
                : PEM_read_bio_X509(bio, NULL, NULL, NULL);
        if (x == NULL)
            break;
        if (leaf == NULL)
            leaf = x;
        else if (sk_X509_push(above, x) <= 0)
            X509_free(x);
    }
    ERR_clear_error();
    return leaf;
}

/* The device's place in the fleet, read and put into TLS. cn: its common name. */
static cm_err load(struct worker *w, const struct cm_row *row, struct session *s, char cn[65], SSL_CTX **tls,
                   struct cm_error *err)
{
    const struct cm_fleet *fleet = w->run->conf->fleet;
    const bool der = cm_fleet_run(fleet)->der;
    __attribute__((cleanup(free_chain))) STACK_OF(X509) *above = sk_X509_new_null();
    bool part = false;

    CM_TRY(cm_fleet_read_place(fleet, CM_FLEET_CHAINS, &row->chain, row->tree, w->bundle, &part, err));
    CM_TRY(cm_fleet_read_place(fleet, CM_FLEET_KEYS, &row->key, row->tree, w->key.base, &part, err));
    CM_AUTO(X509) leaf = parse_bundle(w->bundle, (size_t) row->chain.length, der, above);
    CM_AUTO(EVP_PKEY) key = parse_key(w->key.base, (size_t) row->key.length, der);
    cm_secret_wipe(w->key.base, w->key.cap);
    if (leaf == NULL)
        CM_FAIL(err, CM_E_INPUT, "its bundle has no certificate");
    if (key == NULL)
        CM_FAIL(err, CM_E_INPUT,
                "its key can't be read: it is damaged, or encrypted (a rehearsal needs a fleet "
                "that was minted with --plaintext-keys)");
    if (X509_NAME_get_text_by_NID(X509_get_subject_name(leaf), NID_commonName, cn, 65) <= 0)
        CM_FAIL(err, CM_E_INPUT, "its certificate has no common name, which is its MQTT client id");
    const struct cm_client_tls conf = { cm_ownca_x509(w->run->conf->own), leaf, above, key, &s->alert };
    return cm_client_tls_make(&conf, tls, err);
}

static void on_connect(struct mosquitto *m, void *arg, int code)
{
    struct session *s = arg;

    (void) m;
    s->connack = code;
    s->dev->connected |= code == 0;
}

static void on_publish(struct mosquitto *m, void *arg, int mid)
{
    struct session *s = arg;

    (void) m;
    (void) mid;
    s->dev->published = true;
}

/* One connection, until it ends or the message is acknowledged; given up when the broker answers neither for
 * a while, as a device does whose answer was lost. */
static int connection(struct run *run, struct mosquitto *m, struct session *s, const char *cn, bool again,
                      uint64_t end)
{
    char topic[80];
    int rc = again ? mosquitto_reconnect(m) : mosquitto_connect(m, "127.0.0.1", run->conf->port, KEEPALIVE_S);
    const uint64_t until = now_ms() + PATIENCE_MS < end ? now_ms() + PATIENCE_MS : end;

    s->connack = -1;
    s->sent = false;
    (void) snprintf(topic, sizeof topic, "%s/hello", cn);
    while (rc == MOSQ_ERR_SUCCESS && !s->dev->published && now_ms() < until && !stopped(run)) {
        rc = mosquitto_loop(m, TURN_MS, 1);
        if (rc == MOSQ_ERR_SUCCESS && s->connack == 0 && !s->sent) {
            rc = mosquitto_publish(m, NULL, topic, 5, "hello", 1, false);
            s->sent = true;
        }
    }
    if (s->connack < 0 && rc != MOSQ_ERR_SUCCESS)
        s->dev->closed++;
    if (rc == MOSQ_ERR_SUCCESS)
        (void) mosquitto_disconnect(m);
    return rc;
}

static void tell_failure(const struct run *run, struct session *s, int rc)
{
    struct cm_device *d = s->dev;

    if (stopped(run))
        (void) snprintf(d->reason, sizeof d->reason, "stopped before it was done");
    else if (s->alert != NULL)
        (void) snprintf(d->reason, sizeof d->reason, "refused in the TLS handshake: %.80s", s->alert);
    else if (d->connected)
        (void) snprintf(d->reason, sizeof d->reason, "connected, but its publish was not acknowledged");
    else
        (void) snprintf(d->reason, sizeof d->reason, "closed %u times without CONNACK (%.60s)", d->closed,
                        mosquitto_strerror(rc));
}

static void pause_ms(unsigned ms)
{
    const struct timespec t = { ms / 1000, (long) (ms % 1000) * 1000000 };

    (void) nanosleep(&t, NULL);
}

static void connect_until_done(struct run *run, struct mosquitto *m, struct session *s, const char *cn)
{
    const uint64_t start = now_ms(), end = start + run->conf->timeout_ms;
    unsigned wait = PAUSE_MS;
    int rc = MOSQ_ERR_SUCCESS;

    for (bool again = false; !s->dev->published && now_ms() < end && !stopped(run); again = true) {
        if (again) {
            pause_ms(wait);
            wait = wait * 2 < PAUSE_MAX_MS ? wait * 2 : PAUSE_MAX_MS;
        }
        rc = connection(run, m, s, cn, again, end);
    }
    s->dev->done_ms = (uint32_t) (now_ms() - start);
    if (!s->dev->published)
        tell_failure(run, s, rc);
}

static cm_err device(struct worker *w, struct cm_device *dev, struct cm_error *err)
{
    struct session s = { .dev = dev, .connack = -1 };
    struct cm_row row = { 0 };
    CM_AUTO(SSL_CTX) tls = NULL;
    char cn[65] = "";

    CM_TRY(cm_fleet_row_at(w->run->conf->fleet, dev->at, &row, NULL, err));
    cm_err rc = load(w, &row, &s, cn, &tls, err);
    cm_rowread_done(&row);
    CM_TRY(rc);
    struct mosquitto *m = mosquitto_new(cn, true, &s);
    if (m == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for an MQTT client");
    mosquitto_connect_callback_set(m, on_connect);
    mosquitto_publish_callback_set(m, on_publish);
    rc = cm_client_tls_use(m, tls, err);
    if (rc == CM_OK)
        connect_until_done(w->run, m, &s, cn);
    mosquitto_destroy(m);
    return rc;
}

/* ---- All of them */

static struct cm_device *take(struct run *run)
{
    struct cm_device *dev = NULL;

    (void) pthread_mutex_lock(&run->lock);
    if (run->next < run->devices->count && run->err.code == CM_OK && !stopped(run))
        dev = &run->devices->item[run->next++];
    (void) pthread_mutex_unlock(&run->lock);
    return dev;
}

/* A device that is damaged fails alone; what the environment refuses ends the run. */
static void finish(struct run *run, struct cm_device *dev, cm_err rc, const struct cm_error *err)
{
    (void) pthread_mutex_lock(&run->lock);
    if (rc == CM_E_INPUT)
        (void) snprintf(dev->reason, sizeof dev->reason, "%.150s", err->what);
    else if (rc != CM_OK && run->err.code == CM_OK)
        run->err = *err;
    run->done++;
    (void) pthread_mutex_unlock(&run->lock);
}

static void finish_all(struct run *run, const struct cm_error *err)
{
    (void) pthread_mutex_lock(&run->lock);
    if (run->err.code == CM_OK)
        run->err = *err;
    (void) pthread_mutex_unlock(&run->lock);
    atomic_store(&run->ended, true);
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct cm_device *dev = NULL;

    while ((dev = take(w->run)) != NULL) {
        struct cm_error err = { 0 };
        const cm_err rc = device(w, dev, &err);
        finish(w->run, dev, rc, &err);
    }
    (void) pthread_mutex_lock(&w->run->lock);
    w->run->working--;
    (void) pthread_mutex_unlock(&w->run->lock);
    return NULL;
}

static cm_err start_worker(struct worker *w, struct run *run, struct cm_error *err)
{
    pthread_attr_t attr;

    w->run = run;
    w->bundle = malloc(CM_ROW_CHAIN_MAX);
    if (w->bundle == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for a bundle");
    CM_TRY(cm_secret_init(&w->key, CM_ROW_KEY_MAX, err));
    if (pthread_attr_init(&attr) != 0)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for a thread");
    (void) pthread_attr_setstacksize(&attr, STACK_BYTES);
    (void) pthread_mutex_lock(&run->lock);
    const int os = pthread_create(&w->thread, &attr, work, w);
    run->working += os == 0;
    (void) pthread_mutex_unlock(&run->lock);
    (void) pthread_attr_destroy(&attr);
    if (os != 0)
        CM_FAIL(err, CM_E_LIMIT, "can't start a thread for the devices: %s", strerror(os));
    return CM_OK;
}

static void free_worker(struct worker *w)
{
    free(w->bundle);
    cm_secret_done(&w->key);
}

/* The calling thread's part: until all threads have ended. */
static void watch(struct run *run)
{
    bool working = true;

    while (working) {
        struct cm_error err = { 0 };
        (void) pthread_mutex_lock(&run->lock);
        working = run->working > 0;
        const size_t done = run->done;
        (void) pthread_mutex_unlock(&run->lock);
        if (run->conf->on_turn != NULL && run->conf->on_turn(run->conf->arg, done, &err) != CM_OK &&
            !atomic_load(&run->ended))
            finish_all(run, &err);
        if (working)
            pause_ms(TURN_MS);
    }
}

cm_err cm_devices_run(const struct cm_devices_conf *conf, struct cm_devices *d, struct cm_error *err)
{
    struct run run = { .conf = conf, .devices = d, .lock = PTHREAD_MUTEX_INITIALIZER };
    struct worker *workers = calloc(conf->threads, sizeof *workers);
    unsigned started = 0;
    struct cm_error why = { 0 };

    CM_ASSERT(conf->threads >= 1 && conf->threads <= CM_DEVICES_THREADS);
    if (workers == NULL || mosquitto_lib_init() != MOSQ_ERR_SUCCESS) {
        free(workers);
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the devices' threads");
    }
    while (started < conf->threads && started < d->count &&
           start_worker(&workers[started], &run, &why) == CM_OK)
        started++;
    /* Fewer threads than asked for do as well, but none does not. */
    if (started < conf->threads && started < d->count)
        free_worker(&workers[started]);
    watch(&run);
    for (unsigned i = 0; i < started; i++) {
        (void) pthread_join(workers[i].thread, NULL);
        free_worker(&workers[i]);
    }
    free(workers);
    (void) mosquitto_lib_cleanup();
    if (started == 0 && d->count > 0)
        run.err = why;
    if (run.err.code != CM_OK && err != NULL)
        *err = run.err;
    return run.err.code;
}
