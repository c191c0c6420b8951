#include "aws/rules.h"
#include "cli/awscas.h"
#include "cli/awsfound.h"
#include "cli/cmd.h"
#include "cli/msg.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "io/fleet_walk.h"
#include "io/journalread.h"
#include "io/leafread.h"

#include <jansson.h>
#include <limits.h>
#include <sys/stat.h>

/* What a command holds; the operands are judged one after the other. */
struct work {
    cm_when now;
    bool quiet;
    uint64_t devices;
    struct cm_awscas *cas;
    struct cm_awsfound *found;
};

/* ---- a fleet ---- */

static cm_err judge_row(struct work *w, const struct cm_fleet *fleet, struct cm_leafread *leaves,
                        const struct cm_row *row, struct cm_error *err)
{
    struct cm_rowview view;
    struct cm_certread read;
    struct cm_aws_cert facts;
    struct cm_span der;
    struct cm_error why = { 0 };

    cm_rowview_of(row, cm_span("{}", 2), &view);
    CM_TRY(cm_leafread(leaves, &view, &der, err));
    if (cm_certread(der, &read, &why) != CM_OK)
        CM_FAIL(err, CM_E_INPUT, "the certificate of %.96s: %.200s; run certmill verify %s", row->device_id,
                why.what, cm_fleet_path(fleet));
    cm_aws_cert_read(&read, der.len, &facts);
    facts.thing_name = row->device_id;
    w->devices++;
    cm_awsfound_judge(w->found, &facts, w->now, row->device_id, cm_fleet_path(fleet));
    return CM_OK;
}

static cm_err walk_rows(struct work *w, const struct cm_fleet *fleet, struct cm_fleet_walk *walk,
                        struct cm_leafread *leaves, struct cm_error *err)
{
    const struct cm_row *row = NULL;
    struct cm_progress progress;
    uint64_t seen = 0;
    cm_err rc = CM_OK;

    cm_progress_init(&progress, w->quiet, "checked", cm_journal_rows_in_force(cm_fleet_journal(fleet)));
    while (rc == CM_OK && (rc = cm_fleet_walk_next(walk, &row, err)) == CM_OK) {
        rc = judge_row(w, fleet, leaves, row, err);
        if (++seen % 1024 == 0)
            cm_progress_update(&progress, seen, 0);
        if (rc == CM_OK && cm_signals_arrived != 0) {
            rc = cm_fail(err, CM_E_CLOSED, CM_HERE, "stopped");
            err->os = cm_signals_arrived;
        }
    }
    cm_progress_clear(&progress);
    return rc == CM_E_END ? CM_OK : rc;
}

static cm_err check_fleet(struct work *w, const char *path, struct cm_error *err)
{
    struct cm_fleet *fleet = NULL;
    struct cm_fleet_walk *walk = NULL;
    struct cm_leafread *leaves = NULL;
    char name[PATH_MAX];

    CM_TRY(cm_fleet_open(path, NULL, &fleet, err));
    (void) snprintf(name, sizeof name, "%s/ca.pem", path);
    cm_err rc = cm_awscas_add(w->cas, name, cm_fleet_ca_pem(fleet), err);
    if (rc == CM_OK)
        rc = cm_fleet_walk_open(fleet, &walk, err);
    if (rc == CM_OK)
        rc = cm_leafread_open(fleet, &leaves, err);
    if (rc == CM_OK)
        rc = walk_rows(w, fleet, walk, leaves, err);
    cm_leafread_close(leaves);
    cm_fleet_walk_close(walk);
    cm_fleet_close(fleet);
    return rc;
}

/* ---- all ---- */

static cm_err check_one(struct work *w, const char *path, struct cm_error *err)
{
    char run[PATH_MAX];
    struct stat st;

    if (stat(path, &st) != 0)
        CM_FAIL(err, CM_E_INPUT, "there is no %s to check; name a fleet, or a directory with CA certificates",
                path);
    if (!S_ISDIR(st.st_mode))
        return cm_awscas_add_file(w->cas, path, err);
    if (snprintf(run, sizeof run, "%s/run.json", path) >= (int) sizeof run)
        CM_FAIL(err, CM_E_USAGE, "%s: the path is too long", path);
    return lstat(run, &st) == 0 ? check_fleet(w, path, err) : cm_awscas_add_dir(w->cas, path, err);
}

static cm_err say(const struct work *w, const struct cm_common *common, struct cm_error *err)
{
    const uint64_t refused = cm_awsfound_refused(w->found), warned = cm_awsfound_warned(w->found);

    if (common->json)
        CM_TRY(cm_msg_json(json_pack("{s:I s:I s:I s:I s:o}", "cas", (json_int_t) cm_awscas_count(w->cas),
                                     "devices", (json_int_t) w->devices, "refused", (json_int_t) refused,
                                     "warned", (json_int_t) warned, "findings", cm_awsfound_json(w->found)),
                           err));
    else if (!common->quiet)
        (void) printf(
            "%zu CA certificate%s and %llu devices: AWS IoT would refuse %llu of them, %llu with warnings\n",
            cm_awscas_count(w->cas), cm_awscas_count(w->cas) == 1 ? "" : "s", (unsigned long long) w->devices,
            (unsigned long long) refused, (unsigned long long) warned);
    if (refused == 0)
        return CM_OK;
    *err = (struct cm_error) { .code = CM_E_FOUND };
    return CM_E_FOUND;
}

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    struct work w = { .now = cm_when_now(), .quiet = common->quiet };

    (void) opts;
    cm_signals_catch();
    cm_err rc = cm_awscas_open(&w.cas, err);
    if (rc == CM_OK)
        rc = cm_awsfound_open(common->json || common->quiet, &w.found, err);
    for (size_t i = 0; rc == CM_OK && i < operands->count; i++)
        rc = check_one(&w, operands->item[i], err);
    if (rc == CM_OK) {
        cm_awscas_judge(w.cas, w.now, w.found);
        cm_awsfound_print(w.found);
        rc = say(&w, common, err);
    }
    cm_awsfound_close(w.found);
    cm_awscas_close(w.cas);
    return rc;
}

const struct cm_cmd cm_cmd_aws_check = {
    .name = "aws check",
    .usage = "DIR|FLEET...",
    .summary = "what AWS IoT would refuse of a CA and a fleet, before it does",
    .notes =
        "FLEET is a run directory: its CA and the certificate of every device that is in force are judged. "
        "DIR\n"
        "is a directory of CA certificates (.pem, .crt, .cer: of each file the first one), as ca init and "
        "aws\n"
        "kit make it; a single file will do. Several may be named; they are taken for one account and "
        "region.\n"
        "\n"
        "Refused are: keys other than RSA of 2048 bits and more, P-256, P-384, P-521; other signatures than\n"
        "ECDSA and RSA with SHA-256, -384, -512; a CA without basicConstraints CA:TRUE; what is not yet or "
        "no\n"
        "longer valid; PEM of more than 65536 characters; ids that are no names for things; more than ten "
        "CAs\n"
        "with one subject; a verification certificate whose CN is no registration code. Warnings, which "
        "leave\n"
        "the exit code alone: RSASSA-PSS, which only some of AWS's lists name; PEM of more than 4096 "
        "characters,\n"
        "which bulk registrations don't take; a CN that is no name for a thing.\n"
        "\n"
        "Exit code 1: something would be refused.",
    .operands_min = 1,
    .operands_max = UINT_MAX,
    .run = run,
};
