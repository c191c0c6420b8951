#include "cli/cmd.h"
#include "cli/rerun.h"
#include "io/fleet.h"

#include <limits.h>
#include <sys/stat.h>

struct opts {
    struct cm_rerun_opts rerun;
    const char *reason;
};

enum { REASON_MAX = 256 }; /* octets: a record of the journal, not a report */

static const struct cm_arg args[] = {
    { "reason", CM_ARG_STR, offsetof(struct opts, reason), 0, 0, NULL, "TEXT",
      "why, for the journal and for show: must be said" },
    CM_RERUN_ARGS(rerun),
};

/* The device's certificate that is in force, and none that was superseded. */
static cm_err pick(const struct cm_fleet *fleet, const char *id, struct cm_ranges *picked,
                   struct cm_error *err)
{
    const struct cm_journal_state *journal = cm_fleet_journal(fleet);
    struct cm_row row = { 0 };
    cm_err rc = cm_fleet_row_find(fleet, id, true, &row, NULL, err);

    if (rc == CM_E_END)
        CM_FAIL(err, CM_E_USAGE, "no device \"%.100s\" in %s; nothing was minted", id, cm_fleet_path(fleet));
    CM_TRY(rc);
    const uint64_t seq = (uint64_t) row.seq;
    if (cm_journal_superseded(journal, seq, row.at) != NULL)
        rc = cm_fail(err, CM_E_USAGE, CM_HERE,
                     "the certificate %.64s was superseded already; nothing was minted: name the device", id);
    else if (cm_ranges_meets(picked, seq, seq))
        rc = cm_fail(err, CM_E_USAGE, CM_HERE, "%.100s is named twice; nothing was minted", row.device_id);
    else if (!cm_ranges_meets(&journal->seqs, seq, seq))
        rc = cm_fail(err, CM_E_INPUT, CM_HERE,
                     "the journal does not know the device %.100s, number %llu; run certmill verify %s",
                     row.device_id, (unsigned long long) seq, cm_fleet_path(fleet));
    else
        rc = cm_ranges_add(picked, seq, seq, err);
    cm_rowread_done(&row);
    return rc;
}

static cm_err pick_all(const char *dir, const struct cm_strs *operands, struct cm_ranges *picked,
                       struct cm_error *err)
{
    struct cm_fleet *fleet = NULL;
    cm_err rc = cm_fleet_open(dir, NULL, &fleet, err);

    for (size_t i = 1; rc == CM_OK && i < operands->count; i++)
        rc = pick(fleet, operands->item[i], picked, err);
    cm_fleet_close(fleet);
    return rc;
}

static cm_err check_reason(const char *reason, struct cm_error *err)
{
    if (reason == NULL)
        CM_FAIL(err, CM_E_USAGE, "say why with --reason TEXT: it is what the record will tell");
    if (strlen(reason) > REASON_MAX)
        CM_FAIL(err, CM_E_USAGE, "--reason: longer than %d octets", REASON_MAX);
    return CM_OK;
}

static cm_err reissue(struct cm_rerun *r, const struct opts *opts, const struct cm_strs *operands,
                      struct cm_rework_group *group, struct cm_error *err)
{
    const struct cm_rework rework = { .command = "reissue", .group = group, .groups = 1 };

    group->reason = opts->reason;
    CM_TRY(check_reason(opts->reason, err));
    CM_TRY(cm_rerun_open(r, operands->item[0], err));
    CM_TRY(cm_rerun_at_rest(r, err));
    CM_TRY(pick_all(operands->item[0], operands, &group->seqs, err));
    return cm_rerun_rework(r, &opts->rerun, &rework, err);
}

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    struct cm_rerun r = { .m = { .common = common } };
    struct cm_rework_group group = { 0 };

    (void) umask(022);
    const cm_err rc = reissue(&r, opts, operands, &group, err);
    cm_rerun_close(&r);
    cm_ranges_close(&group.seqs);
    return rc;
}

const struct cm_cmd cm_cmd_reissue = {
    .name = "reissue",
    .usage = "DIR ID... --reason TEXT [OPTIONS]",
    .summary = "mint devices of a run again: new keys, new certificates, new serials",
    .notes =
        "For rework: ID is a device id, or the id of its certificate. The new certificates have what the\n"
        "run asked for, validity included; CA key, list and profile are found as resume finds them. Nothing\n"
        "that was written is changed: new segments and rows are added, and the newest row of a device is\n"
        "in force. Revoke the old certificates at your CA: certmill show tells their serials.\n"
        "\n"
        "Killed in between, each device has either its old certificate in force or its new one, and\n"
        "certmill resume DIR mints the rest.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .operands_min = 2,
    .operands_max = UINT_MAX,
    .run = run,
};
