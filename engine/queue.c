#include "engine/queue.h"

#include "engine/when.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

struct cm_queue {
    pthread_mutex_t lock;
    pthread_cond_t not_full, not_empty;
    size_t cap, head, count; /* guarded by lock, as all below */
    bool closed;
    struct cm_batch *slot[];
};

cm_err cm_queue_open(size_t cap, struct cm_queue **out, struct cm_error *err)
{
    struct cm_queue *q = calloc(1, sizeof *q + cap * sizeof q->slot[0]);
    pthread_condattr_t attr;

    CM_ASSERT(cap > 0);
    if (q == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for a queue of %zu", cap);
    (void) pthread_condattr_init(&attr);
    (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void) pthread_mutex_init(&q->lock, NULL);
    (void) pthread_cond_init(&q->not_full, &attr);
    (void) pthread_cond_init(&q->not_empty, &attr);
    (void) pthread_condattr_destroy(&attr);
    q->cap = cap;
    *out = q;
    return CM_OK;
}

cm_err cm_queue_push(struct cm_queue *q, struct cm_batch *b)
{
    cm_err rc = CM_E_CLOSED;

    (void) pthread_mutex_lock(&q->lock);
    while (q->count == q->cap && !q->closed)
        (void) pthread_cond_wait(&q->not_full, &q->lock);
    if (!q->closed) {
        q->slot[(q->head + q->count++) % q->cap] = b;
        (void) pthread_cond_signal(&q->not_empty);
        rc = CM_OK;
    }
    (void) pthread_mutex_unlock(&q->lock);
    return rc;
}

cm_err cm_queue_pop(struct cm_queue *q, int wait_ms, struct cm_batch **out)
{
    const struct timespec deadline = cm_when_deadline(wait_ms < 0 ? 0 : wait_ms);
    cm_err rc = CM_E_CLOSED;
    int waited = 0;

    (void) pthread_mutex_lock(&q->lock);
    while (q->count == 0 && !q->closed && waited != ETIMEDOUT)
        waited = wait_ms < 0 ? pthread_cond_wait(&q->not_empty, &q->lock)
                             : pthread_cond_timedwait(&q->not_empty, &q->lock, &deadline);
    if (q->count > 0) {
        *out = q->slot[q->head];
        q->head = (q->head + 1) % q->cap;
        q->count--;
        (void) pthread_cond_signal(&q->not_full);
        rc = CM_OK;
    } else if (!q->closed) {
        rc = CM_E_END;
    }
    (void) pthread_mutex_unlock(&q->lock);
    return rc;
}

void cm_queue_close(struct cm_queue *q)
{
    (void) pthread_mutex_lock(&q->lock);
    q->closed = true;
    (void) pthread_cond_broadcast(&q->not_full);
    (void) pthread_cond_broadcast(&q->not_empty);
    (void) pthread_mutex_unlock(&q->lock);
}

void cm_queue_done(struct cm_queue *q)
{
    if (q == NULL)
        return;
    CM_ASSERT(q->count == 0);
    (void) pthread_cond_destroy(&q->not_empty);
    (void) pthread_cond_destroy(&q->not_full);
    (void) pthread_mutex_destroy(&q->lock);
    free(q);
}
