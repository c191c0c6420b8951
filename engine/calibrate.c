#include "engine/calibrate.h"

#include "engine/pipeline_impl.h"
#include "engine/tarfmt.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct rig {
    const struct cm_calibrate_conf *conf;
    struct cm_mint_conf mint; /* the run's, under the stand-in */
    long chain_more;          /* octets that the run's chain has more than the stand-in's */
    bool by_device;           /* is the time of each device a sample? */
    double until_us;
    size_t locked;    /* before the workers began */
    uint32_t refused; /* likewise */
    atomic_uint_fast64_t samples;
    atomic_bool failed;
    atomic_uint_fast32_t next_worker;

    pthread_mutex_t lock; /* guards the source and all below */
    struct cm_calibration sum;
    struct cm_error error; /* the first */
};

static double now_us(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec * 1e6 + (double) t.tv_nsec / 1e3;
}

static void add_sample(struct rig *r, struct cm_calibration *mine, double us)
{
    mine->samples++;
    mine->device_us += us;
    mine->squares += us * us;
    atomic_fetch_add_explicit(&r->samples, 1, memory_order_relaxed);
}

static double entry_len(const struct rig *r, size_t data)
{
    const size_t blocks = (data + CM_TAR_BLOCK - 1) / CM_TAR_BLOCK;

    return (double) (r->mint.layout == CM_LAYOUT_TREE ? data : (1 + blocks) * CM_TAR_BLOCK);
}

static void add_octets(const struct rig *r, const struct cm_batch *b, struct cm_calibration *mine)
{
    for (uint32_t i = 0; i < b->count; i++) {
        const size_t chain = (size_t) ((long) b->rec[i].chain_len + r->chain_more);
        const size_t key = b->rec[i].key_len;
        mine->chain += (double) chain;
        mine->key += (double) key;
        mine->chain_entry += entry_len(r, chain);
        mine->key_entry += entry_len(r, key);
        mine->row += b->rec[i].row_len;
        mine->chain_max = chain > mine->chain_max ? chain : mine->chain_max;
        mine->key_max = key > mine->key_max ? key : mine->key_max;
    }
    mine->devices += b->count;
}

/* The devices of the batch once more, into the same memory. */
static cm_err mint_again(struct rig *r, struct cm_minter *m, struct cm_batch *b, struct cm_calibration *mine,
                         struct cm_error *err)
{
    const double start = now_us();
    double last = start;
    uint32_t done = 0;

    b->chain_len = b->keys_len = b->rows_len = 0;
    CM_TRY(cm_mint_begin(m, b, err));
    while (done < b->count && !atomic_load_explicit(&r->failed, memory_order_relaxed)) {
        CM_TRY(cm_mint_one(m, b, done++, err));
        const double now = now_us();
        if (r->by_device)
            add_sample(r, mine, now - last);
        last = now;
    }
    if (done < b->count)
        return CM_OK;
    CM_TRY(cm_mint_end(m, b, err));
    if (!r->by_device)
        add_sample(r, mine, (now_us() - start) / b->count);
    return CM_OK;
}

static cm_err fill(struct rig *r, struct cm_batch **out, struct cm_error *err)
{
    struct cm_source *const source = r->conf->run->source;
    struct cm_batch *b = NULL;

    CM_TRY(cm_pool_acquire(r->conf->run->pool, &b));
    (void) pthread_mutex_lock(&r->lock);
    const cm_err rc = source->ops->next(source, b, err);
    (void) pthread_mutex_unlock(&r->lock);
    if (rc != CM_OK) {
        cm_pool_release(r->conf->run->pool, b);
        return rc;
    }
    memset(b->prefix, 1, sizeof b->prefix); /* of no run: what is signed under it names nobody */
    *out = b;
    return CM_OK;
}

static cm_err mint_for_a_while(struct rig *r, struct cm_batch *b, struct cm_calibration *mine,
                               struct cm_error *err)
{
    struct cm_minter *m = NULL;
    cm_err rc = cm_minter_open(&r->mint, &m, err);

    struct cm_calibration unused = { 0 };

    /* The first round warms up: tables, self-tests, caches. RSA keys have little of that and take long. */
    if (rc == CM_OK && !r->by_device)
        rc = mint_again(r, m, b, &unused, err);
    while (rc == CM_OK && !atomic_load(&r->failed) &&
           (now_us() < r->until_us || atomic_load(&r->samples) < r->conf->samples))
        rc = mint_again(r, m, b, mine, err);
    mine->scratch = cm_secret_locked();
    cm_minter_close(m);
    if (rc == CM_OK)
        add_octets(r, b, mine);
    return rc;
}

static void collect(struct rig *r, const struct cm_calibration *mine, cm_err rc, const struct cm_error *err)
{
    struct cm_calibration *const s = &r->sum;

    (void) pthread_mutex_lock(&r->lock);
    if (rc == CM_OK) {
        s->workers++;
        s->samples += mine->samples;
        s->device_us += mine->device_us;
        s->squares += mine->squares;
        s->devices += mine->devices;
        s->chain += mine->chain;
        s->key += mine->key;
        s->chain_entry += mine->chain_entry;
        s->key_entry += mine->key_entry;
        s->row += mine->row;
        s->scratch = mine->scratch > s->scratch ? mine->scratch : s->scratch;
        s->chain_max = mine->chain_max > s->chain_max ? mine->chain_max : s->chain_max;
        s->key_max = mine->key_max > s->key_max ? mine->key_max : s->key_max;
    } else if (rc != CM_E_END && !atomic_exchange(&r->failed, true)) {
        r->error = *err;
    }
    (void) pthread_mutex_unlock(&r->lock);
}

static void *worker_main(void *arg)
{
    struct cm_calibration mine = { 0 };
    struct cm_batch *b = NULL;
    struct cm_error err = { 0 };
    struct rig *r = arg;

    cm_worker_pin(r->conf->run, (uint32_t) atomic_fetch_add(&r->next_worker, 1));
    cm_err rc = fill(r, &b, &err);
    if (rc == CM_OK)
        rc = mint_for_a_while(r, b, &mine, &err);
    if (b != NULL)
        cm_pool_release(r->conf->run->pool, b);
    collect(r, &mine, rc, &err);
    return NULL;
}

static cm_err run_threads(struct rig *r, struct cm_error *err)
{
    const uint32_t workers = r->conf->run->workers;
    pthread_t *thread = calloc(workers, sizeof *thread);
    uint32_t started = 0;
    int os = 0;

    if (thread == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for %u workers", workers);
    while (started < workers && (os = pthread_create(&thread[started], NULL, worker_main, r)) == 0)
        started++;
    if (os != 0)
        atomic_store(&r->failed, true);
    for (uint32_t i = 0; i < started; i++)
        (void) pthread_join(thread[i], NULL);
    free(thread);
    errno = os;
    if (os != 0)
        CM_FAIL(err, CM_E_IO, "can't start a thread; see `ulimit -u` or say less with --workers");
    return CM_OK;
}

static void average(struct cm_calibration *c)
{
    const double n = (double) c->samples, d = (double) c->devices;

    c->device_us /= n;
    c->squares /= n;
    c->chain /= d;
    c->key /= d;
    c->chain_entry /= d;
    c->key_entry /= d;
    c->row /= d;
}

cm_err cm_calibrate(const struct cm_calibrate_conf *conf, struct cm_calibration *out, struct cm_error *err)
{
    const struct cm_mint_conf *const mint = &conf->run->mint;
    const bool pem = mint->encoding == CM_ENCODE_PEM;
    struct rig r = { .conf = conf,
                     .mint = *mint,
                     .by_device = mint->key->family == CM_KEYFAM_RSA,
                     .until_us = now_us() + conf->ms * 1000.0,
                     .locked = cm_secret_locked(),
                     .refused = cm_secret_refused() };

    r.mint.ca = conf->standin;
    r.chain_more = pem ? (long) cm_ca_chain_pem(mint->ca).len - (long) cm_ca_chain_pem(conf->standin).len
                       : (long) cm_ca_chain_der(mint->ca).len - (long) cm_ca_chain_der(conf->standin).len;
    (void) pthread_mutex_init(&r.lock, NULL);
    cm_err rc = run_threads(&r, err);
    (void) pthread_mutex_destroy(&r.lock);
    if (rc == CM_OK && r.error.code != CM_OK) {
        *err = r.error;
        rc = r.error.code;
    }
    CM_TRY(rc);
    CM_ASSERT(r.sum.samples > 0 && r.sum.devices > 0);
    r.sum.scratch -= r.locked;
    r.sum.refused = cm_secret_refused() != r.refused;
    average(&r.sum);
    *out = r.sum;
    return CM_OK;
}
