#include "cli/minting.h"

#include "cli/msg.h"
#include "cli/progress.h"
#include "cli/request.h"
#include "cli/signals.h"
#include "io/file.h"
#include "io/index.h"
#include "io/leftovers.h"
#include "io/sys.h"

#include <sys/resource.h>
#include <time.h>

static double clock_s(clockid_t id)
{
    struct timespec t;

    (void) clock_gettime(id, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static bool durable(const struct cm_minting *m)
{
    return m->plan.o->sync == 0;
}

/* Rows of the run that are committed, in all attempts. */
static uint64_t committed(const struct cm_minting *m)
{
    return (m->before != NULL ? m->before->at.devices : 0) + m->stats.committed;
}

/* Devices that this attempt puts in the place of others. */
static uint64_t reworked(const struct cm_minting *m)
{
    uint64_t n = 0;

    for (size_t i = 0; m->rework != NULL && i < m->rework->groups; i++)
        n += cm_ranges_size(&m->rework->group[i].seqs);
    return n;
}

/* Rows that a run has which is through: each device once, and again for each time it was superseded. */
static uint64_t wanted(const struct cm_minting *m)
{
    return m->plan.source->devices + (m->before != NULL ? m->before->at.superseded : 0) + reworked(m);
}

/* Where this attempt ends: rework alone leaves undone what was not minted before. */
static uint64_t goal(const struct cm_minting *m)
{
    return m->rework != NULL ? m->before->at.devices + reworked(m) : wanted(m);
}

/* Did it get to where it was to end? */
static bool is_through(const struct cm_minting *m, cm_err rc)
{
    return rc == CM_OK && committed(m) == goal(m);
}

/* Devices that have a certificate in force. */
static uint64_t in_force(const struct cm_minting *m)
{
    return committed(m) - (m->journal != NULL ? cm_journal_rows_superseded(m->journal) : 0);
}

/* --- the ledger ---------------------------------------------------------- */

static cm_err reserve_ids(struct cm_minting *m, struct cm_error *err)
{
    struct cm_ledger *const ledger = m->plan.ledger;

    if (ledger == NULL)
        return CM_OK;
    if (cm_ledger_is_new(ledger) && m->before != NULL)
        CM_FAIL(err, CM_E_INPUT,
                "the ledger %s did not exist, and this run has reserved its ids in it: is it another file, "
                "or not "
                "mounted? Put it back",
                cm_ledger_name(ledger));
    if (cm_ledger_is_new(ledger) && !m->common->quiet)
        cm_msg_note("made the ledger %s: nobody had reserved anything there", cm_ledger_name(ledger));
    const cm_err rc = cm_ledger_commit(ledger, err);
    /* What became of a commit whose connection broke may be unknown: releasing settles it. */
    m->reserved = rc != CM_E_INPUT;
    CM_TRY(rc);
    cm_ledger_close(ledger);
    m->plan.ledger = NULL;
    return CM_OK;
}

/* A run that signed nothing holds nothing. */
static void release_ids(struct cm_minting *m)
{
    struct cm_ledger *ledger = NULL;
    struct cm_error err = { 0 };

    if (!m->reserved)
        return;
    cm_err rc = cm_ledger_open(m->plan.o->ledger, CM_LEDGER_WAIT_MS, &ledger, &err);
    if (rc == CM_OK)
        rc = cm_ledger_release(ledger, cm_ca_certificate_id(m->plan.ca), m->plan.run_id_text, &err);
    cm_ledger_close(ledger);
    if (rc != CM_OK)
        cm_msg_note("the ids of run %s stay reserved in the ledger: %s", m->plan.run_id_text, err.what);
}

static void undo(struct cm_minting *m)
{
    if (m->dir_open)
        cm_rundir_undo(&m->dir);
    release_ids(m);
}

/* --- opening ------------------------------------------------------------- */

static cm_err open_sinks(struct cm_minting *m, struct cm_error *err)
{
    struct cm_mint_plan *p = &m->plan;
    const struct cm_journal_state *before = m->before;
    const enum cm_layout layout = p->pipeline.mint.layout;
    const size_t row = p->batch.rows / p->batch.devices + CM_ROW_PLACES;
    const struct cm_sink_conf conf = {
        .fleet_fd = m->dir.fd,
        .fleet_path = m->dir.path,
        .chains_fd = m->dir.chains_fd,
        .keys_fd = m->dir.keys_fd,
        .keys_path = m->dir.keys_path,
        .layout = layout,
        .io = (enum cm_io_kind) p->o->io,
        .durable = durable(m),
        .batches = p->batches,
        .chain_slab = cm_pool_chain_slab(p->pool),
        .key_slab = cm_pool_key_slab(p->pool),
        .segment_bytes = CM_TUNE("segment_bytes", CM_SEGMENT_BYTES),
        .rows_max = ((size_t) p->pipeline.commit.devices + p->batch.devices) * row + 4096,
        .places = &m->places,
        .first_unit = before != NULL && before->units > 0 ? before->unit[before->units - 1].number + 1 : 0,
        .manifest_from = before != NULL ? before->manifest_bytes : 0,
    };
    const struct cm_sink_ops *bundles = cm_sink_find(cm_request_layout((int) layout));
    const struct cm_sink_ops *rows = cm_sink_find(layout == CM_LAYOUT_NONE ? "norows" : "ndjson");

    m->places.manifest_bytes = conf.manifest_from;
    CM_TRY(bundles->open(&conf, &m->bundles, err));
    CM_TRY(rows->open(&conf, &m->manifest, err));
    (void) snprintf(m->how, sizeof m->how, "%s", cm_sink_tar_how(m->bundles));
    (void) snprintf(m->why, sizeof m->why, "%s", cm_sink_tar_why(m->bundles));
    return CM_OK;
}

static struct cm_journal_conf journal_conf(const struct cm_minting *m)
{
    return (struct cm_journal_conf) { .dir = &m->dir,
                                      .run_id = m->plan.run_id_text,
                                      .places = &m->places,
                                      .requested = m->plan.source->devices,
                                      .durable = durable(m) };
}

static cm_err write_views(struct cm_minting *m, struct cm_error *err)
{
    m->json = cm_request_run_json(&m->plan);
    if (m->json == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for run.json (or an option is not UTF-8)");
    CM_TRY(cm_rundir_write_ca(&m->dir, cm_ca_chain_pem(m->plan.ca), err));
    return cm_rundir_write_run(&m->dir, m->json, err);
}

static cm_err open_new(struct cm_minting *m, struct cm_error *err)
{
    if (m->plan.o->layout == CM_LAYOUT_NONE)
        return open_sinks(m, err);
    CM_TRY(cm_mint_plan_check_room(&m->plan, err));
    CM_TRY(cm_rundir_open(m->plan.o->out, m->plan.o->keys_out, &m->dir, err));
    m->dir_open = true;
    const struct cm_journal_conf conf = journal_conf(m);
    json_t *record = cm_request_run_record(&m->plan);
    if (record == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the journal (or an option is not UTF-8)");
    const cm_err rc = cm_journal_create(&conf, record, &m->journal, err);
    json_decref(record);
    CM_TRY(rc);
    CM_TRY(write_views(m, err));
    CM_TRY(open_sinks(m, err));
    CM_TRY(reserve_ids(m, err));
    CM_TRY(cm_journal_attempt(m->journal, "mint", NULL, err));
    return cm_feeds_start(m->plan.feeds, m->dir.path, err);
}

/* Is there, or was there, a reissue or repair? Also one that was killed before it had said whom. */
static bool is_reworked(const struct cm_minting *m)
{
    bool reworked = m->rework != NULL;

    for (size_t i = 0; i < m->before->attempts; i++)
        reworked |= m->before->attempt[i].rework;
    return reworked;
}

/* Says what was removed, and puts it on record. */
static cm_err clear(struct cm_minting *m, struct cm_error *err)
{
    const struct cm_leftovers_conf left = { .dir = &m->dir,
                                            .journal = m->before,
                                            .tree = m->plan.o->layout == CM_LAYOUT_TREE,
                                            .durable = durable(m),
                                            .reworked = is_reworked(m) };
    const struct cm_journal_conf conf = journal_conf(m);
    json_t *names = json_array();

    if (names == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the list of what was left behind");
    cm_err rc = cm_leftovers_clear(&left, names, err);
    if (rc == CM_OK)
        rc = cm_journal_continue(&conf, &m->before->at, &m->before->again, &m->journal, err);
    if (rc == CM_OK)
        rc = cm_leftovers_burn(m->journal, m->before, err);
    if (rc == CM_OK)
        rc = cm_journal_attempt(m->journal, m->rework != NULL ? m->rework->command : "resume", names, err);
    for (size_t i = 0; rc == CM_OK && !m->common->quiet && i < json_array_size(names); i++)
        cm_msg_note("discarded %s: it was not committed", json_string_value(json_array_get(names, i)));
    json_decref(names);
    return rc;
}

/* What is minted from now on takes the place of what is in force, each device with its commit. */
static cm_err supersede(struct cm_minting *m, struct cm_error *err)
{
    for (size_t i = 0; m->rework != NULL && i < m->rework->groups; i++)
        CM_TRY(cm_journal_supersede(m->journal, m->rework->group[i].reason, &m->rework->group[i].seqs, err));
    return CM_OK;
}

/* --- the run ------------------------------------------------------------- */

/* Runs the pipeline to its end, with a look at signals and progress in between. */
static cm_err pump(struct cm_minting *m, struct cm_pipeline *p, struct cm_error *err)
{
    const uint64_t before = committed(m);
    struct cm_progress progress;
    cm_err rc = CM_E_END;

    cm_progress_init(&progress, m->common->quiet, "minted", goal(m) - before);
    while (rc == CM_E_END) {
        rc = cm_pipeline_wait(p, 100, err);
        if (cm_signals_arrived != 0)
            cm_pipeline_stop(p);
        const struct cm_pipeline_stats s = cm_pipeline_stats(p);
        cm_progress_update(&progress, s.committed, s.committed_bytes);
        cm_feeds_upto(m->plan.feeds, cm_journal_committed_bytes(m->journal));
    }
    cm_progress_clear(&progress);
    return rc;
}

static cm_err run_pipeline(struct cm_minting *m, struct cm_error *err)
{
    const double start = clock_s(CLOCK_MONOTONIC);
    struct cm_pipeline_conf *conf = &m->plan.pipeline;
    struct cm_pipeline *p = NULL;
    cm_err rc = CM_OK;

    conf->bundles = m->bundles;
    conf->manifest = m->manifest;
    conf->recorder = m->journal != NULL ? cm_journal_recorder(m->journal) : NULL;
    conf->first_prefix = m->before != NULL ? m->before->prefixes : 0;
    CM_TRY(cm_pipeline_open(conf, &p, err));
    rc = cm_pipeline_start(p, err);
    if (rc == CM_OK)
        rc = pump(m, p, err);
    m->stats = cm_pipeline_stats(p);
    cm_pipeline_close(p);
    m->seconds = clock_s(CLOCK_MONOTONIC) - start;
    return rc;
}

static const char *state_of(const struct cm_minting *m, cm_err rc)
{
    return rc != CM_OK ? "failed" : committed(m) == wanted(m) ? "complete" : "stopped";
}

/* Only an end that is on record is told in run.json. */
static cm_err write_outcome(struct cm_minting *m, struct cm_error *err)
{
    const char *const ended = m->journal != NULL ? cm_journal_ended(m->journal) : NULL;

    if (ended == NULL)
        return CM_OK;
    json_t *outcome =
        json_pack("{s:s s:I s:I s:I s:s}", "state", cm_journal_end_state(m->journal), "devices",
                  (json_int_t) in_force(m), "superseded", (json_int_t) cm_journal_rows_superseded(m->journal),
                  "manifest_bytes", (json_int_t) m->places.manifest_bytes, "ended_at", ended);
    if (outcome == NULL || json_object_set_new(m->json, "outcome", outcome) != 0)
        CM_FAIL(err, CM_E_NOMEM, "no memory for run.json");
    return cm_rundir_write_run(&m->dir, m->json, err);
}

/* --- what a person sees --------------------------------------------------- */

static cm_err print_json(const struct cm_minting *m, cm_err rc, double cores, struct cm_error *err)
{
    const struct cm_mint_plan *p = &m->plan;
    const double n = (double) m->stats.committed, s = m->seconds > 0 ? m->seconds : 1e-9;

    json_t *all = json_pack(
        "{s:s s:s? s:s s:I s:I s:I s:I s:I s:I s:I s:f s:f s:f s:f s:f s:i s:s s:s}", "run_id",
        p->run_id_text, "out", m->dir_open ? m->dir.path : NULL, "state", state_of(m, rc), "requested",
        (json_int_t) p->source->devices, "refused_rows", (json_int_t) p->bad.count, "devices",
        (json_int_t) in_force(m), "minted", (json_int_t) m->stats.committed, "signatures",
        (json_int_t) m->stats.signatures, "bytes", (json_int_t) m->stats.committed_bytes, "commits",
        (json_int_t) m->stats.commits, "seconds", m->seconds, "cpu_seconds", m->cpu_seconds,
        "devices_per_second", n / s, "devices_per_second_per_core", n / s / cores, "devices_per_cpu_second",
        m->cpu_seconds > 0 ? n / m->cpu_seconds : 0, "workers", (int) p->pipeline.workers, "io", m->how,
        "io_note", m->why);
    return cm_msg_json(cm_feeds_tell(p->feeds, all), err);
}

static cm_err print_summary(const struct cm_minting *m, cm_err rc, struct cm_error *err)
{
    const struct cm_mint_plan *p = &m->plan;
    const double n = (double) m->stats.committed, s = m->seconds > 0 ? m->seconds : 1e-9;
    const double cores = p->pipeline.workers < p->cores.count ? p->pipeline.workers : (double) p->cores.count;

    if (m->common->json)
        return print_json(m, rc, cores, err);
    if (m->common->quiet)
        return CM_OK;
    (void) printf("%s %llu of %llu devices (%s) in %.2f s: %.0f a second, %.0f a second and core\n",
                  is_through(m, rc) ? "minted" : "kept", (unsigned long long) m->stats.committed,
                  (unsigned long long) (m->rework != NULL ? reworked(m) : p->source->devices),
                  p->pipeline.mint.key->name, m->seconds, n / s, n / s / cores);
    if (m->before != NULL)
        (void) printf("  %s: %llu devices in all, %s\n", m->dir.path, (unsigned long long) in_force(m),
                      state_of(m, rc));
    if (m->dir_open)
        (void) printf("  %s: %.1f MB in %llu commits%s%s%s\n", m->dir.path,
                      (double) m->stats.committed_bytes / 1e6, (unsigned long long) m->stats.commits,
                      m->how[0] != '\0' ? ", by " : "", m->how,
                      durable(m) ? "" : "; nothing was forced to disk (--sync none)");
    cm_feeds_print(p->feeds);
    return CM_OK;
}

/* What a run leaves that did not get through; the failure itself is main's to print. */
static void print_advice(const struct cm_minting *m, cm_err rc)
{
    if (!m->dir_open || is_through(m, rc))
        return;
    cm_msg_note("%llu of %llu devices are %s in %s; `certmill resume %s` mints the rest",
                (unsigned long long) committed(m), (unsigned long long) wanted(m),
                durable(m) ? "durable" : "written", m->dir.path, m->dir.path);
}

/* --- attempts ------------------------------------------------------------- */

static void measure(struct cm_minting *m)
{
    struct rusage use;

    if (getrusage(RUSAGE_SELF, &use) == 0)
        m->cpu_seconds = (double) (use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                         (double) (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

/* After the pipeline, or in its place, whatever became of it: views, databases, summary, the next step. */
static cm_err end(struct cm_minting *m, cm_err rc, struct cm_error *err)
{
    struct cm_error late = { 0 }, unfed = { 0 };
    const cm_err after = write_outcome(m, &late);

    if (rc == CM_OK && after != CM_OK) {
        rc = after;
        *err = late;
    }
    cm_feeds_upto(m->plan.feeds, cm_journal_committed_bytes(m->journal));
    const cm_err fed = cm_feeds_finish(m->plan.feeds, false, &unfed);
    measure(m);
    if (rc == CM_OK || m->common->json)
        (void) print_summary(m, rc, rc == CM_OK ? err : &late);
    print_advice(m, rc);
    if (fed != CM_OK && is_through(m, rc)) {
        *err = unfed;
        return fed;
    }
    if (fed != CM_OK)
        cm_msg_error(&unfed);
    if (rc == CM_OK && !is_through(m, rc)) {
        *err = (struct cm_error) { .code = CM_E_CLOSED, .os = cm_signals_arrived };
        return CM_E_CLOSED;
    }
    if (rc == CM_OK && m->rework == NULL)
        rc = cm_badrows_conclude(&m->plan.bad, m->plan.o->skip_bad, err);
    return rc;
}

cm_err cm_minting_begin(struct cm_minting *m, struct cm_error *err)
{
    cm_signals_catch();                             /* from now on there is something to end cleanly */
    cm_err rc = cm_badrows_sync(&m->plan.bad, err); /* a resume does not write them again */

    if (rc == CM_OK)
        rc = open_new(m, err);
    if (rc != CM_OK) {
        if (m->bundles != NULL)
            (void) m->bundles->ops->finish(m->bundles, NULL);
        undo(m);
        return rc;
    }
    cm_minting_notices(m, durable(m));
    rc = run_pipeline(m, err);
    if (rc != CM_OK && m->stats.signatures == 0 && m->dir_open) {
        undo(m); /* nothing was signed: the same command may be given again */
        return rc;
    }
    m->plan.bad.kept = true;
    return end(m, rc, err);
}

/* All devices are committed; what the last attempt did not get to is done. */
static cm_err complete(struct cm_minting *m, struct cm_error *err)
{
    struct cm_recorder *const recorder = cm_journal_recorder(m->journal);
    const struct cm_attempt_end nothing = { 0 };

    m->places.manifest_bytes = m->before->manifest_bytes;
    CM_TRY(recorder->ops->end(recorder, &nothing, err));
    return cm_index_rebuild(m->dir.path, err);
}

/* Every prefix that neither a commit nor a note of non-use has may have been signed under. */
static cm_err check_signatures(const struct cm_minting *m, struct cm_error *err)
{
    const struct cm_journal_state *s = m->before;
    const uint64_t max = m->plan.o->max_signatures;
    uint64_t signatures = wanted(m);

    for (uint64_t n = 0; n < s->prefixes; n++)
        if (!cm_ranges_meets(&s->used, n, n) && !cm_ranges_meets(&s->unused, n, n))
            signatures += s->prefix[n].at_most;
    if (max != 0 && signatures > max)
        CM_FAIL(err, CM_E_USAGE,
                "the CA might sign %llu certificates in all, with those that were lost, and --max-signatures "
                "allows %llu: raise it: certmill %s with --max-signatures N",
                (unsigned long long) signatures, (unsigned long long) max,
                m->rework != NULL ? m->rework->command : "resume");
    return CM_OK;
}

cm_err cm_minting_continue(struct cm_minting *m, const struct cm_journal_state *before, struct cm_error *err)
{
    m->before = before;
    const bool rest = committed(m) < goal(m);
    CM_TRY(check_signatures(m, err));
    cm_signals_catch();
    cm_err rc = reserve_ids(m, err);
    if (rc == CM_OK)
        rc = clear(m, err);
    if (rc == CM_OK)
        rc = write_views(m, err);
    if (rc == CM_OK && rest)
        rc = open_sinks(m, err);
    if (rc == CM_OK)
        rc = supersede(m, err);
    if (rc == CM_OK) /* it sees what supersedes what */
        rc = cm_feeds_start(m->plan.feeds, m->dir.path, err);
    if (rc == CM_OK) {
        cm_minting_notices(m, durable(m));
        rc = rest ? run_pipeline(m, err) : complete(m, err);
    }
    return end(m, rc, err);
}

void cm_minting_close(struct cm_minting *m)
{
    if (m->bundles != NULL)
        m->bundles->ops->close(m->bundles);
    if (m->manifest != NULL)
        m->manifest->ops->close(m->manifest);
    cm_journal_close(m->journal);
    if (m->dir_open)
        cm_rundir_close(&m->dir);
    json_decref(m->json);
    cm_mint_plan_close(&m->plan);
}
