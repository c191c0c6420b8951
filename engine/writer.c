#include "engine/pipeline_impl.h"

#include <time.h>

/* One thread: puts sealed batches into the bundle sink, wipes their keys when the
 * kernel has taken them, decides where commits end, and hands batches to the
 * registrar in the order it put them. */
struct writer {
    struct cm_pipeline *p;
    const struct cm_sink_ops *ops;
    struct cm_batch *head, *tail; /* put and not yet handed on, oldest first */
    uint32_t listed;              /* how many those are */
    uint32_t pending;             /* of them, those that the sink still borrows */
    /* the commit under way */
    uint64_t bytes;
    uint32_t devices;
    int64_t began_ms;
};

static int64_t now_ms(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void landed(struct writer *w, struct cm_batch *b)
{
    CM_ASSERT(b->state == CM_BATCH_WRITING && b->inflight == 0);
    /* The key's last copy in this process that outlives its making. */
    cm_secret_wipe(b->keys, b->keys_len);
    b->landed = true;
    w->pending--;
}

/* Ends the commit under way: its last batch is the newest one put. */
static cm_err end_commit(struct writer *w, struct cm_error *err)
{
    if (w->devices == 0)
        return CM_OK;
    CM_ASSERT(w->tail != NULL && !w->tail->group_end);
    w->tail->group_end = true;
    w->bytes = w->devices = 0;
    return w->ops->cut(w->p->conf.bundles, err);
}

/* Hands on what is finished, in order. The newest batch is held back while its
 * commit is open, because only it can become the commit's last. */
static cm_err hand_on(struct writer *w)
{
    while (w->head != NULL && w->head->landed && (w->head != w->tail || w->head->group_end)) {
        struct cm_batch *b = w->head;
        struct cm_batch *const next = b->next;
        b->next = NULL;
        b->state = CM_BATCH_WRITTEN;
        const cm_err rc = cm_queue_push(w->p->written, b);
        if (rc != CM_OK) {
            b->next = next;
            return rc;
        }
        w->head = next;
        if (next == NULL)
            w->tail = NULL;
        w->listed--;
    }
    return CM_OK;
}

static cm_err reap(struct writer *w, bool wait, struct cm_error *err)
{
    struct cm_batch *b = NULL;

    do {
        b = NULL;
        const cm_err rc = w->ops->reap(w->p->conf.bundles, wait, &b, err);
        if (b != NULL)
            landed(w, b);
        CM_TRY(rc);
        wait = false;
    } while (b != NULL);
    return hand_on(w);
}

static void list(struct writer *w, struct cm_batch *b)
{
    b->state = CM_BATCH_WRITING;
    b->next = NULL;
    if (w->tail != NULL)
        w->tail->next = b;
    else
        w->head = b;
    w->tail = b;
    w->listed++;
    w->pending++;
}

static cm_err put(struct writer *w, struct cm_batch *b, struct cm_error *err)
{
    const struct cm_commit_bounds *bound = &w->p->conf.commit;
    enum cm_put how = CM_PUT_BUSY;
    cm_err rc = CM_OK;

    list(w, b);
    if (w->devices == 0)
        w->began_ms = now_ms();
    do {
        rc = w->ops->put(w->p->conf.bundles, b, &how, err);
        if (rc == CM_OK && how == CM_PUT_BUSY)
            rc = reap(w, true, err);
    } while (rc == CM_OK && how == CM_PUT_BUSY);
    CM_TRY(rc);
    if (how == CM_PUT_DONE)
        landed(w, b);
    w->bytes += b->chain_len + b->keys_len;
    w->devices += b->count;
    if (w->bytes >= bound->bytes || w->devices >= bound->devices || now_ms() - w->began_ms >= bound->ms)
        CM_TRY(end_commit(w, err));
    return hand_on(w);
}

/* How long to wait for the next batch: until the commit is due, for ever when
 * there is none, not at all while the kernel works for us. */
static int patience(const struct writer *w)
{
    if (w->pending > 0)
        return 0;
    if (w->devices == 0)
        return -1;
    const int64_t left = w->began_ms + w->p->conf.commit.ms - now_ms();
    return left > 0 ? (int) left : 0;
}

static cm_err step(struct writer *w, struct cm_error *err)
{
    struct cm_batch *b = NULL;
    cm_err rc = CM_E_END;

    if (w->listed < CM_WRITING_MAX)
        rc = cm_queue_pop(w->p->sealed, patience(w), &b);
    if (rc == CM_OK)
        CM_TRY(put(w, b, err));
    else if (rc == CM_E_END && w->pending > 0)
        return reap(w, true, err);
    else if (rc == CM_E_END)
        CM_TRY(end_commit(w, err));
    else
        return rc;
    return w->pending > 0 ? reap(w, false, err) : hand_on(w);
}

/* The clean end: everything put has landed and was handed on. */
static cm_err drain(struct writer *w, struct cm_error *err)
{
    CM_TRY(end_commit(w, err));
    while (w->pending > 0)
        CM_TRY(reap(w, true, err));
    return hand_on(w);
}

/* After a failure: take everything back from the kernel and from the workers. */
static void abandon(struct writer *w)
{
    enum { TRIES = 1000 }; /* more than there can be requests under way */
    struct cm_pool *pool = w->p->conf.pool;
    struct cm_batch *b = NULL;

    for (int i = 0; w->pending > 0 && i < TRIES; i++) {
        b = NULL;
        if (w->ops->reap(w->p->conf.bundles, true, &b, NULL) == CM_OK && b == NULL)
            break;
        if (b != NULL)
            landed(w, b);
    }
    while ((b = w->head) != NULL) {
        w->head = b->next;
        b->inflight = 0;
        cm_pool_release(pool, b);
    }
    while (cm_queue_pop(w->p->sealed, -1, &b) == CM_OK)
        cm_pool_release(pool, b);
}

void *cm_writer_main(void *arg)
{
    struct cm_pipeline *p = arg;
    struct writer w = { .p = p, .ops = p->conf.bundles->ops };
    struct cm_error err = { 0 };
    cm_err rc = CM_OK;

    while (rc == CM_OK)
        rc = step(&w, &err);
    if (rc == CM_E_CLOSED && !atomic_load(&p->failed))
        rc = drain(&w, &err);
    if (rc != CM_OK) {
        if (cm_err_class(rc) != CM_E_CLOSED)
            cm_pipeline_fail(p, &err);
        abandon(&w);
    }
    cm_queue_close(p->written);
    return NULL;
}
