#include "cli/audit.h"
#include "cli/cmd.h"
#include "cli/msg.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "cli/term.h"
#include "io/export.h"
#include "io/journalread.h"

#include <jansson.h>

typedef unsigned long long ull;

struct opts {
    const char *to, *out, *account, *region, *partition, *policy, *thing_type, *billing_group, *role,
        *mac_column, *device_type, *table;
    struct cm_strs thing_groups, attributes;
    uint64_t rows_per_file;
    int azure_auth; /* an index of azure_auths */
};

static const char *const azure_auths[] = { "thumbprint", "ca", NULL };

static const struct cm_arg args[] = {
    CM_ARG_TEXT(struct opts, "to", to, "FORMAT", "what to write; see below"),
    CM_ARG_TEXT(struct opts, "out", out, "FILE", "where to, - is stdout; stdout, if that is one file"),
    { "rows-per-file", CM_ARG_U64, offsetof(struct opts, rows_per_file), 1, INT64_MAX, NULL, "N",
      "devices in a file at most; what the importer takes" },
    CM_ARG_TEXT(struct opts, "aws-account", account, "DIGITS", "for ARNs: the account, 12 digits; no ARNs"),
    CM_ARG_TEXT(struct opts, "aws-region", region, "REGION",
                "for ARNs: the region, like eu-central-1; no ARNs"),
    CM_ARG_TEXT(struct opts, "aws-partition", partition, "NAME", "for ARNs: aws, aws-cn, aws-us-gov; aws"),
    CM_ARG_TEXT(struct opts, "aws-policy", policy, "NAME",
                "templates: policy of the certificates, which must exist; none"),
    CM_ARG_TEXT(struct opts, "aws-thing-type", thing_type, "NAME", "templates: type of the things; none"),
    CM_ARG_TEXT(struct opts, "aws-billing-group", billing_group, "NAME",
                "templates: billing group of the things; none"),
    { "aws-thing-group", CM_ARG_STRS, offsetof(struct opts, thing_groups), 0, 0, NULL, "NAME",
      "templates: a group of the things, may be given several times; none" },
    { "aws-attribute", CM_ARG_STRS, offsetof(struct opts, attributes), 0, 0, NULL, "COLUMN",
      "aws-bulk: an attribute of the things, a column of the list, or lot, sku, order; the serial number "
      "only" },
    CM_ARG_TEXT(struct opts, "aws-role", role, "ARN",
                "aws-jitp: role for a registration config beside the template; none"),
    { "azure-auth", CM_ARG_CHOICE, offsetof(struct opts, azure_auth), 0, 0, azure_auths, NULL,
      "azure-iothub: what devices prove themselves by; thumbprint" },
    CM_ARG_TEXT(struct opts, "device-type", device_type, "NAME", "thingsboard: the device profile; default"),
    CM_ARG_TEXT(struct opts, "mac-column", mac_column, "COLUMN",
                "espressif: where the MAC address is; mac, else the id"),
    CM_ARG_TEXT(struct opts, "table", table, "NAME", "sql: name of the table; devices"),
};

/* What the calls from inside an export need. */
struct telling {
    struct cm_progress progress;
    uint64_t refused;
};

enum { SHOWN = 20 }; /* refusals that are printed */

static void tell_refused(void *arg, const char *device_id, const char *why)
{
    struct telling *const t = arg;

    cm_progress_clear(&t->progress);
    if (t->refused++ < SHOWN)
        cm_msg_note("%.96s: %s", device_id, why);
}

static void tell_progress(void *arg, uint64_t devices, uint64_t bytes)
{
    struct telling *const t = arg;

    cm_progress_update(&t->progress, devices, bytes);
}

static bool asked_to_stop(void *arg)
{
    (void) arg;
    return cm_signals_arrived != 0;
}

/* What a reader of the result must know about the fleet. */
static void print_notes(const struct cm_fleet *fleet, const struct cm_export_result *r)
{
    const struct cm_fleet_run *run = cm_fleet_run(fleet);
    const uint64_t again = cm_ranges_size(&cm_fleet_journal(fleet)->again);

    cm_msg_note("exported %llu devices", (ull) r->devices);
    if (r->superseded > 0)
        cm_msg_note("left out: %llu certificates that are no longer in force, their devices have newer ones",
                    (ull) r->superseded);
    if (again > 0)
        cm_msg_note("%llu devices wait to be minted again: theirs are the certificates still in force; "
                    "certmill resume, "
                    "then export again",
                    (ull) again);
    if (run->state != CM_FLEET_COMPLETE && r->devices < run->requested)
        cm_msg_note(
            "the run is not complete (%s): %llu of its %llu devices are committed, and these are exported",
            cm_fleet_state_name(run->state), (ull) r->devices, (ull) run->requested);
}

static cm_err print_json(const struct opts *opts, const struct cm_fleet *fleet,
                         const struct cm_export_result *r, struct cm_error *err)
{
    const struct cm_fleet_run *run = cm_fleet_run(fleet);
    json_t *files = json_array();

    for (uint64_t i = 0; files != NULL && i < r->files; i++)
        if (json_array_append_new(files, json_string(r->path[i])) != 0) {
            json_decref(files);
            files = NULL;
        }
    return cm_msg_json(
        json_pack("{s:s s:I s:I s:I s:s s:I s:o}", "format", opts->to, "devices", (json_int_t) r->devices,
                  "superseded", (json_int_t) r->superseded, "requested", (json_int_t) run->requested, "state",
                  cm_fleet_state_name(run->state), "bytes", (json_int_t) r->bytes, "files", files),
        err);
}

static cm_err say(const struct opts *opts, const struct cm_fleet *fleet, const struct cm_export_result *r,
                  const struct cm_common *common, struct cm_error *err)
{
    if (!common->quiet)
        print_notes(fleet, r);
    if (common->json)
        return print_json(opts, fleet, r, err);
    for (uint64_t i = 0; i < r->files; i++) {
        cm_term_put(stdout, r->path[i]);
        (void) putchar('\n');
    }
    return CM_OK;
}

static cm_err check_format(const char *to, struct cm_error *err)
{
    enum { MOST = 32 };
    const char *names[MOST + 1] = { NULL };

    for (size_t i = 0; i < MOST && (names[i] = cm_export_format_name(i)) != NULL; i++)
        if (strcmp(names[i], to) == 0)
            return CM_OK;
    const char *const nearest = cm_args_nearest(to, names);
    if (nearest != NULL)
        CM_FAIL(err, CM_E_USAGE, "no format \"%.40s\"; did you mean %s?", to, nearest);
    CM_FAIL(err, CM_E_USAGE, "no format \"%.40s\"; certmill help export lists them", to);
}

static cm_err check_out(const struct opts *opts, const struct cm_common *common, const char **out,
                        struct cm_error *err)
{
    const bool to_stdout = opts->out == NULL || strcmp(opts->out, "-") == 0;

    if (opts->to == NULL)
        CM_FAIL(err, CM_E_USAGE,
                "say with --to FORMAT what to write; certmill help export lists the formats");
    if (to_stdout && common->json)
        CM_FAIL(err, CM_E_USAGE,
                "--json prints its result on stdout: say with --out FILE where the export goes");
    CM_TRY(check_format(opts->to, err));
    *out = to_stdout ? NULL : opts->out;
    return CM_OK;
}

static cm_err run_export(const struct opts *opts, const struct cm_fleet *fleet, const char *out,
                         const struct cm_common *common, struct cm_error *err)
{
    struct telling t = { .refused = 0 };
    struct cm_export_result r;
    const struct cm_export_conf conf = {
        .fleet = fleet,
        .format = opts->to,
        .out = out,
        .rows_per_file = opts->rows_per_file,
        .tmp_dir = cm_audit_tmp_dir(cm_fleet_path(fleet)),
        .options = { .account = opts->account,
                     .region = opts->region,
                     .partition = opts->partition,
                     .policy = opts->policy,
                     .thing_type = opts->thing_type,
                     .billing_group = opts->billing_group,
                     .role = opts->role,
                     .thing_groups = { opts->thing_groups.item, opts->thing_groups.count },
                     .thing_attributes = { opts->attributes.item, opts->attributes.count },
                     .mac_column = opts->mac_column,
                     .device_type = opts->device_type,
                     .table = opts->table,
                     .azure_ca = opts->azure_auth == 1 },
        .arg = &t,
        .refused = tell_refused,
        .progress = tell_progress,
        .stop = asked_to_stop,
    };

    cm_signals_catch();
    cm_progress_init(&t.progress, common->quiet, "exported",
                     cm_journal_rows_in_force(cm_fleet_journal(fleet)));
    cm_err rc = cm_export(&conf, &r, err);
    cm_progress_clear(&t.progress);
    if (rc == CM_E_CLOSED)
        err->os = cm_signals_arrived;
    if (t.refused > SHOWN)
        cm_msg_note("and %llu more", (ull) (t.refused - SHOWN));
    if (rc == CM_OK)
        rc = say(opts, fleet, &r, common, err);
    cm_export_result_done(&r);
    return rc;
}

static cm_err run(const void *opts_void, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    const struct opts *opts = opts_void;
    struct cm_fleet *fleet = NULL;
    const char *out = NULL;

    CM_TRY(check_out(opts, common, &out, err));
    CM_TRY(cm_fleet_open(operands->item[0], NULL, &fleet, err));
    const cm_err rc = run_export(opts, fleet, out, common, err);
    cm_fleet_close(fleet);
    return rc;
}

const struct cm_cmd cm_cmd_export = {
    .name = "export",
    .usage = "DIR --to FORMAT [--out FILE]",
    .summary = "the devices as a file that a registry or a database imports",
    .notes =
        "FORMAT is one of\n"
        "  aws-bulk      input of StartThingRegistrationTask, and its template beside it\n"
        "  aws-jitp      template for just-in-time provisioning\n"
        "  allow-list    items keyed by certificateId for DynamoDB's import from S3\n"
        "  thingpress    certificates in base64, a line each (\"generated\")\n"
        "  azure-iothub  devices.txt for an import job of IoT Hub\n"
        "  azure-dps     a line for each bulk call, with up to 10 enrollments\n"
        "  thingsboard   CSV for the bulk import of devices\n"
        "  espressif     CSV of MAC address and certificate\n"
        "  rainmaker     node_certs.csv\n"
        "  csv, json     every field of the manifest, and the certificate\n"
        "  sql           a table and its rows for sqlite3 and psql\n"
        "\n"
        "Certificates in force only: of a device that was reissued, the newest. Of a run that is not\n"
        "complete, what is committed. Devices that the importer would refuse are named, and then nothing\n"
        "is written. No private key is read.\n"
        "\n"
        "Where the importer takes only so many at a time, FILE becomes FILE-001-of-NNN. Files get their\n"
        "names when all are whole, never over a file that is there. docs/exports.md has every format.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
