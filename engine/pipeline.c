#include "engine/pipeline.h"

#include "engine/pipeline_impl.h"

#include <errno.h>
#include <signal.h>

/* One batch for each place that can hold one at the same time, so that nobody
 * waits for a batch that nobody is working on. */
uint32_t cm_pipeline_batches(uint32_t workers)
{
    return workers          /* being filled */
           + CM_SEALED_CAP  /* waiting for the writer */
           + CM_WRITING_MAX /* with the kernel, or held back for their commit's end */
           + CM_WRITTEN_CAP /* waiting for the registrar */
           + 1              /* being listed */
           + 1;             /* free, so that a worker finds one */
}

/* As many prefixes ready as two commits and the batches between them can take, or as
 * the run can need: every commit fills the stock up again. */
static cm_err open_serials(struct cm_pipeline *p, struct cm_error *err)
{
    enum { STOCK_MAX = 4096 };
    const struct cm_pipeline_conf *c = &p->conf;
    const uint32_t batch = cm_pool_devices(c->pool);
    const struct cm_ranges *done = c->source->done;
    const uint64_t left = c->source->devices - (done != NULL ? cm_ranges_size(done) : 0);
    uint64_t stock = 2ull * (c->commit.devices / batch + 1) + cm_pool_batches(c->pool);

    stock = stock > STOCK_MAX ? STOCK_MAX : stock;
    stock = stock > left ? left : stock;
    const struct cm_serials_conf conf = { .first = c->first_prefix,
                                          .stock = (size_t) stock,
                                          .batches = cm_pool_batches(c->pool),
                                          .total = (left + batch - 1) / batch,
                                          .at_most = batch,
                                          .unrecorded = c->recorder == NULL };
    return cm_serials_open(&conf, &p->serials, err);
}

cm_err cm_pipeline_open(const struct cm_pipeline_conf *conf, struct cm_pipeline **out, struct cm_error *err)
{
    struct cm_pipeline *p = calloc(1, sizeof *p);
    pthread_condattr_t attr;
    cm_err rc = CM_OK;

    CM_ASSERT(conf->workers > 0 && cm_pool_batches(conf->pool) > conf->workers);
    if (p == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the pipeline");
    p->conf = *conf;
    p->workers_left = conf->workers;
    p->worker = calloc(conf->workers, sizeof *p->worker);
    (void) pthread_condattr_init(&attr);
    (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void) pthread_cond_init(&p->ended_cond, &attr);
    (void) pthread_condattr_destroy(&attr);
    (void) pthread_mutex_init(&p->lock, NULL);
    (void) pthread_mutex_init(&p->source_lock, NULL);
    rc = p->worker == NULL ? cm_fail(err, CM_E_NOMEM, CM_HERE, "no memory for %u workers", conf->workers)
                           : CM_OK;
    if (rc == CM_OK)
        rc = cm_queue_open(CM_SEALED_CAP, &p->sealed, err);
    if (rc == CM_OK)
        rc = cm_queue_open(CM_WRITTEN_CAP, &p->written, err);
    if (rc == CM_OK)
        rc = open_serials(p, err);
    if (rc != CM_OK) {
        cm_pipeline_close(p);
        return rc;
    }
    *out = p;
    return CM_OK;
}

void cm_pipeline_fail(struct cm_pipeline *p, const struct cm_error *err)
{
    (void) pthread_mutex_lock(&p->lock);
    if (p->error.code == CM_OK)
        p->error = *err;
    (void) pthread_mutex_unlock(&p->lock);
    atomic_store(&p->failed, true);
    cm_pool_stop(p->conf.pool);
    cm_serials_stop(p->serials);
}

static cm_err spawn(pthread_t *t, void *(*main)(void *), struct cm_pipeline *p, struct cm_error *err)
{
    const int rc = pthread_create(t, NULL, main, p);

    if (rc != 0) {
        errno = rc;
        CM_FAIL(err, CM_E_IO, "can't start a thread; see `ulimit -u` or say less with --workers");
    }
    return CM_OK;
}

/* Workers that could not be started count as ended, so that the others' end is
 * the end. */
static void forget_workers(struct cm_pipeline *p)
{
    (void) pthread_mutex_lock(&p->lock);
    p->workers_left -= p->conf.workers - p->started;
    const bool none = p->workers_left == 0;
    (void) pthread_mutex_unlock(&p->lock);
    if (none)
        cm_queue_close(p->sealed);
}

/* The first prefixes are on record before there is a worker. */
static cm_err reserve(struct cm_pipeline *p, struct cm_error *err)
{
    struct cm_recorder *const recorder = p->conf.recorder;
    struct cm_prefixes first = { 0 };

    if (recorder == NULL)
        return CM_OK;
    CM_TRY(cm_serials_draw(p->serials, &first, err));
    CM_TRY(recorder->ops->reserve(recorder, &first, err));
    cm_serials_admit(p->serials);
    return CM_OK;
}

cm_err cm_pipeline_start(struct cm_pipeline *p, struct cm_error *err)
{
    sigset_t all, old;
    cm_err rc = reserve(p, err);

    /* Signals are the main thread's: pipeline threads are born with them blocked. */
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &old);
    if (rc == CM_OK)
        rc = spawn(&p->registrar, cm_registrar_main, p, err);
    p->registrar_started = rc == CM_OK;
    if (rc == CM_OK) {
        rc = spawn(&p->writer, cm_writer_main, p, err);
        p->writer_started = rc == CM_OK;
    }
    while (rc == CM_OK && p->started < p->conf.workers) {
        rc = spawn(&p->worker[p->started], cm_worker_main, p, err);
        p->started += rc == CM_OK;
    }
    (void) pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != CM_OK) {
        struct cm_error copy = { .code = rc };
        cm_pipeline_fail(p, err != NULL ? err : &copy);
        forget_workers(p);
        if (!p->writer_started)
            cm_queue_close(p->written);
        if (!p->registrar_started) /* whose it would have been */
            (void) p->conf.bundles->ops->finish(p->conf.bundles, NULL);
    }
    return rc;
}

cm_err cm_pipeline_wait(struct cm_pipeline *p, int ms, struct cm_error *err)
{
    const struct timespec t = cm_when_deadline(ms);
    cm_err rc = CM_OK;
    int waited = 0;

    (void) pthread_mutex_lock(&p->lock);
    while (!p->ended && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&p->ended_cond, &p->lock, &t);
    if (!p->ended) {
        rc = CM_E_END;
    } else if (p->error.code != CM_OK) {
        if (err != NULL)
            *err = p->error;
        rc = p->error.code;
    }
    (void) pthread_mutex_unlock(&p->lock);
    return rc;
}

void cm_pipeline_stop(struct cm_pipeline *p)
{
    atomic_store(&p->stop, true);
}

struct cm_pipeline_stats cm_pipeline_stats(const struct cm_pipeline *p)
{
    return (struct cm_pipeline_stats) { .minted = atomic_load(&p->minted),
                                        .committed = atomic_load(&p->committed),
                                        .committed_bytes = atomic_load(&p->committed_bytes),
                                        .commits = atomic_load(&p->commits),
                                        .signatures = cm_serials_signatures(p->serials) };
}

void cm_pipeline_close(struct cm_pipeline *p)
{
    if (p == NULL)
        return;
    for (uint32_t i = 0; i < p->started; i++)
        (void) pthread_join(p->worker[i], NULL);
    if (p->writer_started)
        (void) pthread_join(p->writer, NULL);
    if (p->registrar_started)
        (void) pthread_join(p->registrar, NULL);
    cm_queue_done(p->sealed);
    cm_queue_done(p->written);
    cm_serials_close(p->serials);
    (void) pthread_mutex_destroy(&p->source_lock);
    (void) pthread_mutex_destroy(&p->lock);
    (void) pthread_cond_destroy(&p->ended_cond);
    free(p->worker);
    free(p);
}
