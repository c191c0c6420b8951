#include "io/sinks.h"

#include "engine/ident.h"
#include "io/file.h"
#include "io/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

/* --layout tree: two files a device, in shard directories that are published
 * whole: built as NNNNNN.part, made durable by one syncfs, renamed. A shard is
 * one commit.
 *
 * Files are made with plain openat, write and close: handed to the ring, an open
 * with O_CREAT always goes to a kernel thread, which took a quarter to three quarters more
 * processor time a file here (docs/speed.md has the figures). */

enum { MAX_SHARDS = 64 };

struct tree_sink {
    struct cm_sink base;
    struct cm_sink_conf conf;
    char chains_path[256];
    uint32_t next_number; /* writer, as the next two */
    int chain_fd, key_fd; /* of the shard in work; -1: none */
    char chain_dir[300], key_dir[300];

    pthread_mutex_t lock; /* guards the numbers of the shards that were cut */
    uint32_t cut[MAX_SHARDS];
    size_t cuts_head, cuts;
    uint32_t named, settled; /* registrar: shards before these have their names; are committed */
};

static void shard_name(uint32_t number, const char *suffix, char out[24])
{
    (void) snprintf(out, 24, "%06u%s", number, suffix);
}

static cm_err open_shard(struct tree_sink *s, struct cm_error *err)
{
    char name[24];

    shard_name(s->next_number, ".part", name);
    (void) snprintf(s->chain_dir, sizeof s->chain_dir, "%s/%s", s->chains_path, name);
    (void) snprintf(s->key_dir, sizeof s->key_dir, "%.250s/%s", s->conf.keys_path, name);
    CM_TRY(cm_dir_make(s->conf.keys_fd, s->conf.keys_path, name, 0700, &s->key_fd, err));
    return cm_dir_make(s->conf.chains_fd, s->chains_path, name, 0755, &s->chain_fd, err);
}

static void close_shard(struct tree_sink *s)
{
    cm_fd_close(&s->chain_fd);
    cm_fd_close(&s->key_fd);
}

static cm_err tree_open(const struct cm_sink_conf *conf, struct cm_sink **out, struct cm_error *err)
{
    struct tree_sink *s = calloc(1, sizeof *s);

    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the writer");
    s->base.ops = &cm_sink_tree_ops;
    s->conf = *conf;
    s->chain_fd = s->key_fd = -1;
    s->next_number = s->named = s->settled = conf->first_unit;
    (void) snprintf(s->chains_path, sizeof s->chains_path, "%.240s/chains", conf->fleet_path);
    (void) pthread_mutex_init(&s->lock, NULL);
    *out = &s->base;
    return CM_OK;
}

static cm_err put_file(int dirfd, const char *dir, struct cm_span stem, const char *suffix, mode_t mode,
                       const uint8_t *data, size_t len, struct cm_error *err)
{
    char name[CM_ID_NAME_MAX + 8], path[440];
    struct cm_writer w = cm_writer(name, sizeof name);
    int fd = -1;
    cm_err rc = CM_OK;

    cm_put_id_name(&w, stem);
    cm_put(&w, suffix, strlen(suffix) + 1);
    CM_ASSERT(cm_writer_ok(&w));
    /* No fchmod: the process runs with umask 022, which leaves 0644 and 0600 as they are. */
    fd = cm_sys_openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        CM_FAIL(err, CM_E_IO, "can't create %s/%s", dir, name);
    (void) snprintf(path, sizeof path, "%s/%s", dir, name);
    rc = cm_file_write(fd, path, data, len, 0, err);
    if (cm_sys_close(fd) != 0 && rc == CM_OK)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't write %s", path);
    return rc;
}

static cm_err tree_put(struct cm_sink *base, struct cm_batch *b, enum cm_put *how, struct cm_error *err)
{
    struct tree_sink *s = (struct tree_sink *) base;

    *how = CM_PUT_DONE;
    if (s->key_fd < 0)
        CM_TRY(open_shard(s, err));
    CM_POINT("bundles.put");
    b->unit = s->next_number;
    for (uint32_t i = 0; i < b->count; i++) {
        const struct cm_rec *rec = &b->rec[i];
        const struct cm_span id = cm_span(b->ids + rec->id_off, rec->id_len);
        CM_TRY(put_file(s->key_fd, s->key_dir, id, ".key", 0600, b->keys + rec->key_off, rec->key_len, err));
        CM_TRY(put_file(s->chain_fd, s->chain_dir, id, ".crt", 0644, b->chain + rec->chain_off,
                        rec->chain_len, err));
    }
    return CM_OK;
}

static cm_err tree_reap(struct cm_sink *s, bool wait, struct cm_batch **out, struct cm_error *err)
{
    (void) s;
    (void) wait;
    (void) err;
    *out = NULL;
    return CM_OK;
}

static cm_err tree_cut(struct cm_sink *base, struct cm_error *err)
{
    struct tree_sink *s = (struct tree_sink *) base;
    cm_err rc = CM_OK;

    (void) pthread_mutex_lock(&s->lock);
    if (s->cuts == MAX_SHARDS)
        rc = cm_fail(err, CM_E_LIMIT, CM_HERE, "bug: more than %d shards wait for their sync", MAX_SHARDS);
    else
        s->cut[(s->cuts_head + s->cuts++) % MAX_SHARDS] = s->next_number;
    (void) pthread_mutex_unlock(&s->lock);
    s->next_number++;
    close_shard(s);
    return rc;
}

static cm_err sync_all(int fd, const char *path, struct cm_error *err)
{
    if (cm_sys_syncfs(fd) != 0)
        CM_FAIL(err, CM_E_IO, "can't make the file system of %s durable", path);
    return CM_OK;
}

static cm_err tree_sync(struct cm_sink *base, struct cm_error *err)
{
    struct tree_sink *s = (struct tree_sink *) base;
    char part[24], name[24];

    (void) pthread_mutex_lock(&s->lock);
    CM_ASSERT(s->cuts > 0);
    const uint32_t number = s->cut[s->cuts_head];
    s->cuts_head = (s->cuts_head + 1) % MAX_SHARDS;
    s->cuts--;
    (void) pthread_mutex_unlock(&s->lock);
    shard_name(number, ".part", part);
    shard_name(number, "", name);
    CM_POINT("bundles.sync");
    if (s->conf.durable) {
        CM_TRY(sync_all(s->conf.keys_fd, s->conf.keys_path, err));
        CM_TRY(sync_all(s->conf.chains_fd, s->chains_path, err));
    }
    s->named = number + 1;
    CM_POINT("shard.rename");
    CM_TRY(cm_rename_new(s->conf.keys_fd, s->conf.keys_path, part, name, err));
    CM_POINT("shard.renamed.key");
    CM_TRY(cm_rename_new(s->conf.chains_fd, s->chains_path, part, name, err));
    CM_POINT("shard.renamed");
    if (s->conf.durable) {
        CM_TRY(cm_dir_sync(s->conf.keys_fd, s->conf.keys_path, err));
        CM_TRY(cm_dir_sync(s->conf.chains_fd, s->chains_path, err));
    }
    if (s->conf.places != NULL) {
        s->conf.places->unit[0] = (struct cm_unit) { .number = number };
        s->conf.places->units = 1;
    }
    CM_POINT("bundles.synced");
    return CM_OK;
}

static cm_err tree_settle(struct cm_sink *base, struct cm_error *err)
{
    struct tree_sink *s = (struct tree_sink *) base;

    (void) err;
    s->settled = s->named;
    return CM_OK;
}

static cm_err discard(const struct tree_sink *s, const char *name, struct cm_error *err)
{
    CM_TRY(cm_dir_discard(s->conf.chains_fd, s->chains_path, name, false, err));
    return cm_dir_discard(s->conf.keys_fd, s->conf.keys_path, name, true, err);
}

static cm_err tree_finish(struct cm_sink *base, struct cm_error *err)
{
    struct tree_sink *s = (struct tree_sink *) base;
    char name[24];

    /* The writer has ended: its fields may be read. Shards that are not committed go,
     * whether they have their names or not. */
    close_shard(s);
    for (uint32_t n = s->settled; n <= s->next_number; n++) {
        shard_name(n, ".part", name);
        CM_TRY(discard(s, name, err));
        shard_name(n, "", name);
        CM_TRY(discard(s, name, err));
    }
    return CM_OK;
}

static void tree_close(struct cm_sink *base)
{
    struct tree_sink *s = (struct tree_sink *) base;

    if (s == NULL)
        return;
    close_shard(s);
    (void) pthread_mutex_destroy(&s->lock);
    free(s);
}

const struct cm_sink_ops cm_sink_tree_ops = { .name = "tree",
                                              .caps = CM_SINK_BUNDLE,
                                              .open = tree_open,
                                              .put = tree_put,
                                              .reap = tree_reap,
                                              .cut = tree_cut,
                                              .sync = tree_sync,
                                              .settle = tree_settle,
                                              .finish = tree_finish,
                                              .close = tree_close };
