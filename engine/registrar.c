#include "engine/pipeline_impl.h"

/* One thread: collects the rows of a commit, makes its bundles durable, then its
 * rows, and only then counts its devices. */
struct commit {
    uint64_t devices, bytes;
};

static cm_err end_commit(struct cm_pipeline *p, struct commit *c, struct cm_error *err)
{
    struct cm_sink *const bundles = p->conf.bundles, *const manifest = p->conf.manifest;

    CM_TRY(bundles->ops->sync(bundles, err));
    CM_TRY(manifest->ops->sync(manifest, err));
    atomic_fetch_add(&p->committed, c->devices);
    atomic_fetch_add(&p->committed_bytes, c->bytes);
    atomic_fetch_add(&p->commits, 1);
    *c = (struct commit) { 0 };
    return bundles->ops->settle != NULL ? bundles->ops->settle(bundles, err) : CM_OK;
}

static cm_err take(struct cm_pipeline *p, struct cm_batch *b, struct commit *c, struct cm_error *err)
{
    struct cm_sink *const manifest = p->conf.manifest;
    const bool last = b->group_end;
    enum cm_put how = CM_PUT_DONE;
    cm_err rc = CM_OK;

    CM_ASSERT(b->state == CM_BATCH_WRITTEN && b->landed);
    b->state = CM_BATCH_LISTING;
    rc = manifest->ops->put(manifest, b, &how, err);
    c->devices += b->count;
    c->bytes += b->chain_len + b->keys_len;
    cm_pool_release(p->conf.pool, b);
    if (rc == CM_OK && last)
        rc = end_commit(p, c, err);
    return rc;
}

/* Both, whatever becomes of the other; the manifest first, because after a failure
 * on a full disk what it takes back makes room. */
static cm_err finish(struct cm_pipeline *p, struct cm_error *err)
{
    const cm_err rows = p->conf.manifest->ops->finish(p->conf.manifest, err);
    const cm_err bundles = p->conf.bundles->ops->finish(p->conf.bundles, rows == CM_OK ? err : NULL);

    return rows != CM_OK ? rows : bundles;
}

void *cm_registrar_main(void *arg)
{
    struct cm_pipeline *p = arg;
    struct commit c = { 0 };
    struct cm_error err = { 0 };
    struct cm_batch *b = NULL;
    cm_err rc = CM_OK;

    while (cm_queue_pop(p->written, -1, &b) == CM_OK) {
        if (rc == CM_OK && !atomic_load(&p->failed)) {
            rc = take(p, b, &c, &err);
            if (rc != CM_OK)
                cm_pipeline_fail(p, &err);
        } else {
            cm_pool_release(p->conf.pool, b);
        }
    }
    CM_ASSERT(atomic_load(&p->failed) ||
              c.devices == 0); /* the writer ends its last commit before it closes */
    /* After a failure, too: what is committed gets its final names if that can be. */
    rc = finish(p, &err);
    if (rc != CM_OK && !atomic_load(&p->failed))
        cm_pipeline_fail(p, &err);
    (void) pthread_mutex_lock(&p->lock);
    p->ended = true;
    (void) pthread_cond_broadcast(&p->ended_cond);
    (void) pthread_mutex_unlock(&p->lock);
    return NULL;
}
