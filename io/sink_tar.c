#include "io/sinks.h"

#include "engine/tarfmt.h"
#include "io/file.h"
#include "io/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

/* --layout tar: bounded segments, chains/NNNNNN.tar and keys/NNNNNN.tar, written
 * in whole batch images that end on multiples of 4096, past the page cache where
 * the file system takes it. In work a segment bears .part; sync gives it its name
 * once it is full, finish the last one. */

enum { MAX_CUTS = 64 };

/* One side of a segment. */
struct half {
    int fd;
    bool direct;
    uint64_t len;    /* writer: octets put */
    uint64_t synced; /* registrar: octets that are committed */
    char path[256];  /* of the .part, for messages */
};

struct segment {
    uint32_t number;
    struct half chain, key;
    bool name_synced;     /* registrar: the directories know the .part names durably */
    struct segment *next; /* guarded by lock */
};

/* The end of a commit: all segments before `number`, and these lengths of it. */
struct cut {
    uint32_t number;
    uint64_t chain_len, key_len;
};

/* The two writes of one batch. */
struct slot {
    struct cm_aio_req chain, key;
};

struct tar_sink {
    struct cm_sink base;
    struct cm_sink_conf conf;
    struct cm_aio *aio;
    char why[200];
    char how[120];
    struct slot *slot;       /* writer: one for each batch of the pool */
    struct segment *current; /* writer; also in the list */
    uint32_t next_number;    /* writer */
    uint8_t *zeros;          /* CM_TAR_END octets, aligned; constant */

    pthread_mutex_t lock; /* guards the list's links and the cuts */
    struct segment *first, *last;
    struct cut cut[MAX_CUTS];
    size_t cuts_head, cuts;

    struct cut synced; /* registrar: the commit that was synced last */
};

static void half_close(struct half *h)
{
    cm_fd_close(&h->fd);
}

static void segment_free(struct segment *g)
{
    if (g == NULL)
        return;
    half_close(&g->chain);
    half_close(&g->key);
    free(g);
}

static void name_of(uint32_t number, const char *suffix, char out[24])
{
    (void) snprintf(out, 24, "%06u.tar%s", number, suffix);
}

static cm_err half_open(int dirfd, const char *dir, uint32_t number, mode_t mode, struct half *h,
                        struct cm_error *err)
{
    char name[24];

    name_of(number, ".part", name);
    (void) snprintf(h->path, sizeof h->path, "%.220s/%s", dir, name);
    CM_TRY(cm_file_create(dirfd, dir, name, 0, mode, &h->fd, err));
    h->direct = cm_file_direct(h->fd);
    return CM_OK;
}

static const char *chains_path(const struct tar_sink *s, char out[256])
{
    (void) snprintf(out, 256, "%.240s/chains", s->conf.fleet_path);
    return out;
}

static cm_err segment_open(struct tar_sink *s, struct cm_error *err)
{
    struct segment *g = calloc(1, sizeof *g);
    char dir[256];
    cm_err rc = CM_OK;

    if (g == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for a segment");
    g->number = s->next_number;
    g->chain.fd = g->key.fd = -1;
    rc = half_open(s->conf.chains_fd, chains_path(s, dir), g->number, 0644, &g->chain, err);
    if (rc == CM_OK) {
        rc = half_open(s->conf.keys_fd, s->conf.keys_path, g->number, 0600, &g->key, err);
        if (rc != CM_OK) {
            char name[24];
            name_of(g->number, ".part", name);
            (void) cm_sys_unlinkat(s->conf.chains_fd, name, 0); /* empty: nothing is lost */
        }
    }
    if (rc != CM_OK) {
        segment_free(g);
        return rc;
    }
    s->next_number++;
    (void) pthread_mutex_lock(&s->lock);
    if (s->last != NULL)
        s->last->next = g;
    else
        s->first = g;
    s->last = g;
    (void) pthread_mutex_unlock(&s->lock);
    s->current = g;
    return CM_OK;
}

static void tar_close(struct cm_sink *base)
{
    struct tar_sink *s = (struct tar_sink *) base;

    if (s == NULL)
        return;
    if (s->aio != NULL)
        s->aio->ops->close(s->aio);
    while (s->first != NULL) {
        struct segment *g = s->first;
        s->first = g->next;
        segment_free(g);
    }
    (void) pthread_mutex_destroy(&s->lock);
    free(s->zeros);
    free(s->slot);
    free(s);
}

static cm_err tar_open(const struct cm_sink_conf *conf, struct cm_sink **out, struct cm_error *err)
{
    struct tar_sink *s = calloc(1, sizeof *s);
    const struct cm_span slabs[CM_AIO_SLABS] = { conf->chain_slab, conf->key_slab };
    cm_err rc = CM_OK;

    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the writer");
    (void) pthread_mutex_init(&s->lock, NULL);
    s->base.ops = &cm_sink_tar_ops;
    s->conf = *conf;
    s->next_number = conf->first_unit;
    s->slot = calloc(conf->batches, sizeof *s->slot);
    s->zeros = aligned_alloc(4096, CM_TAR_END);
    if (s->slot == NULL || s->zeros == NULL)
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "no memory for the writer");
    if (rc == CM_OK) {
        memset(s->zeros, 0, CM_TAR_END);
        rc = cm_aio_open(conf->io, 2 * conf->batches, slabs, &s->aio, s->why, sizeof s->why, err);
    }
    /* The first segment now: a directory that can't be written is found before a key is made. */
    if (rc == CM_OK)
        rc = segment_open(s, err);
    if (rc != CM_OK) {
        tar_close(&s->base);
        return rc;
    }
    (void) snprintf(s->how, sizeof s->how, "%s, %s", s->aio->ops->how(s->aio),
                    s->current->chain.direct && s->current->key.direct ? "direct I/O" : "page cache");
    *out = &s->base;
    return CM_OK;
}

static cm_err write_half(struct tar_sink *s, struct half *h, struct cm_aio_req *req, const uint8_t *data,
                         size_t len, int buffer, struct cm_batch *b, struct cm_error *err)
{
    *req = (struct cm_aio_req) {
        .fd = h->fd, .path = h->path, .data = data, .len = len, .offset = h->len, .buffer = buffer, .owner = b
    };
    b->inflight++;
    h->len += len;
    const cm_err rc = s->aio->ops->write(s->aio, req, err);
    if (rc != CM_OK)
        b->inflight--;
    return rc;
}

static cm_err tar_put(struct cm_sink *base, struct cm_batch *b, enum cm_put *how, struct cm_error *err)
{
    struct tar_sink *s = (struct tar_sink *) base;
    struct slot *slot = &s->slot[b->index];

    CM_ASSERT(b->index < s->conf.batches && b->chain_len % CM_TAR_ALIGN == 0 &&
              b->keys_len % CM_TAR_ALIGN == 0);
    if (s->current->chain.len > 0 && s->current->chain.len + b->chain_len > s->conf.segment_bytes)
        CM_TRY(segment_open(s, err));
    b->unit = s->current->number;
    b->chain_base = s->current->chain.len;
    b->key_base = s->current->key.len;
    *how = CM_PUT_PENDING;
    CM_POINT("bundles.put");
    CM_TRY(write_half(s, &s->current->chain, &slot->chain, b->chain, b->chain_len, 0, b, err));
    return write_half(s, &s->current->key, &slot->key, b->keys, b->keys_len, 1, b, err);
}

static cm_err tar_reap(struct cm_sink *base, bool wait, struct cm_batch **out, struct cm_error *err)
{
    struct tar_sink *s = (struct tar_sink *) base;
    struct cm_aio_req *req = NULL;

    *out = NULL;
    do {
        const cm_err rc = s->aio->ops->reap(s->aio, wait, &req, err);
        if (req != NULL) {
            struct cm_batch *b = req->owner;
            CM_ASSERT(b->inflight > 0);
            if (--b->inflight == 0)
                *out = b;
        }
        CM_TRY(rc);
    } while (req != NULL && *out == NULL);
    return CM_OK;
}

static cm_err tar_cut(struct cm_sink *base, struct cm_error *err)
{
    struct tar_sink *s = (struct tar_sink *) base;
    cm_err rc = CM_OK;

    (void) pthread_mutex_lock(&s->lock);
    if (s->cuts == MAX_CUTS)
        rc = cm_fail(err, CM_E_LIMIT, CM_HERE, "bug: more than %d commits wait for their sync", MAX_CUTS);
    else
        s->cut[(s->cuts_head + s->cuts++) % MAX_CUTS] =
            (struct cut) { s->current->number, s->current->chain.len, s->current->key.len };
    (void) pthread_mutex_unlock(&s->lock);
    return rc;
}

/* fsync of both directories: names made or changed since are durable. */
static cm_err sync_names(const struct tar_sink *s, struct cm_error *err)
{
    char dir[256];

    if (!s->conf.durable)
        return CM_OK;
    CM_TRY(cm_dir_sync(s->conf.keys_fd, s->conf.keys_path, err));
    return cm_dir_sync(s->conf.chains_fd, chains_path(s, dir), err);
}

/* Keys before chains, here and below: a chain without its key is useless, a key
 * without its chain merely unlisted. */
static cm_err sync_segment(struct tar_sink *s, struct segment *g, struct cm_error *err)
{
    if (!s->conf.durable)
        return CM_OK;
    CM_TRY(cm_file_sync(g->key.fd, g->key.path, err));
    CM_TRY(cm_file_sync(g->chain.fd, g->chain.path, err));
    if (!g->name_synced)
        CM_TRY(sync_names(s, err));
    g->name_synced = true;
    return CM_OK;
}

static cm_err end_half(const struct tar_sink *s, struct half *h, struct cm_error *err)
{
    CM_TRY(cm_file_write(h->fd, h->path, s->zeros, CM_TAR_END, h->synced, err));
    return s->conf.durable ? cm_file_sync(h->fd, h->path, err) : CM_OK;
}

/* End blocks behind what is committed, then the final names. */
static cm_err end_segment(struct tar_sink *s, struct segment *g, struct cm_error *err)
{
    char part[24], name[24], dir[256];

    name_of(g->number, ".part", part);
    name_of(g->number, "", name);
    CM_POINT("segment.end");
    CM_TRY(end_half(s, &g->key, err));
    CM_TRY(end_half(s, &g->chain, err));
    CM_POINT("segment.rename");
    CM_TRY(cm_rename_new(s->conf.keys_fd, s->conf.keys_path, part, name, err));
    CM_POINT("segment.renamed.key");
    CM_TRY(cm_rename_new(s->conf.chains_fd, chains_path(s, dir), part, name, err));
    CM_POINT("segment.renamed");
    return sync_names(s, err);
}

/* The oldest segment, taken off the list. */
static struct segment *pop_segment(struct tar_sink *s)
{
    (void) pthread_mutex_lock(&s->lock);
    struct segment *g = s->first;
    if (g != NULL) {
        s->first = g->next;
        if (s->first == NULL)
            s->last = NULL;
    }
    (void) pthread_mutex_unlock(&s->lock);
    return g;
}

/* The oldest segment, or the one behind g; the writer may append meanwhile. */
static struct segment *segment_after(struct tar_sink *s, const struct segment *g)
{
    (void) pthread_mutex_lock(&s->lock);
    struct segment *next = g == NULL ? s->first : g->next;
    (void) pthread_mutex_unlock(&s->lock);
    return next;
}

/* What the commit that is being synced has of the segment. */
static cm_err tell_place(struct tar_sink *s, const struct segment *g, struct cm_error *err)
{
    struct cm_places *const p = s->conf.places;
    const bool full = g->number < s->synced.number;

    if (p == NULL)
        return CM_OK;
    if (g->number == segment_after(s, NULL)->number)
        p->units = 0;
    if (p->units == CM_PLACES_UNITS)
        CM_FAIL(err, CM_E_LIMIT, "bug: a commit wrote to more than %d segments", CM_PLACES_UNITS);
    p->unit[p->units++] = (struct cm_unit) { .number = g->number,
                                             .chain_len = full ? g->chain.len : s->synced.chain_len,
                                             .key_len = full ? g->key.len : s->synced.key_len };
    return CM_OK;
}

static cm_err tar_sync(struct cm_sink *base, struct cm_error *err)
{
    struct tar_sink *s = (struct tar_sink *) base;

    (void) pthread_mutex_lock(&s->lock);
    CM_ASSERT(s->cuts > 0);
    s->synced = s->cut[s->cuts_head];
    s->cuts_head = (s->cuts_head + 1) % MAX_CUTS;
    s->cuts--;
    (void) pthread_mutex_unlock(&s->lock);
    CM_POINT("bundles.sync");
    for (struct segment *g = segment_after(s, NULL); g != NULL && g->number <= s->synced.number;
         g = segment_after(s, g)) {
        CM_TRY(sync_segment(s, g, err));
        CM_TRY(tell_place(s, g, err));
    }
    CM_POINT("bundles.synced");
    return CM_OK;
}

/* First all that is committed is noted, so that finish keeps it whatever fails here;
 * then the segments that the writer has left behind, which are full, are ended. */
static cm_err tar_settle(struct cm_sink *base, struct cm_error *err)
{
    struct tar_sink *s = (struct tar_sink *) base;
    struct segment *g = segment_after(s, NULL);

    for (; g != NULL && g->number < s->synced.number; g = segment_after(s, g)) {
        g->chain.synced = g->chain.len;
        g->key.synced = g->key.len;
    }
    CM_ASSERT(g != NULL && g->number == s->synced.number);
    g->chain.synced = s->synced.chain_len;
    g->key.synced = s->synced.key_len;
    while ((g = segment_after(s, NULL)) != NULL && g->number < s->synced.number) {
        CM_TRY(end_segment(s, g, err));
        segment_free(pop_segment(s));
    }
    return CM_OK;
}

/* Takes away what is not committed; key octets are overwritten first. The file may
 * be shorter than what was put: the failure may have been a full disk. */
static cm_err cut_half(const struct tar_sink *s, struct half *h, bool is_key, struct cm_error *err)
{
    const off_t end = lseek(h->fd, 0, SEEK_END);

    if (end < 0)
        CM_FAIL(err, CM_E_IO, "can't find the end of %s", h->path);
    if (is_key)
        CM_TRY(cm_file_buffered(h->fd, h->path, err)); /* a short write ends anywhere */
    for (uint64_t at = h->synced; is_key && at < (uint64_t) end; at += CM_TAR_END)
        CM_TRY(cm_file_write(h->fd, h->path, s->zeros,
                             (uint64_t) end - at < CM_TAR_END ? (size_t) ((uint64_t) end - at) : CM_TAR_END,
                             at, err));
    if (is_key && (uint64_t) end > h->synced && s->conf.durable)
        CM_TRY(cm_file_sync(h->fd, h->path, err));
    return cm_file_truncate(h->fd, h->path, h->synced, err);
}

static cm_err finish_segment(struct tar_sink *s, struct segment *g, struct cm_error *err)
{
    char part[24];

    /* The chain first: on a full disk that makes room for all that follows. */
    CM_TRY(cut_half(s, &g->chain, false, err));
    CM_TRY(cut_half(s, &g->key, true, err));
    if (g->chain.synced > 0)
        return end_segment(s, g, err);
    name_of(g->number, ".part", part);
    if (cm_sys_unlinkat(s->conf.keys_fd, part, 0) != 0 || cm_sys_unlinkat(s->conf.chains_fd, part, 0) != 0)
        CM_FAIL(err, CM_E_IO, "can't remove the empty segment %s", g->key.path);
    return sync_names(s, err);
}

static cm_err tar_finish(struct cm_sink *base, struct cm_error *err)
{
    struct tar_sink *s = (struct tar_sink *) base;
    struct segment *g = NULL;
    cm_err rc = CM_OK;

    while ((g = pop_segment(s)) != NULL) {
        const cm_err one = finish_segment(s, g, rc == CM_OK ? err : NULL);
        if (rc == CM_OK)
            rc = one;
        segment_free(g);
    }
    s->current = NULL;
    return rc;
}

const char *cm_sink_tar_how(const struct cm_sink *s)
{
    return s->ops == &cm_sink_tar_ops ? ((const struct tar_sink *) s)->how : "";
}

const char *cm_sink_tar_why(const struct cm_sink *s)
{
    return s->ops == &cm_sink_tar_ops ? ((const struct tar_sink *) s)->why : "";
}

const struct cm_sink_ops cm_sink_tar_ops = { .name = "tar",
                                             .caps = CM_SINK_BUNDLE | CM_SINK_ASYNC,
                                             .open = tar_open,
                                             .put = tar_put,
                                             .reap = tar_reap,
                                             .cut = tar_cut,
                                             .sync = tar_sync,
                                             .settle = tar_settle,
                                             .finish = tar_finish,
                                             .close = tar_close };
