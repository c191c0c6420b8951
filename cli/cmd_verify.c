#include "cli/audit.h"
#include "cli/cmd.h"
#include "cli/cores.h"
#include "cli/msg.h"
#include "cli/term.h"
#include "io/journalread.h"

#include <jansson.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

typedef unsigned long long ull;

struct opts {
    uint64_t sample, seed;
    uint32_t workers;
    const char *keys;
    bool deep;
};

enum { SAMPLE_MAX = 1000000 };

static const struct cm_arg args[] = {
    { "sample", CM_ARG_U64, offsetof(struct opts, sample), 1, SAMPLE_MAX, NULL, "N",
      "audit N rows chosen at random; every row and every octet" },
    { "seed", CM_ARG_U64, offsetof(struct opts, seed), 1, INT64_MAX, NULL, "N",
      "choose the sample by this number; a random one, which is printed" },
    { "keys", CM_ARG_STR, offsetof(struct opts, keys), 0, 0, NULL, "DIR",
      "where the keys are, or absent: no key may be there; DIR/keys, or where the run wrote them" },
    { "deep", CM_ARG_FLAG, offsetof(struct opts, deep), 0, 0, NULL, NULL,
      "libcrypto reads all again, RSA keys are held to FIPS 186-5, shared primes are found (slow)" },
    { "workers", CM_ARG_U32, offsetof(struct opts, workers), 1, CM_CORES_MAX, NULL, "N",
      "threads; one for each processor that this process may use" },
};

struct timing {
    double wall, cpu; /* seconds */
};

static double seconds(clockid_t clock)
{
    struct timespec t = { 0 };

    (void) clock_gettime(clock, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static cm_err choose_seed(const struct opts *opts, uint64_t *out, struct cm_error *err)
{
    *out = opts->seed;
    if (*out == 0 && getrandom(out, sizeof *out, 0) != (ssize_t) sizeof *out)
        CM_FAIL(err, CM_E_IO, "can't get a random seed; give one with --seed");
    *out &= INT64_MAX;
    return CM_OK;
}

static void print_verdict(const struct cm_fleet *fleet, const struct cm_audit_result *r, uint64_t seed,
                          uint64_t findings)
{
    const struct cm_fleet_run *run = cm_fleet_run(fleet);
    const ull rows = r->rows;

    cm_term_put(stdout, cm_fleet_path(fleet));
    if (run->state == CM_FLEET_COMPLETE)
        (void) printf(": complete, %llu devices", (ull) run->requested);
    else if (run->state == CM_FLEET_OPEN)
        (void) printf(": unfinished, %llu devices requested", (ull) run->requested);
    else
        (void) printf(": %s after %llu of %llu devices", cm_fleet_state_name(run->state), (ull) run->devices,
                      (ull) run->requested);
    if (r->sampled)
        (void) printf("; a sample of %llu, seed %llu", rows, (ull) seed);
    if (findings > 0)
        (void) printf("; %llu checked, %llu finding%s\n", rows, (ull) findings, findings == 1 ? "" : "s");
    else
        (void) printf("; all %llu%s are sound\n", rows - (ull) r->superseded,
                      r->sampled ? " of the sample" : "");
}

/* What the verdict doesn't cover, one by one. */
struct unchecked {
    const char *what;
    uint64_t count; /* 0: everything is checked */
};
enum { UNCHECKED = 4 };

static void list_unchecked(const struct opts *opts, const struct cm_fleet *fleet,
                           const struct cm_audit_result *r, struct unchecked out[UNCHECKED])
{
    const struct cm_fleet_run *run = cm_fleet_run(fleet);
    const uint64_t devices = run->state == CM_FLEET_OPEN ? run->requested : run->devices;

    out[0] = (struct unchecked) { "private keys that are encrypted: only their digests were compared",
                                  r->keys_encrypted };
    out[1] = (struct unchecked) { "devices outside of the sample",
                                  r->sampled && devices > r->rows ? devices - r->rows : 0 };
    out[2] = (struct unchecked) { opts->deep ? "devices for repeats, primes in common, and what no row names"
                                             : "devices for repeats, and what no row names",
                                  r->sampled ? r->rows : 0 };
    out[3] =
        (struct unchecked) { "private keys: they were purged, or are said to be absent", r->keys_absent };
}

/* What is no longer in force, and keys that are gone. */
static void print_past(const struct cm_fleet *fleet, const struct cm_audit_result *r)
{
    const struct cm_journal_state *journal = cm_fleet_journal(fleet);

    if (journal->purged_before > 0)
        (void) printf("keys: purged at %s\n", journal->purged_at);
    if (r->superseded > 0)
        (void) printf("superseded: %llu certificate%s no longer in force, damaged: %llu\n",
                      (ull) r->superseded, r->superseded == 1 ? " that is" : "s that are", (ull) r->damaged);
}

static void print_summary(const struct opts *opts, const struct cm_fleet *fleet,
                          const struct cm_audit_result *r, uint64_t seed, uint64_t findings,
                          const struct timing *t)
{
    struct unchecked not [UNCHECKED];

    print_verdict(fleet, r, seed, findings);
    (void) printf(
        "checked: manifest rows, certificates and their signatures%s, bundles, files and modes%s%s\n",
        cm_fleet_run(fleet)->keys && r->keys_absent < r->rows ? ", private keys" : "",
        r->sampled ? "" : "; that nothing occurs twice, is missing, or is named by no row",
        opts->deep ? "; all of it by libcrypto too" : "");
    print_past(fleet, r);
    list_unchecked(opts, fleet, r, not );
    for (size_t i = 0; i < UNCHECKED; i++)
        if (not [i].count > 0)
            (void) printf("not checked: %llu %s\n", (ull) not [i].count, not [i].what);
    (void) printf("signatures: %llu in rows, at most %llu under %llu burned serial prefixes%s\n",
                  (ull) cm_fleet_journal(fleet)->at.devices, (ull) r->books.burned_at_most,
                  (ull) r->books.burned_prefixes,
                  r->books.open_at_most > 0 ? "; a resume will tell of those that were under way" : "");
    (void) printf("%.2f s with %u worker%s: %.0f devices/s, %.0f for each second of processor time\n",
                  t->wall, r->workers, r->workers == 1 ? "" : "s", (double) r->rows / t->wall,
                  t->cpu > 0 ? (double) r->rows / t->cpu : 0);
}

/* [{"what":…,"count":N}, …], without what was checked whole. */
static json_t *unchecked_json(const struct opts *opts, const struct cm_fleet *fleet,
                              const struct cm_audit_result *r)
{
    struct unchecked not [UNCHECKED];
    json_t *list = json_array();

    list_unchecked(opts, fleet, r, not );
    for (size_t i = 0; i < UNCHECKED; i++)
        if (not [i].count > 0)
            (void) json_array_append_new(
                list, json_pack("{s:s s:I}", "what", not [i].what, "count", (json_int_t) not [i].count));
    return list;
}

static json_t *past_json(const struct cm_fleet *fleet, const struct cm_audit_result *r)
{
    const struct cm_journal_state *journal = cm_fleet_journal(fleet);

    return json_pack("{s:I s:I s:I s:s?}", "superseded", (json_int_t) r->superseded, "superseded_damaged",
                     (json_int_t) r->damaged, "keys_absent", (json_int_t) r->keys_absent, "keys_purged_at",
                     journal->purged_before > 0 ? journal->purged_at : NULL);
}

static cm_err print_json(const struct opts *opts, const struct cm_fleet *fleet,
                         const struct cm_audit_result *r, uint64_t seed, struct cm_findings *findings,
                         const struct timing *t, struct cm_error *err)
{
    const struct cm_fleet_run *run = cm_fleet_run(fleet);
    const uint64_t devices = run->state == CM_FLEET_OPEN ? r->rows : run->devices;
    json_t *result =
        json_pack("{s:I s:I s:I s:s s:b s:b s:o s:I s:o s:f s:f s:f}", "devices", (json_int_t) devices,
                  "checked", (json_int_t) r->rows, "requested", (json_int_t) run->requested, "state",
                  cm_fleet_state_name(run->state), "sample", r->sampled, "deep", opts->deep, "not_checked",
                  unchecked_json(opts, fleet, r), "findings_count", (json_int_t) cm_findings_count(findings),
                  "findings", cm_findings_json(findings), "seconds", t->wall, "cpu_seconds", t->cpu,
                  "devices_per_second", (double) r->rows / t->wall);

    if (result != NULL)
        (void) json_object_set_new(result, "signatures",
                                   json_pack("{s:I s:I s:I s:I}", "rows",
                                             (json_int_t) cm_fleet_journal(fleet)->at.devices,
                                             "burned_prefixes", (json_int_t) r->books.burned_prefixes,
                                             "burned_at_most", (json_int_t) r->books.burned_at_most,
                                             "open_at_most", (json_int_t) r->books.open_at_most));
    if (result != NULL && r->sampled)
        (void) json_object_set_new(result, "seed", json_integer((json_int_t) seed));
    if (result != NULL && json_object_update_new(result, past_json(fleet, r)) != 0)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the result");
    return cm_msg_json(result, err);
}

/* A directory of that name is ./absent. */
static bool keys_absent(const struct opts *opts)
{
    return opts->keys != NULL && strcmp(opts->keys, "absent") == 0;
}

/* The audit of an open fleet, and what is said about it. */
static cm_err verify(const struct opts *opts, struct cm_fleet *fleet, struct cm_findings *findings,
                     const struct cm_common *common, struct cm_error *err)
{
    const struct cm_fleet_run *run = cm_fleet_run(fleet);
    const double wall = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
    struct cm_audit_result result;
    struct cm_progress progress;
    struct timing t;
    struct cm_cores cores;
    uint64_t seed = 0;

    cm_cores_look(&cores);
    CM_TRY(choose_seed(opts, &seed, err));
    const uint64_t total = run->state == CM_FLEET_OPEN ? run->requested : run->devices;
    cm_progress_init(&progress, common->quiet, "verified", opts->sample > 0 ? opts->sample : total);
    const struct cm_audit_conf conf = { .fleet = fleet,
                                        .findings = findings,
                                        .progress = &progress,
                                        .tmp_dir = cm_audit_tmp_dir(cm_fleet_path(fleet)),
                                        .workers =
                                            opts->workers > 0 ? opts->workers : cm_cores_workers(&cores),
                                        .sample = opts->sample,
                                        .seed = seed,
                                        .deep = opts->deep,
                                        .keys_absent = keys_absent(opts) };
    CM_TRY(cm_audit_fleet(&conf, &result, err));
    t = (struct timing) { seconds(CLOCK_MONOTONIC) - wall, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu };
    const uint64_t found = cm_findings_count(findings);
    if (common->json) {
        CM_TRY(print_json(opts, fleet, &result, seed, findings, &t, err));
    } else {
        cm_findings_print(findings);
        print_summary(opts, fleet, &result, seed, found, &t);
    }
    if (found == 0)
        return CM_OK;
    *err = (struct cm_error) { .code = CM_E_FOUND }; /* everything is said */
    return CM_E_FOUND;
}

static cm_err run(const void *opts_void, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    const struct opts *opts = opts_void;
    struct cm_findings *findings = NULL;
    struct cm_fleet *fleet = NULL;

    if (opts->seed != 0 && opts->sample == 0)
        CM_FAIL(err, CM_E_USAGE, "--seed chooses a sample; say how large with --sample N");
    CM_TRY(cm_fleet_open(operands->item[0], keys_absent(opts) ? NULL : opts->keys, &fleet, err));
    cm_err rc = keys_absent(opts) ? CM_OK : cm_fleet_need_keys(fleet, err);
    if (rc == CM_OK)
        rc = cm_findings_new(&findings, err);
    if (rc == CM_OK)
        rc = verify(opts, fleet, findings, common, err);
    cm_findings_free(findings);
    cm_fleet_close(fleet);
    return rc;
}

const struct cm_cmd cm_cmd_verify = {
    .name = "verify",
    .usage = "DIR",
    .summary = "audit what is on disk and in the manifest",
    .notes =
        "Reads every row, bundle and key of the run in DIR with a reader of its own and checks each\n"
        "certificate against the CA, its key and its row; that no id, serial, public key or number\n"
        "occurs twice; and that nothing is missing and nothing lies there that no row names.\n"
        "\n"
        "--deep asks libcrypto too: it parses everything and writes it again, validates each chain\n"
        "strictly, and makes a signature with each key; RSA keys must be as FIPS 186-5 has them, with\n"
        "primes that no other key of the run has. That is about 1.5 ms a device, 40 ms with RSA-2048.\n"
        "\n"
        "Of a device that was reissued or repaired, the newest row is in force; the older ones are checked,\n"
        "too, but damage to them is counted and no finding. --keys absent expects that no key is there,\n"
        "as after purge-keys or where they are kept elsewhere, and checks all the rest.\n"
        "\n"
        "Exit code 0: sound, also where the run was stopped cleanly; 1: something was found, or the\n"
        "run did not end cleanly; 2: DIR is no fleet. The first 20 findings are printed, --json gives\n"
        "up to 10000. Sorting needs about 160 octets a device in $TMPDIR or /var/tmp.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
