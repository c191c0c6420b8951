/* Goal: a run ends rightly whatever happens: with all devices, at a stop, or after the failure of any part;
 * the first error is the one that is told, every batch comes home, and the rows on disk are those that were
 * counted, each with its bundle and key in place. Method: whole runs over every sink, with a sink that fails
 * at its k-th call of each kind, a source that fails, and stops at random moments. ThreadSanitizer watches.
 */
#include "tests/t_plant.h"

#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 4, DEVICES = 60, BATCH = 3 };

static unsigned passed, failed;

static void check(bool ok, const char *what, const char *detail)
{
    passed += ok;
    failed += !ok;
    if (!ok)
        (void) printf("FAILED: %s: %s\n", what, detail);
}

/* ---- a sink that fails ---- */

enum call { PUT, REAP, CUT, SYNC, SETTLE, FINISH, CALLS };
static const char *const call_name[] = { "put", "reap", "cut", "sync", "settle", "finish" };

struct faulty {
    struct cm_sink base;
    struct cm_sink *inner;
    enum call fails; /* this call … */
    unsigned at;     /* … the at-th time; 0: never */
    atomic_uint seen[CALLS];
};

static bool due(struct faulty *f, enum call call, struct cm_error *err)
{
    if (atomic_fetch_add(&f->seen[call], 1) + 1 != f->at || call != f->fails)
        return false;
    (void) cm_fail(err, CM_E_LIMIT, CM_HERE, "injected at %s %u", call_name[call], f->at);
    return true;
}

static cm_err faulty_put(struct cm_sink *base, struct cm_batch *b, enum cm_put *how, struct cm_error *err)
{
    struct faulty *f = (struct faulty *) base;

    return due(f, PUT, err) ? CM_E_LIMIT : f->inner->ops->put(f->inner, b, how, err);
}

static cm_err faulty_reap(struct cm_sink *base, bool wait, struct cm_batch **out, struct cm_error *err)
{
    struct faulty *f = (struct faulty *) base;

    *out = NULL;
    return due(f, REAP, err) ? CM_E_LIMIT : f->inner->ops->reap(f->inner, wait, out, err);
}

static cm_err faulty_cut(struct cm_sink *base, struct cm_error *err)
{
    struct faulty *f = (struct faulty *) base;

    return due(f, CUT, err) ? CM_E_LIMIT : f->inner->ops->cut(f->inner, err);
}

static cm_err faulty_sync(struct cm_sink *base, struct cm_error *err)
{
    struct faulty *f = (struct faulty *) base;

    return due(f, SYNC, err) ? CM_E_LIMIT : f->inner->ops->sync(f->inner, err);
}

/* Fails after the fact: what is committed stays so. */
static cm_err faulty_settle(struct cm_sink *base, struct cm_error *err)
{
    struct faulty *f = (struct faulty *) base;
    const cm_err rc = f->inner->ops->settle != NULL ? f->inner->ops->settle(f->inner, err) : CM_OK;

    return rc == CM_OK && due(f, SETTLE, err) ? CM_E_LIMIT : rc;
}

static cm_err faulty_finish(struct cm_sink *base, struct cm_error *err)
{
    struct faulty *f = (struct faulty *) base;

    return due(f, FINISH, err) ? CM_E_LIMIT : f->inner->ops->finish(f->inner, err);
}

static const struct cm_sink_ops faulty_ops = { .name = "faulty",
                                               .put = faulty_put,
                                               .reap = faulty_reap,
                                               .cut = faulty_cut,
                                               .sync = faulty_sync,
                                               .settle = faulty_settle,
                                               .finish = faulty_finish };

/* ---- a source that fails ---- */

struct dry {
    struct cm_source base;
    struct cm_source *inner;
    unsigned left;
};

static cm_err dry_next(struct cm_source *base, struct cm_batch *b, struct cm_error *err)
{
    struct dry *d = (struct dry *) base;

    if (d->left-- == 0)
        CM_FAIL(err, CM_E_INPUT, "injected at the source");
    return d->inner->ops->next(d->inner, b, err);
}

static const struct cm_source_ops dry_ops = { .name = "dry", .next = dry_next };

/* ---- one run ---- */

struct way {
    const char *name;
    enum cm_layout layout;
    enum cm_io_kind io;
};
static const struct way ways[] = { { "tar over io_uring", CM_LAYOUT_TAR, CM_IO_AUTO },
                                   { "tar over blocking writes", CM_LAYOUT_TAR, CM_IO_POSIX },
                                   { "tree", CM_LAYOUT_TREE, CM_IO_POSIX },
                                   { "nothing", CM_LAYOUT_NONE, CM_IO_POSIX } };

/* What shall happen, and what did. */
struct run {
    const struct way *way;
    enum call fails;
    unsigned at;
    bool in_manifest;      /* the manifest sink fails, not the bundle sink */
    unsigned source_fails; /* after so many batches; 0: never */
    long stop_ns;          /* stop after this; -1: never */
    cm_err rc;
    struct cm_error err;
    struct cm_pipeline_stats stats;
    bool injected;
};

static void drive(struct run *r, const struct cm_pipeline_conf *conf)
{
    struct cm_pipeline *p = NULL;

    CM_ASSERT(cm_pipeline_open(conf, &p, &r->err) == CM_OK);
    CM_ASSERT(cm_pipeline_start(p, &r->err) == CM_OK);
    if (r->stop_ns >= 0) {
        (void) nanosleep(&(struct timespec) { .tv_nsec = r->stop_ns }, NULL);
        cm_pipeline_stop(p);
    }
    do
        r->rc = cm_pipeline_wait(p, 10, &r->err);
    while (r->rc == CM_E_END);
    r->stats = cm_pipeline_stats(p);
    cm_pipeline_close(p);
}

/* A bundle sink that could not finish leaves its last segment without its name. */
static bool ended_in_part(const struct run *r)
{
    return r->injected && r->fails == FINISH && !r->in_manifest;
}

static void judge(const struct run *r, const struct t_place *place, const char *what)
{
    const char *expected = r->source_fails != 0 ? "injected at the source" : "injected at";
    const bool fails = r->injected || r->source_fails != 0;
    char detail[700];
    struct t_reading seen = { .rows = (long) r->stats.committed, .lines = (long) r->stats.committed };

    if (r->way->layout != CM_LAYOUT_NONE)
        seen = t_read_run(place->out);
    (void) snprintf(detail, sizeof detail,
                    "rc %x (%s), minted %llu, committed %llu, rows %ld, unfinished %ld; %.100s",
                    (unsigned) r->rc, r->err.what, (unsigned long long) r->stats.minted,
                    (unsigned long long) r->stats.committed, seen.rows, seen.unfinished, seen.why);
    if (fails)
        check(r->rc != CM_OK && strncmp(r->err.what, expected, strlen(expected)) == 0, what, detail);
    else
        check(r->rc == CM_OK, what, detail);
    check(seen.lines == (long) r->stats.committed && r->stats.committed <= r->stats.minted, what, detail);
    if (!ended_in_part(r))
        check(seen.rows == seen.lines && seen.unfinished == 0, what, detail);
    if (!fails && r->stop_ns < 0)
        check(r->stats.committed == DEVICES, what, detail);
    if (!fails)
        check(r->stats.committed == r->stats.minted, what, detail);
}

static void one_run(struct run *r)
{
    const struct t_plant_conf plant_conf = { .layout = r->way->layout,
                                             .devices = BATCH,
                                             .batches = cm_pipeline_batches(WORKERS) };
    struct t_plant plant;
    struct t_place place;
    struct faulty bundles = { .base = { &faulty_ops }, .fails = r->fails, .at = r->in_manifest ? 0 : r->at };
    struct faulty rows = { .base = { &faulty_ops }, .fails = r->fails, .at = r->in_manifest ? r->at : 0 };
    struct dry dry = { .base = { .ops = &dry_ops, .devices = DEVICES }, .left = r->source_fails };
    const bool none = r->way->layout == CM_LAYOUT_NONE;
    char what[160];

    t_plant_open(&plant, &plant_conf);
    t_place_open(&place);
    struct cm_sink_conf sinks = t_place_sinks(&place, &plant, r->way->io);
    sinks.segment_bytes = 64 << 10; /* several segments */
    sinks.durable = r->at == 0;
    const char *name = none ? "none" : r->way->layout == CM_LAYOUT_TREE ? "tree" : "tar";
    CM_ASSERT(cm_sink_find(name)->open(&sinks, &bundles.inner, &r->err) == CM_OK);
    CM_ASSERT(cm_sink_find(none ? "norows" : "ndjson")->open(&sinks, &rows.inner, &r->err) == CM_OK);
    dry.inner = t_plant_source(&plant, DEVICES);
    const struct cm_pipeline_conf conf = { .mint = plant.mint,
                                           .source = r->source_fails != 0 ? &dry.base : dry.inner,
                                           .pool = plant.pool,
                                           .bundles = &bundles.base,
                                           .manifest = &rows.base,
                                           .workers = WORKERS,
                                           .commit = { .bytes = 200 << 10, .devices = 7, .ms = 50 } };
    drive(r, &conf);
    r->injected = atomic_load(&(r->in_manifest ? &rows : &bundles)->seen[r->fails]) >= r->at && r->at != 0;
    bundles.inner->ops->close(bundles.inner);
    rows.inner->ops->close(rows.inner);
    dry.inner->ops->close(dry.inner);
    (void) snprintf(what, sizeof what, "%s, %s %s %u, source %u, stop %ld ns", r->way->name,
                    r->in_manifest ? "manifest" : "bundles", call_name[r->fails], r->at, r->source_fails,
                    r->stop_ns);
    judge(r, &place, what);
    t_place_close(&place);
    t_plant_close(&plant); /* asserts that every batch is home */
}

/* How often the call is made in a run without a fault is different from run to run; at the latest k it may
 * not be reached, but over the whole sweep each kind must have failed many times. */
static void faults(const struct way *way)
{
    static const unsigned k[] = { 1, 2, 3, 5, 8 };

    for (int in_manifest = 0; in_manifest < 2; in_manifest++)
        for (enum call call = PUT; call < CALLS; call++) {
            unsigned injected = 0;
            const bool never = (in_manifest != 0 && (call == REAP || call == CUT || call == SETTLE)) ||
                               (call == REAP && way->layout != CM_LAYOUT_TAR);
            for (size_t i = 0; i < CM_COUNT(k) && !never; i++) {
                struct run r = {
                    .way = way, .fails = call, .at = k[i], .in_manifest = in_manifest != 0, .stop_ns = -1
                };
                if (call == FINISH && k[i] > 1)
                    break;
                one_run(&r);
                injected += r.injected;
            }
            check(never || injected >= (call == FINISH ? 1 : 3), way->name, "the fault was not met");
        }
}

int main(void)
{
    uint64_t random = t_seed();

    for (size_t w = 0; w < CM_COUNT(ways); w++) {
        struct run whole = { .way = &ways[w], .stop_ns = -1 };
        one_run(&whole);
        for (unsigned k = 1; k <= 5; k++) {
            struct run dry = { .way = &ways[w], .source_fails = k * 3, .stop_ns = -1 };
            one_run(&dry);
        }
        for (int i = 0; i < 12; i++) {
            struct run stopped = { .way = &ways[w], .stop_ns = (long) t_random(&random, 40000000) };
            one_run(&stopped);
        }
        faults(&ways[w]);
    }
    (void) printf("%u passed, %u failed\n", passed, failed);
    return failed != 0;
}
