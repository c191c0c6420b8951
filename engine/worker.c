#include "engine/pipeline_impl.h"

#include <sched.h>

/* One thread per core: takes an empty batch, asks the source for devices, mints
 * them all, hands the batch to the writer. Everything it needs it opened once. */

void cm_worker_pin(const struct cm_pipeline_conf *conf, uint32_t number)
{
    cpu_set_t *set = NULL;
    const int cpu = conf->cpus_count > 0 ? conf->cpus[number % conf->cpus_count] : -1;

    if (cpu < 0)
        return;
    set = CPU_ALLOC((size_t) cpu + 1);
    if (set == NULL)
        return;
    CPU_ZERO_S(CPU_ALLOC_SIZE((size_t) cpu + 1), set);
    CPU_SET_S((size_t) cpu, CPU_ALLOC_SIZE((size_t) cpu + 1), set);
    /* Not being pinned costs speed, nothing else. */
    (void) pthread_setaffinity_np(pthread_self(), CPU_ALLOC_SIZE((size_t) cpu + 1), set);
    CPU_FREE(set);
}

static bool must_end(const struct cm_pipeline *p)
{
    return atomic_load_explicit(&p->stop, memory_order_relaxed) ||
           atomic_load_explicit(&p->failed, memory_order_relaxed);
}

/* Mints the devices of the batch; a stop in between cuts it short after the
 * device in hand. Whatever happens, what may have been signed is counted. */
static cm_err mint_batch(struct cm_pipeline *p, struct cm_minter *m, struct cm_batch *b, struct cm_error *err)
{
    uint32_t tried = 0;
    cm_err rc = cm_mint_begin(m, b, err);

    while (rc == CM_OK && tried < b->count) {
        if (tried > 0 && must_end(p)) {
            b->count = tried;
            break;
        }
        rc = cm_mint_one(m, b, tried++, err);
        if (rc == CM_OK)
            atomic_fetch_add_explicit(&p->minted, 1, memory_order_relaxed);
    }
    cm_serials_signed(p->serials, b, tried);
    return rc == CM_OK ? cm_mint_end(m, b, err) : rc;
}

/* One batch from pool to writer. CM_E_END or CM_E_CLOSED: there are no more. */
static cm_err one_batch(struct cm_pipeline *p, struct cm_minter *m, struct cm_error *err)
{
    struct cm_batch *b = NULL;
    cm_err rc = cm_pool_acquire(p->conf.pool, &b);

    if (rc != CM_OK)
        return rc;
    (void) pthread_mutex_lock(&p->source_lock);
    rc = must_end(p) ? CM_E_END : p->conf.source->ops->next(p->conf.source, b, err);
    (void) pthread_mutex_unlock(&p->source_lock);
    if (rc == CM_OK)
        rc = cm_serials_take(p->serials, b, err);
    if (rc == CM_OK)
        rc = mint_batch(p, m, b, err);
    if (rc == CM_OK) {
        b->state = CM_BATCH_SEALED;
        rc = cm_queue_push(p->sealed, b);
    }
    if (rc != CM_OK)
        cm_pool_release(p->conf.pool, b);
    return rc;
}

void *cm_worker_main(void *arg)
{
    struct cm_pipeline *p = arg;
    struct cm_minter *m = NULL;
    struct cm_error err = { 0 };
    cm_err rc = CM_OK;

    cm_worker_pin(&p->conf, (uint32_t) atomic_fetch_add(&p->next_worker, 1));
    rc = cm_minter_open(&p->conf.mint, &m, &err);
    while (rc == CM_OK)
        rc = one_batch(p, m, &err);
    cm_minter_close(m);
    if (cm_err_class(rc) != CM_E_CLOSED)
        cm_pipeline_fail(p, &err);

    (void) pthread_mutex_lock(&p->lock);
    const bool last = --p->workers_left == 0;
    (void) pthread_mutex_unlock(&p->lock);
    if (last)
        cm_queue_close(p->sealed);
    return NULL;
}
