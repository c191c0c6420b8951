/* Goal: nothing is lost, doubled or reordered between threads, and a queue that is closed at any moment wakes
 * everyone and says whose each batch is. Method: many pushers and poppers, closing at random moments; each
 * batch carries a number, and its contents must be visible after the pop. ThreadSanitizer watches. */
#include "engine/queue.h"
#include "tests/t_plant.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

enum { PUSHERS = 3, POPPERS = 3, EACH = 2000, CAP = 4 };

struct shared {
    struct cm_queue *q;
    struct cm_batch batch[PUSHERS][EACH];
    atomic_uint popped[PUSHERS][EACH];
    uint32_t pushed[PUSHERS]; /* by its pusher; read after the join */
    atomic_bool wrong;
    int wait_ms;
};

struct thread {
    struct shared *s;
    uint32_t number;
    pthread_t id;
};

static void *push_all(void *arg)
{
    const struct thread *t = arg;
    struct shared *s = t->s;

    for (uint32_t i = 0; i < EACH; i++) {
        struct cm_batch *b = &s->batch[t->number][i];
        b->index = t->number;
        b->count = i;
        b->rows_len = i * 3;
        const cm_err rc = cm_queue_push(s->q, b);
        if (rc == CM_E_CLOSED) {
            b->rows_len = 0; /* ours still: a popper that has it, too, is a race */
            break;
        }
        if (rc != CM_OK)
            atomic_store(&s->wrong, true);
        s->pushed[t->number]++;
    }
    return NULL;
}

static void *pop_all(void *arg)
{
    const struct thread *t = arg;
    struct shared *s = t->s;
    int64_t last[PUSHERS];

    for (int i = 0; i < PUSHERS; i++)
        last[i] = -1;
    for (;;) {
        struct cm_batch *b = NULL;
        const cm_err rc = cm_queue_pop(s->q, s->wait_ms, &b);
        if (rc == CM_E_END && s->wait_ms >= 0)
            continue;
        if (rc != CM_OK) {
            if (rc != CM_E_CLOSED || b != NULL)
                atomic_store(&s->wrong, true);
            return NULL;
        }
        /* One popper sees the batches of one pusher in their order. */
        if (b->rows_len != (size_t) b->count * 3 || (int64_t) b->count <= last[b->index])
            atomic_store(&s->wrong, true);
        last[b->index] = b->count;
        b->rows_len = 0; /* ours to write now */
        (void) atomic_fetch_add(&s->popped[b->index][b->count], 1);
    }
}

static bool one_round(struct shared *s, uint64_t *random, bool early)
{
    struct thread push[PUSHERS], pop[POPPERS];
    bool ok = true;

    memset(s, 0, sizeof *s);
    s->wait_ms = (int) t_random(random, 3) - 1;
    CM_ASSERT(cm_queue_open(1 + (size_t) t_random(random, CAP), &s->q, NULL) == CM_OK);
    for (uint32_t i = 0; i < POPPERS; i++) {
        pop[i] = (struct thread) { .s = s, .number = i };
        CM_ASSERT(pthread_create(&pop[i].id, NULL, pop_all, &pop[i]) == 0);
    }
    for (uint32_t i = 0; i < PUSHERS; i++) {
        push[i] = (struct thread) { .s = s, .number = i };
        CM_ASSERT(pthread_create(&push[i].id, NULL, push_all, &push[i]) == 0);
    }
    if (early) {
        (void) nanosleep(&(struct timespec) { .tv_nsec = (long) t_random(random, 2000000) }, NULL);
        cm_queue_close(s->q);
        cm_queue_close(s->q);
    }
    for (uint32_t i = 0; i < PUSHERS; i++)
        (void) pthread_join(push[i].id, NULL);
    cm_queue_close(s->q);
    for (uint32_t i = 0; i < POPPERS; i++)
        (void) pthread_join(pop[i].id, NULL);
    cm_queue_done(s->q);
    for (uint32_t p = 0; p < PUSHERS; p++) {
        ok = ok && (early || s->pushed[p] == EACH);
        for (uint32_t i = 0; i < EACH; i++)
            ok = ok && atomic_load(&s->popped[p][i]) == (i < s->pushed[p] ? 1u : 0u);
    }
    return ok && !atomic_load(&s->wrong);
}

int main(void)
{
    static struct shared shared;
    uint64_t random = t_seed();
    unsigned passed = 0, failed = 0;

    for (int i = 0; i < 20; i++) {
        const bool ok = one_round(&shared, &random, i % 2 != 0);
        passed += ok;
        failed += !ok;
    }
    (void) printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
