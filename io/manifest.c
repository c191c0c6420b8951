#include "engine/row.h"
#include "engine/xxh.h"
#include "io/file.h"
#include "io/index.h"
#include "io/sinks.h"
#include "io/sys.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

/* manifest.ndjson: the rows of a commit are collected in memory and written when
 * its bundles are durable; the index is fed with what was written.
 *
 * The last row of a commit gets spaces in front of its LF up to the next multiple
 * of 4096: committed blocks are never written again, and the file takes direct
 * I/O, which here saves 5 % of a P-256 run's processor time.
 *
 * A resumed run goes on behind what is committed. */
enum { ALIGN = 4096 };

struct ndjson_sink {
    struct cm_sink base;
    enum cm_layout layout;
    bool durable, fresh; /* fresh: the file's name is not durable yet */
    bool untrue;         /* the index has been fed with rows that are gone */
    int fd, fleet_fd;
    char path[300], fleet_path[256];
    uint64_t synced;    /* octets that a sync covered */
    uint64_t committed; /* those that are on record as well */
    struct cm_places *places;
    struct cm_writer rows; /* of the commit under way; mapped once, pages taken as they are used */
    struct cm_index_builder *index;
};

static void ndjson_close(struct cm_sink *base)
{
    struct ndjson_sink *s = (struct ndjson_sink *) base;

    if (s == NULL)
        return;
    cm_index_builder_close(s->index);
    if (s->rows.data != NULL)
        (void) munmap(s->rows.data, s->rows.cap);
    cm_fd_close(&s->fd);
    free(s);
}

static cm_err open_parts(struct ndjson_sink *s, const struct cm_sink_conf *conf, struct cm_error *err)
{
    void *map = mmap(NULL, conf->rows_max, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (map == MAP_FAILED)
        CM_FAIL(err, CM_E_NOMEM, "no memory for %zu octets of manifest rows", conf->rows_max);
    s->rows = cm_writer(map, conf->rows_max);
    if (conf->manifest_from > 0) /* the index is made again at the end */
        CM_TRY(cm_file_open_write(conf->fleet_fd, conf->fleet_path, "manifest.ndjson", &s->fd, err));
    else
        CM_TRY(cm_file_create(conf->fleet_fd, conf->fleet_path, "manifest.ndjson", 0, 0644, &s->fd, err));
    (void) cm_file_direct(s->fd);
    return conf->manifest_from > 0 ? CM_OK : cm_index_builder_open(conf->fleet_path, &s->index, err);
}

static cm_err ndjson_open(const struct cm_sink_conf *conf, struct cm_sink **out, struct cm_error *err)
{
    struct ndjson_sink *s = calloc(1, sizeof *s);
    cm_err rc = CM_OK;

    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the manifest");
    s->base.ops = &cm_sink_ndjson_ops;
    s->layout = conf->layout;
    s->durable = conf->durable;
    s->fresh = conf->manifest_from == 0;
    s->synced = s->committed = conf->manifest_from;
    s->places = conf->places;
    s->fd = -1;
    s->fleet_fd = conf->fleet_fd;
    (void) snprintf(s->fleet_path, sizeof s->fleet_path, "%s", conf->fleet_path);
    (void) snprintf(s->path, sizeof s->path, "%s/manifest.ndjson", conf->fleet_path);
    rc = open_parts(s, conf, err);
    if (rc != CM_OK) {
        ndjson_close(&s->base);
        return rc;
    }
    *out = &s->base;
    return CM_OK;
}

static cm_err ndjson_put(struct cm_sink *base, struct cm_batch *b, enum cm_put *how, struct cm_error *err)
{
    struct ndjson_sink *s = (struct ndjson_sink *) base;

    *how = CM_PUT_DONE;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct cm_rec *rec = &b->rec[i];
        char id[64];
        struct cm_writer w = cm_writer(id, sizeof id);

        cm_put_hex(&w, rec->certificate_id, sizeof rec->certificate_id);
        if (s->index != NULL)
            CM_TRY(cm_index_builder_push(s->index, cm_span(b->ids + rec->id_off, rec->id_len),
                                         cm_span(id, w.len), s->synced + s->rows.len, err));
        cm_row_place(b, rec, s->layout, &s->rows);
    }
    if (!cm_writer_ok(&s->rows))
        CM_FAIL(err, CM_E_NOSPACE, "bug: a commit has more than %zu octets of rows", s->rows.cap);
    return CM_OK;
}

static cm_err pad_commit(struct ndjson_sink *s, struct cm_error *err)
{
    const size_t gap = (ALIGN - s->rows.len % ALIGN) % ALIGN;
    uint8_t *at = cm_put_room(&s->rows, gap);

    if (at == NULL || s->rows.len == 0)
        CM_FAIL(err, CM_E_NOSPACE, "bug: a commit without rows, or of more than %zu octets", s->rows.cap);
    if (gap > 0) {
        memset(at - 1, ' ', gap); /* over the LF, which moves to the end */
        at[gap - 1] = '\n';
    }
    return CM_OK;
}

static cm_err ndjson_sync(struct cm_sink *base, struct cm_error *err)
{
    struct ndjson_sink *s = (struct ndjson_sink *) base;

    CM_TRY(pad_commit(s, err));
    CM_POINT("rows.write");
    CM_TRY(cm_file_write(s->fd, s->path, s->rows.data, s->rows.len, s->synced, err));
    CM_POINT("rows.sync");
    if (s->durable) {
        CM_TRY(cm_file_sync(s->fd, s->path, err));
        if (s->fresh)
            CM_TRY(cm_dir_sync(s->fleet_fd, s->fleet_path, err));
        s->fresh = false;
    }
    CM_POINT("rows.synced");
    s->synced += s->rows.len;
    if (s->places != NULL) {
        s->places->manifest_bytes = s->synced;
        cm_xxh128(s->rows.data, s->rows.len, s->places->rows_xxh3);
    }
    s->rows.len = 0;
    return CM_OK;
}

static cm_err ndjson_settle(struct cm_sink *base, struct cm_error *err)
{
    struct ndjson_sink *s = (struct ndjson_sink *) base;

    (void) err;
    s->committed = s->synced;
    return CM_OK;
}

static cm_err ndjson_finish(struct cm_sink *base, struct cm_error *err)
{
    struct ndjson_sink *s = (struct ndjson_sink *) base;
    const off_t end = lseek(s->fd, 0, SEEK_END);

    /* After a failure: rows that are not committed, and what the index knows of them. */
    if (end < 0 || (uint64_t) end != s->committed || s->synced != s->committed || s->rows.len > 0) {
        s->untrue = true;
        CM_TRY(cm_file_truncate(s->fd, s->path, s->committed, err));
        if (s->places != NULL) /* run.json tells of it, and means what is on record */
            s->places->manifest_bytes = s->committed;
        return s->durable ? cm_file_sync(s->fd, s->path, err) : CM_OK;
    }
    return CM_OK;
}

static cm_err ndjson_index(struct cm_sink *base, struct cm_error *err)
{
    struct ndjson_sink *s = (struct ndjson_sink *) base;

    return s->index != NULL && !s->untrue ? cm_index_builder_finish(s->index, s->committed, err)
                                          : cm_index_rebuild(s->fleet_path, err);
}

static cm_err ndjson_reap(struct cm_sink *s, bool wait, struct cm_batch **out, struct cm_error *err)
{
    (void) s;
    (void) wait;
    (void) err;
    *out = NULL;
    return CM_OK;
}

static cm_err ndjson_cut(struct cm_sink *s, struct cm_error *err)
{
    (void) s;
    (void) err;
    return CM_OK;
}

const struct cm_sink_ops cm_sink_ndjson_ops = { .name = "ndjson",
                                                .caps = CM_SINK_MANIFEST,
                                                .open = ndjson_open,
                                                .put = ndjson_put,
                                                .reap = ndjson_reap,
                                                .cut = ndjson_cut,
                                                .sync = ndjson_sync,
                                                .settle = ndjson_settle,
                                                .finish = ndjson_finish,
                                                .index = ndjson_index,
                                                .close = ndjson_close };
