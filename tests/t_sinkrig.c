#include "tests/t_sinkrig.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

const struct t_way t_ways[] = {
    { "tar over io_uring", "tar", CM_LAYOUT_TAR, CM_IO_URING },
    { "tar over blocking writes", "tar", CM_LAYOUT_TAR, CM_IO_POSIX },
    { "tree", "tree", CM_LAYOUT_TREE, CM_IO_POSIX },
};
const size_t t_ways_count = CM_COUNT(t_ways);

bool t_rig_open(struct t_rig *g, const struct t_way *way, uint64_t segment_bytes)
{
    const struct t_plant_conf conf = { .layout = way->layout,
                                       .devices = T_BATCH_DEVICES,
                                       .batches = T_PUT_MAX };
    struct cm_error err = { 0 };

    *g = (struct t_rig) { .way = way, .seq = 1 };
    t_plant_open(&g->plant, &conf);
    t_place_open(&g->place);
    struct cm_sink_conf sink = t_place_sinks(&g->place, &g->plant, way->io);
    sink.segment_bytes = segment_bytes != 0 ? segment_bytes : sink.segment_bytes;
    cr_assert_eq(cm_minter_open(&g->plant.mint, &g->minter, &err), CM_OK, "%s", err.what);
    if (cm_sink_find(way->sink)->open(&sink, &g->sink, &err) == CM_OK)
        return true;
    cr_assert_eq(way->io, CM_IO_URING, "%s: %s", way->name, err.what);
    cr_log_warn("NOT TESTED, %s can't be had: %s", way->name, err.what);
    t_rig_close(g);
    return false;
}

void t_rig_close(struct t_rig *g)
{
    if (g->sink != NULL)
        g->sink->ops->close(g->sink);
    for (uint32_t i = 0; i < g->put; i++) {
        free(g->copy[i].chain);
        free(g->copy[i].keys);
    }
    cm_minter_close(g->minter);
    t_place_close(&g->place);
    t_plant_close(&g->plant);
}

static void copy_batch(struct t_copy *c, const struct cm_batch *b)
{
    *c = (struct t_copy) { .chain_len = b->chain_len, .keys_len = b->keys_len, .count = b->count };
    c->chain = malloc(b->chain_len);
    c->keys = malloc(b->keys_len);
    memcpy(c->chain, b->chain, b->chain_len);
    memcpy(c->keys, b->keys, b->keys_len);
    memcpy(c->rec, b->rec, b->count * sizeof c->rec[0]);
    cr_assert_leq(b->ids_len, sizeof c->ids);
    memcpy(c->ids, b->ids, b->ids_len);
}

static void home(struct t_rig *g, struct cm_batch *b)
{
    cr_assert_eq(b->inflight, 0);
    cm_pool_release(g->plant.pool, b);
}

cm_err t_rig_put(struct t_rig *g, struct cm_error *err)
{
    struct cm_batch *b = t_plant_batch(&g->plant, g->minter, g->seq, " ü");
    struct t_copy *c = &g->copy[g->put];
    enum cm_put how = CM_PUT_BUSY;
    cm_err rc = CM_OK;

    cr_assert_lt(g->put, T_PUT_MAX);
    copy_batch(c, b);
    b->state = CM_BATCH_WRITING;
    g->seq += b->count;
    g->put++;
    for (int tries = 0; rc == CM_OK && how == CM_PUT_BUSY; tries++) {
        cr_assert_lt(tries, 100, "%s: busy for ever", g->way->name);
        rc = g->sink->ops->put(g->sink, b, &how, err);
        if (rc == CM_OK && how == CM_PUT_BUSY)
            rc = t_rig_reap(g, err);
    }
    c->unit = b->unit;
    c->chain_base = b->chain_base;
    c->key_base = b->key_base;
    if ((rc == CM_OK && how == CM_PUT_PENDING) || b->inflight > 0)
        g->pending++;
    else
        home(g, b);
    return rc;
}

cm_err t_rig_reap(struct t_rig *g, struct cm_error *err)
{
    cm_err rc = CM_OK;

    for (int calls = 0; g->pending > 0; calls++) {
        struct cm_batch *b = NULL;
        struct cm_error one = { 0 };
        cr_assert_lt(calls, 1000, "%s: %u batches don't come back", g->way->name, g->pending);
        const cm_err got = g->sink->ops->reap(g->sink, true, &b, &one);
        cr_assert(got != CM_OK || b != NULL, "%s: %u batches are kept", g->way->name, g->pending);
        if (got != CM_OK && rc == CM_OK) {
            rc = got;
            if (err != NULL)
                *err = one;
        }
        if (b != NULL) {
            home(g, b);
            g->pending--;
        }
    }
    return rc;
}

void t_rig_commit(struct t_rig *g, unsigned batches)
{
    struct cm_error err = { 0 };

    while (batches-- > 0)
        cr_assert_eq(t_rig_put(g, &err), CM_OK, "%s: %s", g->way->name, err.what);
    cr_assert_eq(t_rig_reap(g, &err), CM_OK, "%s: %s", g->way->name, err.what);
    cr_assert_eq(g->sink->ops->cut(g->sink, &err), CM_OK, "%s: %s", g->way->name, err.what);
}

static void expect_octets(const char *path, const uint8_t *data, size_t len, uint64_t offset,
                          const char *when)
{
    uint8_t *found = malloc(len);
    const int fd = open(path, O_RDONLY | O_CLOEXEC);

    cr_assert_geq(fd, 0, "%s: %s is missing", when, path);
    cr_assert_eq(pread(fd, found, len, (off_t) offset), (ssize_t) len, "%s: %s is short", when, path);
    cr_assert(memcmp(found, data, len) == 0, "%s: other octets at %llu of %s", when,
              (unsigned long long) offset, path);
    (void) close(fd);
    free(found);
}

/* "SN00000001 ü" as a file name, by hand. */
static void expect_file(const struct t_rig *g, const struct t_copy *c, uint32_t i, bool key, const char *when)
{
    const struct cm_rec *r = &c->rec[i];
    char path[300];
    struct stat st;

    (void) snprintf(path, sizeof path, "%s/%s/%06u/%.10s%%20%%C3%%BC.%s", g->place.out,
                    key ? "keys" : "chains", c->unit, c->ids + r->id_off, key ? "key" : "crt");
    if (key)
        expect_octets(path, c->keys + r->key_off, r->key_len, 0, when);
    else
        expect_octets(path, c->chain + r->chain_off, r->chain_len, 0, when);
    cr_assert(stat(path, &st) == 0 && st.st_size == (off_t) (key ? r->key_len : r->chain_len), "%s: %s", when,
              path);
    cr_assert_eq(st.st_mode & 07777, key ? 0600u : 0644u, "%s: mode %o", path, (unsigned) st.st_mode);
}

void t_rig_expect(const struct t_rig *g, uint32_t from, uint32_t to, const char *when)
{
    char path[300];

    for (uint32_t n = from; n < to; n++) {
        const struct t_copy *c = &g->copy[n];
        for (uint32_t i = 0; g->way->layout == CM_LAYOUT_TREE && i < c->count; i++) {
            expect_file(g, c, i, false, when);
            expect_file(g, c, i, true, when);
        }
        if (g->way->layout == CM_LAYOUT_TREE)
            continue;
        (void) snprintf(path, sizeof path, "%s/chains/%06u.tar", g->place.out, c->unit);
        expect_octets(path, c->chain, c->chain_len, c->chain_base, when);
        (void) snprintf(path, sizeof path, "%s/keys/%06u.tar", g->place.out, c->unit);
        expect_octets(path, c->keys, c->keys_len, c->key_base, when);
    }
}

void t_rig_names(const struct t_rig *g, unsigned *unfinished, unsigned *finished)
{
    static const char *const side[] = { "chains", "keys" };

    *unfinished = *finished = 0;
    for (size_t i = 0; i < CM_COUNT(side); i++) {
        char path[300];
        const struct dirent *e = NULL;
        (void) snprintf(path, sizeof path, "%s/%s", g->place.out, side[i]);
        DIR *dir = opendir(path);
        cr_assert_not_null(dir);
        while ((e = readdir(dir)) != NULL) {
            const size_t n = strlen(e->d_name);
            const bool part = n > 5 && strcmp(e->d_name + n - 5, ".part") == 0;
            *unfinished += part;
            *finished += !part && e->d_name[0] != '.';
        }
        (void) closedir(dir);
    }
}

static uint64_t octets;

static int add_octets(const char *path, const struct stat *st, int type)
{
    if (type == FTW_F && strstr(path, "/run/") != NULL)
        octets += (uint64_t) st->st_size;
    return 0;
}

uint64_t t_rig_octets(const struct t_rig *g)
{
    octets = 0;
    cr_assert_eq(ftw(g->place.base, add_octets, 8), 0);
    return octets;
}
