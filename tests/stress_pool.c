/* Goal: a batch has one owner at any moment, comes out empty and comes back wiped, and a stop wakes whoever
 * waits. Method: more threads than batches take, write, check and release; ThreadSanitizer watches. */
#include "engine/pool.h"
#include "tests/t_plant.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { THREADS = 6, BATCHES = 4, ROUNDS = 800 };

static const struct cm_batch_plan plan = {
    .devices = 3, .ids = 300, .chain = 8192, .keys = 4096, .rows = 1000
};

struct shared {
    struct cm_pool *pool;
    atomic_uint owners[BATCHES];
    atomic_uint taken;
    atomic_bool wrong;
    uint32_t rounds; /* 0: until the pool is stopped */
};

static bool is_empty(const struct cm_batch *b)
{
    return b->state == CM_BATCH_FILLING && b->count == 0 && b->chain_len == 0 && b->keys_len == 0 &&
           b->rows_len == 0 && b->ids_len == 0 && b->inflight == 0 && !b->landed && !b->group_end &&
           b->next == NULL;
}

static bool is_zero(const uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (p[i] != 0)
            return false;
    return true;
}

/* Writes to every part, as minting does. */
static void use(struct cm_batch *b, uint32_t round)
{
    const uint8_t fill = (uint8_t) (round | 1);

    (void) cm_batch_add(b, cm_span("id", 2), round, round);
    memset(b->chain, fill, plan.chain);
    memset(b->keys, fill, plan.keys);
    memset(b->rows, fill, plan.rows);
    memset(b->random, fill, (size_t) plan.devices * CM_SERIAL_RANDOM);
    b->chain_len = plan.chain;
    b->keys_len = plan.keys;
    b->rows_len = plan.rows;
    b->landed = b->group_end = true;
}

static void *work(void *arg)
{
    struct shared *s = arg;
    struct cm_batch *b = NULL;

    for (uint32_t i = 0; s->rounds == 0 || i < s->rounds; i++) {
        if (cm_pool_acquire(s->pool, &b) != CM_OK)
            break;
        const uint32_t index = b->index;
        if (index >= BATCHES || atomic_fetch_add(&s->owners[index], 1) != 0 || !is_empty(b) ||
            !is_zero(b->keys, plan.keys))
            atomic_store(&s->wrong, true);
        use(b, i);
        (void) atomic_fetch_add(&s->taken, 1);
        (void) atomic_fetch_sub(&s->owners[index], 1);
        cm_pool_release(s->pool, b);
    }
    return NULL;
}

static bool one_round(uint64_t *random, bool stop)
{
    struct shared s = { .rounds = stop ? 0 : ROUNDS };
    struct cm_error err = { 0 };
    pthread_t id[THREADS];

    CM_ASSERT(cm_pool_open(BATCHES, &plan, &s.pool, &err) == CM_OK);
    for (int i = 0; i < THREADS; i++)
        CM_ASSERT(pthread_create(&id[i], NULL, work, &s) == 0);
    if (stop) {
        (void) nanosleep(&(struct timespec) { .tv_nsec = (long) t_random(random, 3000000) }, NULL);
        cm_pool_stop(s.pool);
    }
    for (int i = 0; i < THREADS; i++)
        (void) pthread_join(id[i], NULL);
    struct cm_batch *b = NULL;
    const bool ended = !stop || cm_pool_acquire(s.pool, &b) == CM_E_CLOSED;
    cm_pool_close(s.pool); /* asserts that every batch is home */
    return ended && !atomic_load(&s.wrong) && (stop || atomic_load(&s.taken) == THREADS * ROUNDS);
}

/* All batches are out; a thread waits for one, and the stop must end its waiting. */
static bool stop_wakes_who_waits(void)
{
    struct shared s = { .rounds = 1 };
    struct cm_batch *b[BATCHES] = { NULL };
    struct cm_error err = { 0 };
    pthread_t id[THREADS];

    CM_ASSERT(cm_pool_open(BATCHES, &plan, &s.pool, &err) == CM_OK);
    for (int i = 0; i < BATCHES; i++)
        CM_ASSERT(cm_pool_acquire(s.pool, &b[i]) == CM_OK);
    for (int i = 0; i < THREADS; i++)
        CM_ASSERT(pthread_create(&id[i], NULL, work, &s) == 0);
    (void) nanosleep(&(struct timespec) { .tv_nsec = 20000000 }, NULL);
    cm_pool_stop(s.pool);
    for (int i = 0; i < THREADS; i++)
        (void) pthread_join(id[i], NULL);
    for (int i = 0; i < BATCHES; i++)
        cm_pool_release(s.pool, b[i]);
    cm_pool_close(s.pool);
    return atomic_load(&s.taken) == 0;
}

int main(void)
{
    uint64_t random = t_seed();
    unsigned passed = 0, failed = 0;

    for (int i = 0; i < 20; i++) {
        const bool ok = i == 0 ? stop_wakes_who_waits() : one_round(&random, i % 4 != 1);
        passed += ok;
        failed += !ok;
    }
    (void) printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
