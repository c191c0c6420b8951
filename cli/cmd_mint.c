#include "cli/cmd.h"
#include "cli/explain.h"
#include "cli/mintplan.h"
#include "cli/msg.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "io/rundir.h"
#include "io/source_list.h"

#include <limits.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#define OPT(field) offsetof(struct cm_mint_opts, field)

static const char *const layouts[] = { "tar", "tree", "none", NULL };
static const char *const key_formats[] = { "pkcs8", "traditional", NULL };
static const char *const encodings[] = { "pem", "der", NULL };
static const char *const ios[] = { "auto", "uring", "posix", NULL };
static const char *const syncs[] = { "commit", "none", NULL };

static const struct cm_arg args[] = {
    { "ca", CM_ARG_STR, OPT(ca), 0, 0, NULL, "FILE", "the CA's certificate, then the chain above it (PEM)" },
    { "ca-key", CM_ARG_STR, OPT(ca_key), 0, 0, NULL, "FILE", "the CA's private key (PEM)" },
    { "ca-passphrase-file", CM_ARG_STR, OPT(ca_passphrase_file), 0, 0, NULL, "FILE",
      "the CA key's passphrase; asked for on the terminal" },
    { "allow-insecure-ca-key", CM_ARG_FLAG, OPT(allow_insecure_ca_key), 0, 0, NULL, NULL,
      "accept a CA key file that others can read" },
    { "out", CM_ARG_STR, OPT(out), 0, 0, NULL, "DIR", "where the fleet goes: a new or empty directory" },
    { "keys-out", CM_ARG_STR, OPT(keys_out), 0, 0, NULL, "DIR", "where the keys go; DIR/keys of --out" },
    { "count", CM_ARG_U64, OPT(count), 1, INT64_MAX, NULL, "N", "how many devices" },
    { "start", CM_ARG_U64, OPT(start), 0, INT64_MAX, NULL, "N", "number of the first device; 1" },
    { "id-pattern", CM_ARG_STR, OPT(id_pattern), 0, 0, NULL, "PATTERN",
      "device ids of --count, with {seq} {seq:08} {seq:08x} {mac} {uuid}; SN{seq:08}" },
    { "devices", CM_ARG_STR, OPT(devices), 0, 0, NULL, "FILE", "device ids, one a line, instead of --count" },
    { "mac-base", CM_ARG_STR, OPT(mac_base), 0, 0, NULL, "MAC",
      "{mac} of the first device; 00:00:00:00:00:00" },
    { "key", CM_ARG_STR, OPT(key), 0, 0, NULL, "ALG",
      "P-256, P-384, P-521, RSA-2048, RSA-3072, RSA-4096, Ed25519; P-256" },
    { "profile", CM_ARG_STR, OPT(profile), 0, 0, NULL, "NAME|FILE", "what the certificates say; aws-iot" },
    { "subject", CM_ARG_STR, OPT(subject), 0, 0, NULL, "NAME", "'/O=Acme/CN={id}'; the profile's" },
    { "san", CM_ARG_STR, OPT(san), 0, 0, NULL, "SAN",
      "'DNS:{id}.example.com,URI:urn:x:{mac}'; the profile's" },
    { "signature", CM_ARG_STR, OPT(signature), 0, 0, NULL, "NAME",
      "ecdsa-with-SHA256, RSASSA-PSS-SHA256, …; what goes with the CA key" },
    { "days", CM_ARG_U32, OPT(days), 1, 3652059, NULL, "N", "validity from now; as long as the CA" },
    { "not-after", CM_ARG_STR, OPT(not_after), 0, 0, NULL, "TIME",
      "end of validity: 20351231235959Z, 2035-12-31 or, for never, 99991231235959Z" },
    { "allow-outlive-ca", CM_ARG_FLAG, OPT(allow_outlive_ca), 0, 0, NULL, NULL,
      "let certificates end after their CA" },
    { "lot", CM_ARG_STR, OPT(lot), 0, 0, NULL, "TEXT", "goes into every manifest row" },
    { "sku", CM_ARG_STR, OPT(sku), 0, 0, NULL, "TEXT", "goes into every manifest row" },
    { "order", CM_ARG_STR, OPT(order), 0, 0, NULL, "TEXT", "goes into every manifest row" },
    { "layout", CM_ARG_CHOICE, OPT(layout), 0, 0, layouts, NULL,
      "tar segments, a tree of files, or nothing (to measure); tar" },
    { "key-format", CM_ARG_CHOICE, OPT(key_format), 0, 0, key_formats, NULL,
      "form of the private keys; pkcs8" },
    { "encoding", CM_ARG_CHOICE, OPT(encoding), 0, 0, encodings, NULL, "of bundles and keys; pem" },
    { "plaintext-keys", CM_ARG_FLAG, OPT(plaintext_keys), 0, 0, NULL, NULL,
      "write private keys unencrypted: must be said" },
    { "workers", CM_ARG_U32, OPT(workers), 1, 1024, NULL, "N", "threads that mint; one a core" },
    { "batch", CM_ARG_U32, OPT(batch), 1, 65536, NULL, "N", "devices a batch; by key algorithm" },
    { "io", CM_ARG_CHOICE, OPT(io), 0, 0, ios, NULL,
      "how segments are written; io_uring where it can be had" },
    { "sync", CM_ARG_CHOICE, OPT(sync), 0, 0, syncs, NULL,
      "none forces nothing to disk: a power cut may lose all; commit" },
    { "explain", CM_ARG_FLAG, OPT(explain), 0, 0, NULL, NULL, "say what would be done, and write nothing" },
};

static void defaults(void *opts)
{
    struct cm_mint_opts *o = opts;

    o->start = 1;
    o->key = "P-256";
    o->profile = "aws-iot";
}

/* --- the run ------------------------------------------------------------ */

struct run {
    const struct cm_common *common;
    struct cm_mint_plan plan;
    struct cm_rundir dir;
    bool dir_open;
    struct cm_sink *bundles, *manifest;
    json_t *json; /* run.json */
    struct cm_pipeline_stats stats;
    double seconds, cpu_seconds;
    char how[128], why[200]; /* how segments were written, and why not otherwise */
};

static double clock_s(clockid_t id)
{
    struct timespec t;

    (void) clock_gettime(id, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void time_text(cm_when t, char out[24])
{
    struct cm_writer w = cm_writer(out, 23);

    cm_put_rfc3339(&w, t);
    out[w.len] = '\0';
}

static json_t *request_json(const struct cm_mint_plan *p)
{
    const struct cm_mint_opts *o = p->o;
    char before[24], after[24], hash[65] = "", mac[24] = "";
    struct cm_writer h = cm_writer(hash, 64);
    uint8_t digest[32];

    time_text(p->not_before, before);
    time_text(p->not_after, after);
    if (o->devices != NULL) {
        cm_source_list_sha256(p->source, digest);
        cm_put_hex(&h, digest, sizeof digest);
    }
    (void) snprintf(mac, sizeof mac, "%012llx", (unsigned long long) p->mac_base);
    return json_pack(
        "{s:I s:s s:I s:s? s:s? s:s? s:s s:s s:s s:s? s:s s:s s:s s:s? s:s? s:s? s:s s:s s:s s:s? s:s s:b}",
        "devices", (json_int_t) p->source->devices, "source", p->source->ops->name, "start",
        (json_int_t) (o->devices != NULL ? 1 : o->start), "id_pattern",
        o->devices != NULL      ? NULL
        : o->id_pattern != NULL ? o->id_pattern
                                : "SN{seq:08}",
        "list_sha256", hash[0] != '\0' ? hash : NULL, "mac_base", o->mac_base != NULL ? mac : NULL, "key",
        p->pipeline.mint.key->name, "profile", p->profile->name, "subject", p->subject_text, "san",
        p->san_text, "signature", cm_ca_sigalg(p->ca)->name, "not_before", before, "not_after", after, "lot",
        o->lot, "sku", o->sku, "order", o->order, "layout", layouts[o->layout], "key_format",
        key_formats[o->key_format], "encoding", encodings[o->encoding], "keys_dir", o->keys_out, "keys",
        "plaintext", "may_outlive_ca", (int) o->allow_outlive_ca);
}

static json_t *run_json(const struct cm_mint_plan *p)
{
    char created[24];

    time_text(p->now, created);
    return json_pack("{s:s s:i s:s s:s s:s s:s s:o s:{s:s s:s} s:n}", "format", "certmill-fleet", "version",
                     1, "run_id", p->run_id_text, "engine", "certmill " CM_VERSION, "libcrypto",
                     cm_sigalg_libcrypto(), "created_at", created, "request", request_json(p), "ca",
                     "certificate_id", cm_ca_certificate_id(p->ca), "subject", cm_ca_subject_text(p->ca),
                     "outcome");
}

static cm_err open_sinks(struct run *r, struct cm_error *err)
{
    struct cm_mint_plan *p = &r->plan;
    const enum cm_layout layout = p->pipeline.mint.layout;
    const size_t row = p->batch.rows / p->batch.devices + CM_ROW_PLACES;
    const struct cm_sink_conf conf = {
        .fleet_fd = r->dir.fd,
        .fleet_path = r->dir.path,
        .chains_fd = r->dir.chains_fd,
        .keys_fd = r->dir.keys_fd,
        .keys_path = r->dir.keys_path,
        .layout = layout,
        .io = (enum cm_io_kind) p->o->io,
        .durable = p->o->sync == 0,
        .batches = p->batches,
        .chain_slab = cm_pool_chain_slab(p->pool),
        .key_slab = cm_pool_key_slab(p->pool),
        .segment_bytes = CM_SEGMENT_BYTES,
        .rows_max = ((size_t) p->pipeline.commit.devices + p->batch.devices) * row + 4096,
    };
    const struct cm_sink_ops *bundles = cm_sink_find(layouts[layout]);
    const struct cm_sink_ops *rows = cm_sink_find(layout == CM_LAYOUT_NONE ? "norows" : "ndjson");

    CM_TRY(bundles->open(&conf, &r->bundles, err));
    return rows->open(&conf, &r->manifest, err);
}

static cm_err open_run(struct run *r, struct cm_error *err)
{
    if (r->plan.o->layout != CM_LAYOUT_NONE) {
        CM_TRY(cm_mint_plan_check_room(&r->plan, err));
        CM_TRY(cm_rundir_open(r->plan.o->out, r->plan.o->keys_out, &r->dir, err));
        r->dir_open = true;
        r->json = run_json(&r->plan);
        if (r->json == NULL)
            CM_FAIL(err, CM_E_NOMEM, "no memory for run.json (or an option is not UTF-8)");
        CM_TRY(cm_rundir_write_ca(&r->dir, cm_ca_chain_pem(r->plan.ca), err));
        CM_TRY(cm_rundir_write_run(&r->dir, r->json, err));
    }
    CM_TRY(open_sinks(r, err));
    (void) snprintf(r->how, sizeof r->how, "%s", cm_sink_tar_how(r->bundles));
    (void) snprintf(r->why, sizeof r->why, "%s", cm_sink_tar_why(r->bundles));
    return CM_OK;
}

/* Runs the pipeline to its end, with a look at signals and progress in between. */
static cm_err pump(struct run *r, struct cm_pipeline *p, struct cm_error *err)
{
    struct cm_progress progress;
    cm_err rc = CM_E_END;

    cm_progress_init(&progress, r->common->quiet, "minted", r->plan.source->devices);
    while (rc == CM_E_END) {
        rc = cm_pipeline_wait(p, 100, err);
        if (cm_signals_arrived != 0)
            cm_pipeline_stop(p);
        const struct cm_pipeline_stats s = cm_pipeline_stats(p);
        cm_progress_update(&progress, s.committed, s.committed_bytes);
    }
    cm_progress_clear(&progress);
    return rc;
}

static cm_err run_pipeline(struct run *r, struct cm_error *err)
{
    const double start = clock_s(CLOCK_MONOTONIC);
    struct cm_pipeline *p = NULL;
    cm_err rc = CM_OK;

    r->plan.pipeline.bundles = r->bundles;
    r->plan.pipeline.manifest = r->manifest;
    CM_TRY(cm_pipeline_open(&r->plan.pipeline, &p, err));
    rc = cm_pipeline_start(p, err);
    if (rc == CM_OK)
        rc = pump(r, p, err);
    r->stats = cm_pipeline_stats(p);
    cm_pipeline_close(p);
    r->seconds = clock_s(CLOCK_MONOTONIC) - start;
    return rc;
}

static const char *state_of(const struct run *r, cm_err rc)
{
    return rc != CM_OK ? "failed" : r->stats.committed == r->plan.source->devices ? "complete" : "stopped";
}

static cm_err write_outcome(struct run *r, cm_err rc, struct cm_error *err)
{
    char ended[24];
    struct stat st = { 0 };

    if (!r->dir_open)
        return CM_OK;
    time_text(cm_when_now(), ended);
    if (fstatat(r->dir.fd, "manifest.ndjson", &st, 0) != 0)
        CM_FAIL(err, CM_E_IO, "can't look at %s/manifest.ndjson", r->dir.path);
    json_t *outcome =
        json_pack("{s:s s:I s:I s:s}", "state", state_of(r, rc), "devices", (json_int_t) r->stats.committed,
                  "manifest_bytes", (json_int_t) st.st_size, "ended_at", ended);
    if (outcome == NULL || json_object_set_new(r->json, "outcome", outcome) != 0)
        CM_FAIL(err, CM_E_NOMEM, "no memory for run.json");
    return cm_rundir_write_run(&r->dir, r->json, err);
}

static cm_err print_summary(const struct run *r, cm_err rc, struct cm_error *err)
{
    const struct cm_mint_plan *p = &r->plan;
    const double n = (double) r->stats.committed, s = r->seconds > 0 ? r->seconds : 1e-9;
    const double cores = p->pipeline.workers < p->cores.count ? p->pipeline.workers : (double) p->cores.count;

    if (r->common->json)
        return cm_msg_json(
            json_pack("{s:s s:s? s:s s:I s:I s:I s:I s:f s:f s:f s:f s:f s:i s:s s:s}", "run_id",
                      p->run_id_text, "out", p->o->out, "state", state_of(r, rc), "requested",
                      (json_int_t) p->source->devices, "devices", (json_int_t) r->stats.committed, "bytes",
                      (json_int_t) r->stats.committed_bytes, "commits", (json_int_t) r->stats.commits,
                      "seconds", r->seconds, "cpu_seconds", r->cpu_seconds, "devices_per_second", n / s,
                      "devices_per_second_per_core", n / s / cores, "devices_per_cpu_second",
                      r->cpu_seconds > 0 ? n / r->cpu_seconds : 0, "workers", (int) p->pipeline.workers, "io",
                      r->how, "io_note", r->why),
            err);
    if (r->common->quiet)
        return CM_OK;
    (void) printf("%s %llu of %llu devices (%s) in %.2f s: %.0f a second, %.0f a second and core\n",
                  rc == CM_OK && cm_signals_arrived == 0 ? "minted" : "kept",
                  (unsigned long long) r->stats.committed, (unsigned long long) p->source->devices,
                  p->pipeline.mint.key->name, r->seconds, n / s, n / s / cores);
    if (r->dir_open)
        (void) printf("  %s: %.1f MB in %llu commits%s%s\n", p->o->out,
                      (double) r->stats.committed_bytes / 1e6, (unsigned long long) r->stats.commits,
                      r->how[0] != '\0' ? ", by " : "", r->how);
    return CM_OK;
}

/* What a run leaves that did not get through; the failure itself is main's to print. */
static void print_advice(const struct run *r, cm_err rc)
{
    if (!r->dir_open || r->common->quiet || (rc == CM_OK && cm_signals_arrived == 0))
        return;
    cm_msg_note("%llu of %llu devices are durable in %s; `certmill verify %s` audits them",
                (unsigned long long) r->stats.committed, (unsigned long long) r->plan.source->devices,
                r->dir.path, r->dir.path);
}

static void notices(const struct run *r)
{
    if (r->common->quiet)
        return;
    if (r->dir_open)
        cm_msg_note("private keys are written unencrypted (--plaintext-keys): whoever reads %s has them",
                    r->dir.keys_path);
    if (r->why[0] != '\0')
        cm_msg_note("segments are written with blocking calls: %s", r->why);
    if (!cm_ca_has_ski(r->plan.ca))
        cm_msg_note(
            "the CA certificate has no subject key identifier; the certificates name it by its key's hash");
}

static void close_run(struct run *r)
{
    if (r->bundles != NULL)
        r->bundles->ops->close(r->bundles);
    if (r->manifest != NULL)
        r->manifest->ops->close(r->manifest);
    if (r->dir_open)
        cm_rundir_close(&r->dir);
    json_decref(r->json);
    cm_mint_plan_close(&r->plan);
}

static cm_err mint(struct run *r, struct cm_error *err)
{
    struct rusage use;
    struct cm_error late = { 0 };
    cm_err rc = CM_OK, after = CM_OK;

    cm_signals_catch(); /* from now on there is something to end cleanly */
    rc = open_run(r, err);
    if (rc != CM_OK) {
        if (r->bundles != NULL)
            (void) r->bundles->ops->finish(r->bundles, NULL);
        if (r->dir_open)
            cm_rundir_undo(&r->dir);
        return rc;
    }
    notices(r);
    rc = run_pipeline(r, err);
    if (rc != CM_OK && r->stats.committed == 0 && r->dir_open) {
        cm_rundir_undo(&r->dir); /* nothing is lost, and the same command may be given again */
        return rc;
    }
    after = write_outcome(r, rc, &late);
    if (getrusage(RUSAGE_SELF, &use) == 0)
        r->cpu_seconds = (double) (use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
                         (double) (use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
    if (rc == CM_OK && after != CM_OK) {
        rc = after;
        *err = late;
    }
    if (rc == CM_OK || r->common->json)
        (void) print_summary(r, rc, rc == CM_OK ? err : &late);
    print_advice(r, rc);
    if (rc == CM_OK && cm_signals_arrived != 0 && r->stats.committed < r->plan.source->devices) {
        *err = (struct cm_error) { .code = CM_E_CLOSED, .os = cm_signals_arrived };
        return CM_E_CLOSED;
    }
    return rc;
}

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    const struct cm_mint_opts *o = opts;
    struct run r = { .common = common };
    cm_err rc = CM_OK;

    (void) operands;
    /* Modes are passed exactly; this mask leaves 0644, 0600, 0755 and 0700 alone. */
    (void) umask(022);
    rc = cm_mint_plan_open(o, &r.plan, err);
    if (rc == CM_OK)
        rc = o->explain ? cm_explain(&r.plan, common, err) : mint(&r, err);
    close_run(&r);
    return rc;
}

const struct cm_cmd cm_cmd_mint = {
    .name = "mint",
    .usage = "--ca FILE --ca-key FILE --out DIR (--count N | --devices FILE) --plaintext-keys [OPTIONS]",
    .summary = "mint a fleet: keys, certificates, bundles, manifest",
    .notes =
        "Placeholders: {id}, {seq}, {seq:08} (zero-padded), {seq:08x} (hex), {mac} (counted from\n"
        "--mac-base), {uuid} (version 5, of the run and the number). SIGINT and SIGTERM end the run after\n"
        "the devices in hand and leave a fleet that `certmill verify` accepts as far as it went.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct cm_mint_opts),
    .defaults = defaults,
    .operands_max = 0,
    .run = run,
};
