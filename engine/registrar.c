#include "engine/pipeline_impl.h"

/* One thread: collects the rows of a commit, makes its bundles durable, then its
 * rows, puts the commit on record, and only then counts its devices. */
struct registrar {
    struct cm_pipeline *p;
    struct cm_commit commit; /* the one under way */
    bool in_doubt;           /* nobody knows whether the last commit is on record */
};

static cm_err settle(struct cm_sink *s, struct cm_error *err)
{
    return s->ops->settle != NULL ? s->ops->settle(s, err) : CM_OK;
}

/* The commit is on record, and the stock of serial prefixes is full again. */
static cm_err record(struct registrar *r, struct cm_error *err)
{
    struct cm_recorder *const recorder = r->p->conf.recorder;
    struct cm_prefixes more = { 0 };

    if (recorder == NULL)
        return CM_OK;
    CM_TRY(cm_serials_draw(r->p->serials, &more, err));
    const cm_err rc = recorder->ops->commit(recorder, &r->commit, &more, err);
    if (rc != CM_OK) {
        r->in_doubt = recorder->ops->retract(recorder, NULL) != CM_OK;
        return rc;
    }
    cm_serials_commit(r->p->serials, &r->commit.prefixes);
    cm_serials_admit(r->p->serials);
    return CM_OK;
}

static cm_err end_commit(struct registrar *r, struct cm_error *err)
{
    struct cm_pipeline *const p = r->p;
    struct cm_sink *const bundles = p->conf.bundles, *const manifest = p->conf.manifest;

    CM_TRY(bundles->ops->sync(bundles, err));
    CM_TRY(manifest->ops->sync(manifest, err));
    CM_TRY(record(r, err));
    atomic_fetch_add(&p->committed, r->commit.devices);
    atomic_fetch_add(&p->committed_bytes, r->commit.bytes);
    atomic_fetch_add(&p->commits, 1);
    r->commit.devices = r->commit.bytes = 0;
    cm_ranges_clear(&r->commit.seqs);
    cm_ranges_clear(&r->commit.prefixes);
    CM_TRY(settle(manifest, err));
    return settle(bundles, err);
}

/* The numbers of the batch, as a few ranges: devices of a batch follow each other but
 * for those that an earlier attempt has committed. */
static cm_err note(struct registrar *r, const struct cm_batch *b, struct cm_error *err)
{
    struct cm_commit *const c = &r->commit;

    for (uint32_t i = 0, from = 0; i < b->count; i++)
        if (i + 1 == b->count || b->rec[i + 1].seq != b->rec[i].seq + 1) {
            CM_TRY(cm_ranges_add(&c->seqs, b->rec[from].seq, b->rec[i].seq, err));
            from = i + 1;
        }
    c->devices += b->count;
    c->bytes += b->chain_len + b->keys_len;
    return r->p->conf.recorder != NULL ? cm_ranges_add(&c->prefixes, b->prefix_number, b->prefix_number, err)
                                       : CM_OK;
}

static cm_err take(struct registrar *r, struct cm_batch *b, struct cm_error *err)
{
    struct cm_sink *const manifest = r->p->conf.manifest;
    const bool last = b->group_end;
    enum cm_put how = CM_PUT_DONE;

    CM_ASSERT(b->state == CM_BATCH_WRITTEN && b->landed);
    b->state = CM_BATCH_LISTING;
    cm_err rc = manifest->ops->put(manifest, b, &how, err);
    if (rc == CM_OK)
        rc = note(r, b, err);
    cm_pool_release(r->p->conf.pool, b);
    if (rc == CM_OK && last)
        rc = end_commit(r, err);
    return rc;
}

/* What became of the prefixes, and that nothing uncommitted is left. */
static cm_err end_record(struct registrar *r, struct cm_error *err)
{
    struct cm_pipeline *const p = r->p;
    struct cm_attempt_end end = { .failed = atomic_load(&p->failed) };

    if (p->conf.recorder == NULL)
        return CM_OK;
    cm_err rc = cm_serials_end(p->serials, &end, err);
    if (rc == CM_OK)
        rc = p->conf.recorder->ops->end(p->conf.recorder, &end, err);
    cm_serials_end_done(&end);
    return rc;
}

/* Both, whatever becomes of the other; the manifest first, because after a failure
 * on a full disk what it takes back makes room. When nobody knows what is
 * committed, all is left as it is: a resume reads the record. */
static cm_err finish(struct registrar *r, struct cm_error *err)
{
    struct cm_sink *const bundles = r->p->conf.bundles, *const manifest = r->p->conf.manifest;

    if (r->in_doubt)
        return CM_OK;
    const cm_err rows = manifest->ops->finish(manifest, err);
    const cm_err files = bundles->ops->finish(bundles, rows == CM_OK ? err : NULL);
    if (rows != CM_OK || files != CM_OK)
        return rows != CM_OK ? rows : files;
    return end_record(r, err);
}

void *cm_registrar_main(void *arg)
{
    struct cm_pipeline *p = arg;
    struct registrar r = { .p = p };
    struct cm_error err = { 0 };
    struct cm_batch *b = NULL;
    cm_err rc = CM_OK;

    while (cm_queue_pop(p->written, -1, &b) == CM_OK) {
        if (rc == CM_OK && !atomic_load(&p->failed)) {
            rc = take(&r, b, &err);
            if (rc != CM_OK)
                cm_pipeline_fail(p, &err);
        } else {
            cm_pool_release(p->conf.pool, b);
        }
    }
    CM_ASSERT(atomic_load(&p->failed) ||
              r.commit.devices == 0); /* the writer ends its last commit before it closes */
    /* After a failure, too: what is committed gets its final names if that can be. */
    rc = finish(&r, &err);
    if (rc == CM_OK && !r.in_doubt && p->conf.manifest->ops->index != NULL)
        rc = p->conf.manifest->ops->index(p->conf.manifest, &err);
    if (rc != CM_OK)
        cm_pipeline_fail(p, &err);
    cm_ranges_close(&r.commit.seqs);
    cm_ranges_close(&r.commit.prefixes);
    (void) pthread_mutex_lock(&p->lock);
    p->ended = true;
    (void) pthread_cond_broadcast(&p->ended_cond);
    (void) pthread_mutex_unlock(&p->lock);
    return NULL;
}
