#include "cli/rehearsing.h"

#include "cli/elsewhere.h"
#include "cli/msg.h"
#include "cli/progress.h"
#include "cli/serving.h"
#include "cli/signals.h"
#include "cli/term.h"
#include "engine/random.h"
#include "rehearsal/rehearsal.h"

#include <inttypes.h>
#include <jansson.h>
#include <string.h>

enum { SHOWN_MAX = 20 }; /* failures on a terminal; --json has all */

struct show {
    struct cm_progress progress;
    bool quiet;
};

static void on_begin(void *arg, size_t devices)
{
    struct show *s = arg;

    cm_progress_init(&s->progress, s->quiet, "connected", devices);
}

static void on_progress(void *arg, size_t done)
{
    struct show *s = arg;

    cm_progress_update(&s->progress, done, 0);
}

static bool failed(const struct cm_device *d)
{
    return !d->published;
}

static size_t failures(const struct cm_rehearsal_report *r)
{
    size_t n = 0;

    for (size_t i = 0; i < r->devices.count; i++)
        n += failed(&r->devices.item[i]);
    return n;
}

static json_t *failures_json(const struct cm_rehearsal_report *r)
{
    json_t *list = json_array();
    bool full = list != NULL;

    for (size_t i = 0; full && i < r->devices.count; i++) {
        const struct cm_device *d = &r->devices.item[i];
        if (failed(d))
            full =
                json_array_append_new(list, json_pack("{s:s s:s s:s}", "device_id", d->id, "certificate_id",
                                                      d->certificate_id, "reason", d->reason)) == 0;
    }
    if (full)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *findings_json(struct cm_activator *rule)
{
    struct cm_activator_finding f;
    json_t *list = json_array();
    bool full = list != NULL;

    for (size_t i = 0; full && cm_activator_finding(rule, i, &f); i++)
        full = json_array_append_new(
                   list, json_pack("{s:s s:s s:s* s:s*}", "what", f.what, "certificate_id", f.certificate_id,
                                   "device_id", f.device_id[0] != '\0' ? f.device_id : NULL,
                                   "other_certificate_id", f.other[0] != '\0' ? f.other : NULL)) == 0;
    if (full)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *rule_json(struct cm_activator *rule, const struct cm_activator_counts *n)
{
    return json_pack("{s:I s:I s:I s:I s:I s:I s:I s:I s:I s:o}", "events", (json_int_t) n->events,
                     "events_lost", (json_int_t) n->lost, "activated", (json_int_t) n->activated,
                     "left_alone", (json_int_t) n->left_alone, "failed", (json_int_t) n->failed, "superseded",
                     (json_int_t) n->denied[CM_STANDING_SUPERSEDED], "burned",
                     (json_int_t) n->denied[CM_STANDING_BURNED], "unknown",
                     (json_int_t) n->denied[CM_STANDING_UNKNOWN], "doubled", (json_int_t) n->doubled,
                     "findings", findings_json(rule));
}

static cm_err print_json(const struct cm_rehearsal_report *r, struct cm_activator *rule, uint64_t seed,
                         struct cm_error *err)
{
    return cm_msg_json(
        json_pack("{s:I s:I s:I s:I s:I s:I s:I s:s s:s s:I s:I s:I s:I s:i s:I s:o s:o}", "devices",
                  (json_int_t) r->devices.count, "registered", (json_int_t) r->registered, "activated",
                  (json_int_t) r->activated, "connected", (json_int_t) r->connected, "published",
                  (json_int_t) r->published, "refused", (json_int_t) r->refused, "others_registered",
                  (json_int_t) r->others, "ca_certificate_id", r->ca_id, "certificate_mode", "SNI_ONLY",
                  "closed_without_connack", (json_int_t) r->closed, "total_ms", (json_int_t) r->total_ms,
                  "median_ms", (json_int_t) r->median_ms, "most_ms", (json_int_t) r->most_ms,
                  "broker_restarts", (int) r->restarts, "fault_seed", (json_int_t) seed, "rule",
                  rule_json(rule, &r->rule), "failures", failures_json(r)),
        err);
}

static void print_failures(const struct cm_rehearsal_report *r)
{
    size_t shown = 0;

    for (size_t i = 0; i < r->devices.count && shown < SHOWN_MAX; i++) {
        const struct cm_device *d = &r->devices.item[i];
        if (!failed(d))
            continue;
        shown++;
        (void) fputs("  ", stdout);
        cm_term_put(stdout, d->id);
        (void) printf(": %s\n", d->reason);
    }
    if (failures(r) > shown)
        (void) printf("  … and %zu more: --json lists all\n", failures(r) - shown);
}

static void put_finding(FILE *to, const struct cm_activator_finding *f)
{
    (void) fprintf(to, "%s %s", strcmp(f->what, "doubled") == 0 ? "activated" : "denied", f->certificate_id);
    if (f->device_id[0] != '\0') {
        (void) fputs(" of ", to);
        cm_term_put(to, f->device_id);
    }
    if (f->other[0] != '\0')
        (void) fprintf(to, ": doubled, its thing has another certificate too, %s\n", f->other);
    else
        (void) fprintf(to, ": %s\n", f->what);
}

static void print_findings(struct cm_activator *rule, const struct cm_activator_counts *n)
{
    struct cm_activator_finding f;
    uint64_t all = n->doubled, shown = 0;

    for (size_t i = 0; i < CM_STANDING_COUNT; i++)
        all += n->denied[i];
    for (; shown < SHOWN_MAX && cm_activator_finding(rule, shown, &f); shown++) {
        (void) fputs("  ", stdout);
        put_finding(stdout, &f);
    }
    if (all > shown)
        (void) printf("  … and %" PRIu64 " more: --json lists the first %d\n", all - shown,
                      CM_ACTIVATOR_FINDINGS);
}

static void print_text(const struct cm_rehearsal_report *r, struct cm_activator *rule, uint64_t seed)
{
    (void) printf("%zu devices: %" PRIu64 " registered, %" PRIu64 " activated, %" PRIu64
                  " connected, %" PRIu64 " published, %" PRIu64 " refused\n",
                  r->devices.count, r->registered, r->activated, r->connected, r->published, r->refused);
    (void) printf("in %.1f s; half of the devices within %" PRIu32 " ms, the slowest took %" PRIu32
                  " ms; %" PRIu64 " connections were closed without CONNACK\n",
                  (double) r->total_ms / 1000, r->median_ms, r->most_ms, r->closed);
    (void) printf("%" PRIu64 " events reached the rule, %" PRIu64
                  " of certificates that were not pending any more\n",
                  r->rule.events, r->rule.left_alone);
    if (r->others > 0)
        (void) printf("%" PRIu64 " certificates of this CA are registered that are not in the fleet\n",
                      r->others);
    print_findings(rule, &r->rule);
    if (r->rule.failed > 0)
        (void) printf("  %" PRIu64 " events could not be handled, the last one: %s\n", r->rule.failed,
                      r->rule.last_failure);
    if (seed != 0)
        (void) printf("faults by seed %" PRIu64 ": %" PRIu64 " events were lost\n", seed, r->rule.lost);
    if (r->restarts > 0)
        (void) printf("the broker died and was started again: %u times\n", r->restarts);
    (void) printf(
        "The CA was registered in SNI_ONLY mode; that devices send SNI, which this mode asks for, is not "
        "tested here.\n");
    if (failures(r) > 0)
        (void) printf("%zu devices failed:\n", failures(r));
    print_failures(r);
}

static cm_err pick_seed(const struct cm_rehearsing *opts, uint64_t *seed, struct cm_error *err)
{
    uint8_t random[16];

    if (opts->seed != 0 && !opts->faults)
        CM_FAIL(err, CM_E_USAGE, "--seed goes with --faults");
    *seed = opts->seed;
    if (!opts->faults || opts->seed != 0)
        return CM_OK;
    CM_TRY(cm_random_uuid(random, err));
    (void) memcpy(seed, random, 4);
    *seed |= 1;
    return CM_OK;
}

static void on_failure(void *arg, const char *line)
{
    (void) arg;
    cm_msg_note("the control plane failed: %s", line);
}

static cm_err report(struct cm_rehearsal *r, struct show *show, const struct cm_common *common, uint64_t seed,
                     struct cm_error *err)
{
    struct cm_rehearsal_report told = { 0 };
    cm_err rc = cm_rehearsal_run(r, &told, err);

    cm_progress_clear(&show->progress);
    CM_TRY(rc);
    if (cm_signals_arrived != 0) {
        cm_rehearsal_done(&told);
        *err = (struct cm_error) { .code = CM_E_CLOSED, .os = cm_signals_arrived };
        return CM_E_CLOSED;
    }
    if (common->json)
        rc = print_json(&told, cm_rehearsal_rule(r), seed, err);
    else
        print_text(&told, cm_rehearsal_rule(r), seed);
    if (rc == CM_OK && fflush(stdout) != 0)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't write to the standard output");
    if (rc == CM_OK && failures(&told) > 0) {
        *err = (struct cm_error) { .code = CM_E_FOUND };
        rc = CM_E_FOUND;
    }
    cm_rehearsal_done(&told);
    return rc;
}

/* What the rule does with devices that connect by hand. */
struct watching {
    struct cm_rehearsal *rehearsal;
    struct cm_activator_counts seen;
    size_t findings; /* told */
};

static void on_turn(void *arg)
{
    struct watching *w = arg;
    struct cm_activator *const rule = cm_rehearsal_rule(w->rehearsal);
    struct cm_activator_finding f;
    struct cm_activator_counts now;

    for (; cm_activator_finding(rule, w->findings, &f); w->findings++) {
        (void) fputs("certmill: ", stderr);
        put_finding(stderr, &f);
    }
    cm_activator_counts(rule, &now);
    if (now.activated > w->seen.activated)
        cm_msg_note("activated %s", now.last_activated);
    if (now.failed > w->seen.failed)
        cm_msg_note("an event could not be handled: %s", now.last_failure);
    w->seen = now;
}

static void watch_from_here(struct watching *w)
{
    struct cm_activator_finding f;

    cm_activator_counts(cm_rehearsal_rule(w->rehearsal), &w->seen);
    while (cm_activator_finding(cm_rehearsal_rule(w->rehearsal), w->findings, &f))
        w->findings++;
}

static cm_err rehearse(struct cm_stand *stand, const struct cm_fleet *fleet, const struct cm_rehearsing *opts,
                       const struct cm_common *common, struct cm_error *err)
{
    struct show show = { .quiet = common->quiet };
    struct watching watching = { 0 };
    uint64_t seed = 0;

    CM_TRY(pick_seed(opts, &seed, err));
    const struct cm_rehearsal_conf conf = { .fleet = fleet,
                                            .stand = stand,
                                            .devices = opts->devices,
                                            .threads = opts->at_once,
                                            .timeout_ms = opts->timeout_s * 1000,
                                            .fault_seed = seed,
                                            .stop = &cm_signals_arrived,
                                            .on_progress = on_progress,
                                            .on_begin = on_begin,
                                            .arg = &show };
    CM_TRY(cm_rehearsal_open(&conf, &watching.rehearsal, err));
    cm_err rc = CM_OK;
    if (opts->serve != NULL)
        rc = cm_serving_say(stand, common, err);
    if (rc == CM_OK && opts->serve != NULL)
        rc = cm_serving_wait_for_line(stand, common, err);
    if (rc == CM_OK)
        rc = report(watching.rehearsal, &show, common, seed, err);
    if (opts->serve != NULL && (rc == CM_OK || rc == CM_E_FOUND)) {
        watch_from_here(&watching);
        const cm_err waited = cm_serving_wait(stand, common->quiet ? NULL : on_turn, &watching, err);
        rc = waited != CM_OK ? waited : rc;
    }
    cm_rehearsal_close(watching.rehearsal);
    return rc;
}

static cm_err with_fleet(const struct cm_fleet *fleet, const struct cm_rehearsing *r,
                         const struct cm_common *common, struct cm_error *err)
{
    struct cm_stand *stand = NULL;
    char plugin[PATH_MAX];

    CM_TRY(cm_elsewhere_file("rehearsal.so", plugin, err));
    const struct cm_stand_conf conf = {
        .dir = r->serve, .plugin = plugin, .limits_aws = r->limits_aws, .on_failure = on_failure
    };
    cm_signals_catch();
    CM_TRY(cm_stand_start(&conf, &stand, err));
    cm_err rc = fleet != NULL ? rehearse(stand, fleet, r, common, err) : cm_serving_say(stand, common, err);
    if (rc == CM_OK && fleet == NULL)
        rc = cm_serving_wait(stand, NULL, NULL, err);
    const bool fine = rc == CM_OK || rc == CM_E_FOUND;
    const cm_err stopped = cm_stand_stop(stand, fine ? err : NULL);
    return fine && stopped != CM_OK ? stopped : rc;
}

cm_err cm_rehearsing_run(const struct cm_rehearsing *r, const struct cm_common *common, struct cm_error *err)
{
    struct cm_fleet *fleet = NULL;

    if (r->dir != NULL)
        CM_TRY(cm_fleet_open(r->dir, r->keys, &fleet, err));
    const cm_err rc = with_fleet(fleet, r, common, err);
    cm_fleet_close(fleet);
    return rc;
}
