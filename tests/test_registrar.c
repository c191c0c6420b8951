/* Goal: the registrar keeps the order that makes a commit one (bundles, rows, record, then counted), puts on
 * record which devices and prefixes it has, and at a failure of any call does what is still safe and nothing
 * else: after a commit of which nobody knows, nothing. Method: sinks and a record that only write down who
 * was called, and fail on request; one worker, so that the course is the same each time. */
#include "tests/t_plant.h"

#include <criterion/criterion.h>
#include <stdarg.h>

enum call {
    RESERVE,
    ROWS,
    SYNC_B,
    SYNC_M,
    COMMIT,
    RETRACT,
    SETTLE_M,
    SETTLE_B,
    FINISH_M,
    FINISH_B,
    END,
    INDEX,
    CALLS
};
static const char *const call_name[CALLS] = { "reserve",  "rows",     "sync:b",   "sync:m",
                                              "commit",   "retract",  "settle:m", "settle:b",
                                              "finish:m", "finish:b", "end",      "index" };

/* What shall fail, and what was done. */
static struct {
    unsigned fail_at[CALLS]; /* the n-th of these calls fails; 0: none */
    bool no_settle, no_index, unrecorded;

    unsigned seen[CALLS];
    char log[2000];
    uint64_t recorded;          /* prefixes on record */
    struct cm_ranges committed; /* prefixes */
    uint64_t unused, burned, burned_signatures, signatures;
    struct cm_pipeline_stats stats;
    cm_err rc;
    struct cm_error err;
} course;

static void note(const char *fmt, ...) CM_PRINTF(1, 2);
static void note(const char *fmt, ...)
{
    const size_t len = strlen(course.log);
    va_list args;

    va_start(args, fmt);
    (void) vsnprintf(course.log + len, sizeof course.log - len, fmt, args);
    va_end(args);
}

static cm_err call(enum call what, struct cm_error *err)
{
    note(" %s", call_name[what]);
    if (++course.seen[what] != course.fail_at[what])
        return CM_OK;
    note("!");
    CM_FAIL(err, CM_E_LIMIT, "%s fails", call_name[what]);
}

/* ---- sinks ---- */

static struct cm_sink bundles, rows;

static cm_err put(struct cm_sink *s, struct cm_batch *b, enum cm_put *how, struct cm_error *err)
{
    (void) b;
    *how = CM_PUT_DONE;
    return s == &rows ? call(ROWS, err) : CM_OK;
}

static cm_err cut(struct cm_sink *s, struct cm_error *err)
{
    (void) s;
    (void) err;
    return CM_OK;
}

static cm_err sync_it(struct cm_sink *s, struct cm_error *err)
{
    return call(s == &rows ? SYNC_M : SYNC_B, err);
}

static cm_err settle(struct cm_sink *s, struct cm_error *err)
{
    return call(s == &rows ? SETTLE_M : SETTLE_B, err);
}

static cm_err finish(struct cm_sink *s, struct cm_error *err)
{
    return call(s == &rows ? FINISH_M : FINISH_B, err);
}

static cm_err make_index(struct cm_sink *s, struct cm_error *err)
{
    (void) s;
    return call(INDEX, err);
}

/* ---- a record ---- */

static void take_prefixes(const struct cm_prefixes *more)
{
    cr_expect_eq(more->first, course.recorded, "numbers that follow each other");
    course.recorded += more->count;
}

static cm_err reserve(struct cm_recorder *r, const struct cm_prefixes *more, struct cm_error *err)
{
    (void) r;
    take_prefixes(more);
    cr_expect_gt(more->count, 0);
    return call(RESERVE, err);
}

static cm_err commit(struct cm_recorder *r, const struct cm_commit *c, const struct cm_prefixes *more,
                     struct cm_error *err)
{
    (void) r;
    CM_TRY(call(COMMIT, err));
    note("[");
    for (size_t i = 0; i < c->seqs.count; i++)
        note("%s%d-%d", i > 0 ? "," : "", (int) c->seqs.at[i].first, (int) c->seqs.at[i].last);
    note("]");
    cr_expect_eq(c->devices, cm_ranges_size(&c->seqs));
    cr_expect_gt(c->bytes, 200 * c->devices, "a chain and a key of each");
    take_prefixes(more);
    for (size_t i = 0; i < c->prefixes.count; i++) {
        cr_expect(!cm_ranges_meets(&course.committed, c->prefixes.at[i].first, c->prefixes.at[i].last));
        cr_assert_eq(cm_ranges_add(&course.committed, c->prefixes.at[i].first, c->prefixes.at[i].last, err),
                     CM_OK);
    }
    return CM_OK;
}

static cm_err retract(struct cm_recorder *r, struct cm_error *err)
{
    (void) r;
    return call(RETRACT, err);
}

static cm_err end(struct cm_recorder *r, const struct cm_attempt_end *e, struct cm_error *err)
{
    (void) r;
    CM_TRY(call(END, err));
    note(e->failed ? "(failed)" : "(done)");
    course.signatures = e->signatures;
    course.unused = cm_ranges_size(&e->unused);
    course.burned = e->burned_count;
    for (size_t i = 0; i < e->burned_count; i++) {
        course.burned_signatures += e->burned[i].signatures;
        cr_expect(!cm_ranges_meets(&course.committed, e->burned[i].number, e->burned[i].number));
    }
    return CM_OK;
}

static const struct cm_recorder_ops record_ops = {
    .reserve = reserve, .commit = commit, .retract = retract, .end = end
};

/* ---- a run ---- */

static cm_err drive(const struct cm_pipeline_conf *conf)
{
    struct cm_pipeline *p = NULL;

    cr_assert_eq(cm_pipeline_open(conf, &p, &course.err), CM_OK, "%s", course.err.what);
    cm_err rc = cm_pipeline_start(p, &course.err);
    if (rc == CM_OK)
        do
            rc = cm_pipeline_wait(p, 50, &course.err);
        while (rc == CM_E_END);
    course.stats = cm_pipeline_stats(p);
    cm_pipeline_close(p);
    return rc;
}

/* 12 devices in batches of 3, but for `done`: commits of two batches. */
static void run(const struct cm_ranges *done)
{
    const struct cm_sink_ops ops = { .name = "log",
                                     .put = put,
                                     .cut = cut,
                                     .sync = sync_it,
                                     .settle = course.no_settle ? NULL : settle,
                                     .finish = finish,
                                     .index = course.no_index ? NULL : make_index };
    const struct t_plant_conf conf = { .layout = CM_LAYOUT_TAR,
                                       .devices = 3,
                                       .batches = cm_pipeline_batches(1) };
    struct cm_recorder record = { &record_ops };
    struct t_plant plant;

    bundles.ops = rows.ops = &ops;
    t_plant_open(&plant, &conf);
    struct cm_source *source = t_plant_source(&plant, 12);
    source->done = done;
    const struct cm_pipeline_conf pipeline = { .mint = plant.mint,
                                               .source = source,
                                               .pool = plant.pool,
                                               .bundles = &bundles,
                                               .manifest = &rows,
                                               .recorder = course.unrecorded ? NULL : &record,
                                               .workers = 1,
                                               .commit = { UINT64_MAX, 5, 1000000 } };
    course.rc = drive(&pipeline);
    source->ops->close(source);
    t_plant_close(&plant); /* asserts that every batch is home */
}

#define COMMIT_6 " rows rows sync:b sync:m commit"
#define SETTLED " settle:m settle:b"

/* Every prefix on record is committed, unused or burned, and so is every signature. */
static void expect_books(uint64_t devices)
{
    cr_expect_eq(course.stats.committed, devices);
    cr_expect_eq(cm_ranges_size(&course.committed) + course.unused + course.burned, course.recorded);
    cr_expect_eq(devices + course.burned_signatures, course.signatures);
    cr_expect_eq(course.stats.signatures, course.signatures);
    cm_ranges_close(&course.committed);
}

Test(registrar, a_whole_run, .timeout = 60)
{
    run(NULL);
    cr_expect_eq(course.rc, CM_OK, "%s", course.err.what);
    cr_expect_str_eq(course.log, " reserve" COMMIT_6 "[1-6]" SETTLED COMMIT_6 "[7-12]" SETTLED
                                 " finish:m finish:b end(done) index");
    cr_expect(course.burned == 0 && course.stats.commits == 2 && course.stats.committed_bytes > 12 * 200);
    expect_books(12);
}

Test(registrar, devices_that_are_passed_over, .timeout = 60)
{
    struct cm_range at[] = { { 2, 3 }, { 5, 5 }, { 9, 11 } };
    const struct cm_ranges done = { at, CM_COUNT(at), CM_COUNT(at) };

    run(&done);
    cr_expect_eq(course.rc, CM_OK, "%s", course.err.what);
    cr_expect_str_eq(course.log,
                     " reserve" COMMIT_6 "[1-1,4-4,6-8,12-12]" SETTLED " finish:m finish:b end(done) index");
    expect_books(6);
}

Test(registrar, nothing_is_put_on_record, .timeout = 60)
{
    course.unrecorded = course.no_settle = course.no_index = true;
    run(NULL);
    cr_expect_eq(course.rc, CM_OK, "%s", course.err.what);
    cr_expect_str_eq(course.log, " rows rows sync:b sync:m rows rows sync:b sync:m finish:m finish:b");
    cr_expect(course.stats.committed == 12 && course.stats.commits == 2);
}

#define TO_SECOND " reserve" COMMIT_6 "[1-6]" SETTLED
#define ENDS " finish:m finish:b end(failed) index"

static const struct {
    unsigned fail_at[CALLS];
    const char *what, *log;
    uint64_t devices;
    bool ended; /* the end is on record, and adds up */
} failures[] = {
    { { [ROWS] = 3 }, "rows fails", TO_SECOND " rows!" ENDS, 6, true },
    { { [SYNC_B] = 2 }, "sync:b fails", TO_SECOND " rows rows sync:b!" ENDS, 6, true },
    { { [SYNC_M] = 1 }, "sync:m fails", " reserve rows rows sync:b sync:m!" ENDS, 0, true },
    { { [COMMIT] = 2 }, "commit fails", TO_SECOND COMMIT_6 "! retract" ENDS, 6, true },
    { { [COMMIT] = 2, [RETRACT] = 1 }, "commit fails", TO_SECOND COMMIT_6 "! retract!", 6, false },
    { { [SETTLE_M] = 2 }, "settle:m fails", TO_SECOND COMMIT_6 "[7-12] settle:m!" ENDS, 12, true },
    { { [SETTLE_B] = 1 }, "settle:b fails", " reserve" COMMIT_6 "[1-6] settle:m settle:b!" ENDS, 6, true },
    { { [SYNC_B] = 1, [FINISH_M] = 1 },
      "sync:b fails",
      " reserve rows rows sync:b! finish:m! finish:b",
      0,
      false },
    { { [FINISH_M] = 1 },
      "finish:m fails",
      TO_SECOND COMMIT_6 "[7-12]" SETTLED " finish:m! finish:b",
      12,
      false },
    { { [FINISH_B] = 1 },
      "finish:b fails",
      TO_SECOND COMMIT_6 "[7-12]" SETTLED " finish:m finish:b!",
      12,
      false },
    { { [FINISH_M] = 1, [FINISH_B] = 1 },
      "finish:m fails",
      TO_SECOND COMMIT_6 "[7-12]" SETTLED " finish:m! finish:b!",
      12,
      false },
    { { [END] = 1 }, "end fails", TO_SECOND COMMIT_6 "[7-12]" SETTLED " finish:m finish:b end!", 12, false },
    { { [INDEX] = 1 },
      "index fails",
      TO_SECOND COMMIT_6 "[7-12]" SETTLED " finish:m finish:b end(done) index!",
      12,
      true },
    { { [RESERVE] = 1 }, "reserve fails", " reserve! finish:b", 0, false },
};

Test(registrar, whatever_fails, .timeout = 120)
{
    for (size_t i = 0; i < CM_COUNT(failures); i++) {
        memset(&course, 0, sizeof course);
        memcpy(course.fail_at, failures[i].fail_at, sizeof course.fail_at);
        run(NULL);
        cr_expect_eq(course.rc, CM_E_LIMIT);
        cr_expect_str_eq(course.err.what, failures[i].what, "the first failure is told, not \"%s\"",
                         course.err.what);
        cr_expect_str_eq(course.log, failures[i].log);
        if (failures[i].ended)
            expect_books(failures[i].devices);
        cr_expect_eq(course.stats.committed, failures[i].devices, "%s", failures[i].log);
        cm_ranges_close(&course.committed);
    }
}
