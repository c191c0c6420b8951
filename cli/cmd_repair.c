#include "cli/audit.h"
#include "cli/cmd.h"
#include "cli/msg.h"
#include "cli/rerun.h"
#include "cli/term.h"

#include <sys/stat.h>

typedef unsigned long long ull;

/* Reasons that the journal gets a record each for; further ones go with the last. */
enum { REASONS_MAX = 32, REASON_LEN = 240 };

struct opts {
    struct cm_rerun_opts rerun;
    bool dry_run, deep;
};

static const struct cm_arg args[] = {
    { "dry-run", CM_ARG_FLAG, offsetof(struct opts, dry_run), 0, 0, NULL, NULL,
      "say what would be minted again, and why, and write nothing" },
    { "deep", CM_ARG_FLAG, offsetof(struct opts, deep), 0, 0, NULL, NULL, "audit as verify --deep does" },
    CM_RERUN_ARGS(rerun),
};

/* Whom the audit condemns. Filled in by the auditor's threads, one at a time. */
struct sentence {
    const struct cm_fleet *fleet;
    struct cm_findings *others; /* what no device can be minted again for */
    bool books;                 /* and the manifest or the journal is among that */
    struct cm_ranges condemned;
    struct cm_rework_group group[REASONS_MAX];
    char reason[REASONS_MAX][REASON_LEN];
    size_t groups;
    struct cm_error err; /* out of memory on the way */
};

/* The group with this reason: that of what was found first. */
static struct cm_rework_group *group_of(struct sentence *s, const char *what)
{
    char reason[REASON_LEN];
    size_t i = 0;

    (void) snprintf(reason, sizeof reason, "repair: %s", what);
    while (i < s->groups && strcmp(s->reason[i], reason) != 0)
        i++;
    if (i == REASONS_MAX)
        return &s->group[REASONS_MAX - 1];
    if (i == s->groups) {
        (void) snprintf(s->reason[i], sizeof s->reason[i], "%s",
                        i == REASONS_MAX - 1 ? "repair: several findings" : reason);
        s->group[i].reason = s->reason[i];
        s->groups++;
    }
    return &s->group[i];
}

/* A device whose row is sound but not what it leads to is minted again. A wrong row is not mended so. */
static bool can_be_minted(const struct sentence *s, const struct cm_finding *f, uint64_t *seq)
{
    struct cm_row row = { 0 };
    bool can = f->device_id != NULL && f->row != CM_FINDING_NO_ROW &&
               (f->certificate || f->file == NULL || strcmp(f->file, "manifest.ndjson") != 0) &&
               cm_fleet_row_at(s->fleet, f->row, &row, NULL, NULL) == CM_OK;

    *seq = can ? (uint64_t) row.seq : 0;
    can = can && strcmp(row.device_id, f->device_id) == 0 &&
          cm_ranges_meets(&cm_fleet_journal(s->fleet)->seqs, *seq, *seq);
    cm_rowread_done(&row);
    return can;
}

static void on_finding(void *arg, const struct cm_finding *finding)
{
    struct sentence *s = arg;
    uint64_t seq = 0;

    if (!can_be_minted(s, finding, &seq)) {
        cm_findings_add(s->others, finding);
        s->books |= finding->file != NULL &&
                    (strcmp(finding->file, "manifest.ndjson") == 0 || strcmp(finding->file, "journal") == 0);
        return;
    }
    if (s->err.code != CM_OK || cm_ranges_meets(&s->condemned, seq, seq))
        return;
    if (cm_ranges_add(&s->condemned, seq, seq, &s->err) != CM_OK ||
        cm_ranges_add(&group_of(s, finding->what)->seqs, seq, seq, &s->err) != CM_OK)
        s->err.code = CM_E_NOMEM;
}

static cm_err audit(const struct cm_fleet *fleet, const struct opts *opts, const struct cm_common *common,
                    struct cm_findings *findings, struct cm_error *err)
{
    const struct cm_fleet_run *run = cm_fleet_run(fleet);
    struct cm_audit_result result;
    struct cm_progress progress;
    struct cm_cores cores;

    cm_cores_look(&cores);
    cm_progress_init(&progress, common->quiet, "verified", run->devices + run->superseded);
    const struct cm_audit_conf conf = { .fleet = fleet,
                                        .findings = findings,
                                        .progress = &progress,
                                        .tmp_dir = cm_audit_tmp_dir(cm_fleet_path(fleet)),
                                        .workers = opts->rerun.workers > 0 ? opts->rerun.workers
                                                                           : cm_cores_workers(&cores),
                                        .deep = opts->deep };
    return cm_audit_fleet(&conf, &result, err);
}

static cm_err judge(struct sentence *s, const char *dir, const struct opts *opts,
                    const struct cm_common *common, struct cm_error *err)
{
    struct cm_fleet *fleet = NULL;
    struct cm_findings *findings = NULL;
    cm_err rc = cm_findings_new(&s->others, err);

    if (rc == CM_OK)
        rc = cm_findings_new(&findings, err);
    if (rc == CM_OK)
        rc = cm_fleet_open(dir, NULL, &fleet, err);
    if (rc == CM_OK)
        rc = cm_fleet_need_keys(fleet, err);
    if (rc == CM_E_INPUT && fleet != NULL)
        rc = cm_fail(err, CM_E_INPUT, CM_HERE,
                     "the keys of %s are not where the run wrote them: bring them back; or, when they are "
                     "lost, make that directory anew (mkdir -m 700), and all devices get new ones",
                     dir);
    s->fleet = fleet;
    if (rc == CM_OK) {
        cm_findings_watch(findings, on_finding, s);
        rc = audit(fleet, opts, common, findings, err);
    }
    if (rc == CM_OK && s->err.code != CM_OK) {
        *err = s->err;
        rc = s->err.code;
    }
    cm_findings_free(findings);
    cm_fleet_close(fleet);
    return rc;
}

static void print_sentence(const struct sentence *s)
{
    for (size_t i = 0; i < s->groups; i++) {
        (void) printf("%llu to mint again, ", (ull) cm_ranges_size(&s->group[i].seqs));
        cm_term_put(stdout, s->group[i].reason);
        (void) printf("; numbers");
        for (size_t r = 0; r < s->group[i].seqs.count && r < 20; r++) {
            const struct cm_range *range = &s->group[i].seqs.at[r];
            (void) printf(range->first == range->last ? " %llu" : " %llu-%llu", (ull) range->first,
                          (ull) range->last);
        }
        (void) puts(s->group[i].seqs.count > 20 ? " …" : "");
    }
}

static json_t *sentence_json(const struct sentence *s)
{
    json_t *groups = json_array();

    for (size_t i = 0; i < s->groups; i++) {
        json_t *seqs = json_array();
        for (size_t r = 0; r < s->group[i].seqs.count; r++)
            (void) json_array_append_new(seqs, json_pack("[I, I]", (json_int_t) s->group[i].seqs.at[r].first,
                                                         (json_int_t) s->group[i].seqs.at[r].last));
        (void) json_array_append_new(groups,
                                     json_pack("{s:s s:o}", "reason", s->group[i].reason, "seqs", seqs));
    }
    return json_pack("{s:I s:o s:o}", "to_mint_again", (json_int_t) cm_ranges_size(&s->condemned), "groups",
                     groups, "others", cm_findings_json(s->others));
}

/* What is left, whatever was minted. */
static cm_err end(const struct sentence *s, const char *dir, struct cm_error *err)
{
    const uint64_t others = cm_findings_count(s->others);

    if (others == 0)
        return CM_OK;
    cm_findings_print(s->others);
    if (s->books)
        CM_FAIL(
            err, CM_E_FOUND,
            "nothing was minted: what %s says of its devices is damaged, and minting would build on it; "
            "restore manifest.ndjson and journal from a backup, both of the same time, then repair the rest",
            dir);
    CM_FAIL(err, CM_E_FOUND,
            "%llu finding%s in %s can't be mended by minting devices again: restore from a backup what is "
            "damaged, move away what does not belong there",
            (ull) others, others == 1 ? "" : "s", dir);
}

static cm_err repair(struct cm_rerun *r, const char *dir, const struct opts *opts, struct sentence *s,
                     struct cm_error *err)
{
    const struct cm_common *common = r->m.common;
    CM_TRY(cm_rerun_open(r, dir, err));
    CM_TRY(cm_rerun_at_rest(r, err));
    CM_TRY(judge(s, dir, opts, common, err));
    if (common->json && (opts->dry_run || s->groups == 0))
        CM_TRY(cm_msg_json(sentence_json(s), err));
    else if (!common->json && !common->quiet)
        print_sentence(s);
    if (s->groups == 0 && cm_findings_count(s->others) == 0 && !common->quiet && !common->json)
        (void) printf("%s is sound: there is nothing to repair\n", dir);
    if (s->groups > 0 && opts->dry_run) {
        (void) end(s, dir, NULL);
        *err = (struct cm_error) { .code = CM_E_FOUND }; /* everything is said */
        return CM_E_FOUND;
    }
    if (s->groups > 0 && !s->books) {
        const struct cm_rework rework = { .command = "repair", .group = s->group, .groups = s->groups };
        CM_TRY(cm_rerun_rework(r, &opts->rerun, &rework, err));
    }
    return end(s, dir, err);
}

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    struct cm_rerun r = { .m = { .common = common } };
    struct sentence *s = calloc(1, sizeof *s);

    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the repair");
    (void) umask(022);
    const cm_err rc = repair(&r, operands->item[0], opts, s, err);
    cm_rerun_close(&r);
    for (size_t i = 0; i < s->groups; i++)
        cm_ranges_close(&s->group[i].seqs);
    cm_ranges_close(&s->condemned);
    cm_findings_free(s->others);
    free(s);
    return rc;
}

const struct cm_cmd cm_cmd_repair = {
    .name = "repair",
    .usage = "DIR [OPTIONS]",
    .summary = "mint again exactly the devices that an audit condemns",
    .notes =
        "Audits DIR as verify does. Devices whose bundle or key is damaged, missing, swapped or does not\n"
        "fit are minted again, as reissue does, with the finding as the reason; of those that share a\n"
        "serial, a key or (--deep) an RSA prime, all are. verify then accepts the fleet and counts what is\n"
        "superseded and damaged.\n"
        "\n"
        "What can't be mended that way is said: files that do not belong there; a damaged manifest, with\n"
        "which nothing is minted. Purged keys are no damage: certmill reissue makes new ones.\n"
        "\n"
        "Exit code 0: nothing was wrong, or all is repaired; 1: something is left, or --dry-run found\n"
        "something to do; 2: the run did not end, or its journal is damaged.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
