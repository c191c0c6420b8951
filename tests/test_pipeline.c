/* Goal: commits end where their bounds say, rows come in the order of the request with one worker, and the
 * counts are right; a thread that can't be started or an empty run ends cleanly. Method: a manifest sink that
 * only notes what it is given. Failures and races are stress_pipeline.c's. */
#include "tests/t_plant.h"

#include <criterion/criterion.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- a manifest sink that takes notes ---- */

struct notes {
    struct cm_sink base;
    uint64_t seq[200];
    uint32_t rows, syncs, at_sync[200]; /* rows before each sync */
    bool finished, keys_seen;
};

static cm_err notes_put(struct cm_sink *base, struct cm_batch *b, enum cm_put *how, struct cm_error *err)
{
    struct notes *n = (struct notes *) base;

    (void) err;
    *how = CM_PUT_DONE;
    for (size_t i = 0; i < b->keys_len; i++)
        n->keys_seen |= b->keys[i] != 0;
    for (uint32_t i = 0; i < b->count && n->rows < CM_COUNT(n->seq); i++)
        n->seq[n->rows++] = b->rec[i].seq;
    return CM_OK;
}

static cm_err notes_sync(struct cm_sink *base, struct cm_error *err)
{
    struct notes *n = (struct notes *) base;

    (void) err;
    n->at_sync[n->syncs++] = n->rows;
    return CM_OK;
}

static cm_err notes_finish(struct cm_sink *base, struct cm_error *err)
{
    (void) err;
    ((struct notes *) base)->finished = true;
    return CM_OK;
}

static const struct cm_sink_ops notes_ops = {
    .name = "notes", .put = notes_put, .sync = notes_sync, .finish = notes_finish
};

static struct t_plant plant;
static struct cm_pipeline_stats stats;

/* A run of so many devices in batches of three. */
static void run(uint32_t workers, uint64_t devices, struct cm_commit_bounds bounds, struct notes *notes)
{
    const struct t_plant_conf conf = { .layout = CM_LAYOUT_NONE,
                                       .devices = 3,
                                       .batches = cm_pipeline_batches(workers) };
    struct cm_pipeline *p = NULL;
    struct cm_sink *none = NULL;
    struct cm_error err = { 0 };
    cm_err rc = CM_E_END;

    *notes = (struct notes) { .base = { &notes_ops } };
    t_plant_open(&plant, &conf);
    struct cm_source *source = t_plant_source(&plant, devices);
    cr_assert_eq(cm_sink_null_ops.open(NULL, &none, &err), CM_OK);
    const struct cm_pipeline_conf pipeline = { .mint = plant.mint,
                                               .source = source,
                                               .pool = plant.pool,
                                               .bundles = none,
                                               .manifest = &notes->base,
                                               .workers = workers,
                                               .cpus = (const int[]) { 0 },
                                               .cpus_count = 1,
                                               .commit = bounds };
    cr_assert_eq(cm_pipeline_open(&pipeline, &p, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_pipeline_start(p, &err), CM_OK, "%s", err.what);
    while (rc == CM_E_END)
        rc = cm_pipeline_wait(p, 50, &err);
    cr_expect_eq(rc, CM_OK, "%s", err.what);
    stats = cm_pipeline_stats(p);
    cm_pipeline_close(p);
    none->ops->close(none);
    source->ops->close(source);
    t_plant_close(&plant);
    cr_expect(notes->finished && !notes->keys_seen, "keys are wiped before the registrar has the batch");
    cr_expect(stats.minted == devices && stats.committed == devices && notes->rows == devices);
    cr_expect_eq(stats.commits, notes->syncs);
}

Test(pipeline, commits_end_at_their_number_of_devices, .timeout = 60)
{
    static struct notes notes;

    run(1, 20, (struct cm_commit_bounds) { .bytes = UINT64_MAX, .devices = 5, .ms = 1000000 }, &notes);
    for (uint32_t i = 0; i < notes.rows; i++)
        cr_expect_eq(notes.seq[i], i + 1);
    static const uint32_t expected[] = { 6, 12, 18,
                                         20 }; /* whole batches: the first that reaches the bound */
    cr_assert_eq(notes.syncs, CM_COUNT(expected));
    cr_expect_arr_eq(notes.at_sync, expected, sizeof expected);
}

Test(pipeline, commits_end_at_their_octets, .timeout = 60)
{
    static struct notes notes;

    run(1, 9, (struct cm_commit_bounds) { .bytes = 1, .devices = UINT32_MAX, .ms = 1000000 }, &notes);
    cr_expect_eq(notes.syncs, 3, "each batch is over the bound");
    run(1, 9, (struct cm_commit_bounds) { .bytes = UINT64_MAX, .devices = UINT32_MAX, .ms = 1000000 },
        &notes);
    cr_expect_eq(notes.syncs, 1, "no bound was met");
}

Test(pipeline, commits_end_at_their_time, .timeout = 60)
{
    static struct notes notes;

    run(1, 9, (struct cm_commit_bounds) { .bytes = UINT64_MAX, .devices = UINT32_MAX, .ms = 0 }, &notes);
    cr_expect_eq(notes.syncs, 3, "each batch is late");
}

Test(pipeline, several_workers_leave_nobody_out, .timeout = 60)
{
    static struct notes notes;
    bool seen[101] = { false };

    run(5, 100, (struct cm_commit_bounds) { .bytes = UINT64_MAX, .devices = 10, .ms = 5 }, &notes);
    for (uint32_t i = 0; i < notes.rows; i++) {
        cr_assert(notes.seq[i] >= 1 && notes.seq[i] <= 100 && !seen[notes.seq[i]]);
        seen[notes.seq[i]] = true;
    }
}

Test(pipeline, fewer_devices_than_workers, .timeout = 60)
{
    static struct notes notes;

    run(8, 1, (struct cm_commit_bounds) { .bytes = UINT64_MAX, .devices = 10, .ms = 5 }, &notes);
    cr_expect_eq(notes.syncs, 1);
}

/* Only so many threads can be had, the main one among them: what was started ends, and the error says so. */
static void start_with(rlim_t threads)
{
    const struct t_plant_conf conf = { .layout = CM_LAYOUT_NONE,
                                       .devices = 3,
                                       .batches = cm_pipeline_batches(4) };
    struct notes notes = { .base = { &notes_ops } };
    struct cm_pipeline *p = NULL;
    struct cm_sink *none = NULL;
    struct cm_error err = { 0 };
    struct rlimit old;

    t_plant_open(&plant, &conf);
    struct cm_source *source = t_plant_source(&plant, 30000000);
    cr_assert_eq(cm_sink_null_ops.open(NULL, &none, &err), CM_OK);
    const struct cm_pipeline_conf pipeline = { .mint = plant.mint,
                                               .source = source,
                                               .pool = plant.pool,
                                               .bundles = none,
                                               .manifest = &notes.base,
                                               .workers = 4,
                                               .commit = { 1 << 20, 100, 100 } };
    cr_assert_eq(getrlimit(RLIMIT_NPROC, &old), 0);
    cr_assert_eq(cm_pipeline_open(&pipeline, &p, &err), CM_OK, "%s", err.what);
    cr_assert_eq(setrlimit(RLIMIT_NPROC, &(struct rlimit) { threads, old.rlim_max }), 0);
    const cm_err started = cm_pipeline_start(p, &err);
    cr_assert_eq(setrlimit(RLIMIT_NPROC, &old), 0);
    cr_expect_eq(started, CM_E_IO, "%d threads were enough", (int) threads);
    cr_expect_not_null(strstr(err.what, "say less with --workers"), "%s", err.what);
    cm_pipeline_close(p); /* joins what was started: it would hang */
    none->ops->close(none);
    source->ops->close(source);
    t_plant_close(&plant); /* asserts that every batch is home */
}

Test(pipeline, no_more_threads, .timeout = 120)
{
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid((uid_t) (60000 + getpid() % 5000)) != 0))
        cr_skip_test("NOT TESTED: this process can't become an ordinary user");
    for (rlim_t threads = 1; threads <= 6; threads++)
        start_with(threads);
}
