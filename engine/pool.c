#include "engine/pool.h"

#include <pthread.h>
#include <sys/mman.h>

struct cm_pool {
    pthread_mutex_t lock;
    pthread_cond_t released;
    bool stopped;          /* guarded by lock, as the next two */
    struct cm_batch *free; /* a stack: the warmest memory goes out first */
    uint32_t home;
    uint32_t batches;
    uint8_t *slab; /* chain images, then per batch rows, ids, random numbers and records */
    size_t slab_len, chain_len;
    struct cm_secret keys;
    struct cm_batch batch[];
};

static size_t round_up(size_t n)
{
    return (n + 4095) / 4096 * 4096;
}

/* Octets behind the chain images that one batch needs. */
static size_t side_len(const struct cm_batch_plan *plan)
{
    return round_up(plan->devices * sizeof(struct cm_rec)) + round_up(plan->rows) +
           round_up(plan->ids + plan->devices * (size_t) CM_SERIAL_RANDOM);
}

size_t cm_pool_bytes(const struct cm_batch_plan *plan, uint32_t batches)
{
    return batches * (plan->chain + plan->keys + side_len(plan));
}

static void lay_out(struct cm_pool *p, const struct cm_batch_plan *plan)
{
    uint8_t *side = p->slab + p->chain_len;

    for (uint32_t i = 0; i < p->batches; i++, side += side_len(plan)) {
        struct cm_batch *b = &p->batch[i];
        b->index = i;
        b->cap = plan->devices;
        b->plan = *plan;
        b->chain = p->slab + i * plan->chain;
        b->keys = p->keys.base + i * plan->keys;
        b->rec = (struct cm_rec *) (void *) side; /* page-aligned */
        b->rows = side + round_up(plan->devices * sizeof(struct cm_rec));
        b->ids = (char *) b->rows + round_up(plan->rows);
        b->random = (uint8_t *) b->ids + plan->ids;
        b->next = p->free;
        p->free = b;
    }
    p->home = p->batches;
}

cm_err cm_pool_open(uint32_t batches, const struct cm_batch_plan *plan, struct cm_pool **out,
                    struct cm_error *err)
{
    struct cm_pool *p = calloc(1, sizeof *p + batches * sizeof p->batch[0]);
    cm_err rc = CM_OK;

    CM_ASSERT(batches > 0 && plan->devices > 0 && plan->chain % 4096 == 0 && plan->keys % 4096 == 0);
    if (p == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for %u batches", batches);
    rc = cm_secret_init(&p->keys, batches * plan->keys, err);
    if (rc != CM_OK) {
        free(p);
        return rc;
    }
    p->batches = batches;
    p->chain_len = batches * plan->chain;
    p->slab_len = p->chain_len + batches * side_len(plan);
    /* Populated now: memory use must not depend on how many batches a run gets round to. */
    p->slab =
        mmap(NULL, p->slab_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (p->slab == MAP_FAILED) {
        cm_secret_done(&p->keys);
        free(p);
        CM_FAIL(err, CM_E_NOMEM, "no memory for %u batches of %u devices", batches, plan->devices);
    }
    (void) pthread_mutex_init(&p->lock, NULL);
    (void) pthread_cond_init(&p->released, NULL);
    lay_out(p, plan);
    *out = p;
    return CM_OK;
}

static void reset(struct cm_batch *b)
{
    b->state = CM_BATCH_FILLING;
    b->count = 0;
    b->chain_len = b->keys_len = b->rows_len = b->ids_len = 0;
    b->unit = b->inflight = 0;
    b->chain_base = b->key_base = 0;
    b->landed = b->group_end = false;
    b->next = NULL;
}

cm_err cm_pool_acquire(struct cm_pool *p, struct cm_batch **out)
{
    struct cm_batch *b = NULL;

    (void) pthread_mutex_lock(&p->lock);
    while (p->free == NULL && !p->stopped)
        (void) pthread_cond_wait(&p->released, &p->lock);
    if (!p->stopped) {
        b = p->free;
        p->free = b->next;
        p->home--;
    }
    (void) pthread_mutex_unlock(&p->lock);
    if (b == NULL)
        return CM_E_CLOSED;
    CM_ASSERT(b->state == CM_BATCH_FREE);
    reset(b);
    *out = b;
    return CM_OK;
}

void cm_pool_release(struct cm_pool *p, struct cm_batch *b)
{
    CM_ASSERT(b->inflight == 0);
    if (b->keys_len > 0)
        cm_secret_wipe(b->keys, b->keys_len);
    b->state = CM_BATCH_FREE;
    (void) pthread_mutex_lock(&p->lock);
    b->next = p->free;
    p->free = b;
    p->home++;
    (void) pthread_cond_signal(&p->released);
    (void) pthread_mutex_unlock(&p->lock);
}

void cm_pool_stop(struct cm_pool *p)
{
    (void) pthread_mutex_lock(&p->lock);
    p->stopped = true;
    (void) pthread_cond_broadcast(&p->released);
    (void) pthread_mutex_unlock(&p->lock);
}

void cm_pool_close(struct cm_pool *p)
{
    if (p == NULL)
        return;
    CM_ASSERT(p->home == p->batches);
    cm_secret_done(&p->keys);
    (void) munmap(p->slab, p->slab_len);
    (void) pthread_cond_destroy(&p->released);
    (void) pthread_mutex_destroy(&p->lock);
    free(p);
}

struct cm_span cm_pool_chain_slab(const struct cm_pool *p)
{
    return cm_span(p->slab, p->chain_len);
}

struct cm_span cm_pool_key_slab(const struct cm_pool *p)
{
    return cm_span(p->keys.base, p->keys.cap);
}

uint32_t cm_pool_batches(const struct cm_pool *p)
{
    return p->batches;
}

uint32_t cm_pool_devices(const struct cm_pool *p)
{
    return p->batch[0].cap;
}
