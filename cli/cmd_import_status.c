#include "cli/cmd.h"
#include "cli/dbwait.h"
#include "cli/msg.h"
#include "io/registrations.h"

#include <jansson.h>
#include <limits.h>

typedef unsigned long long ull;

struct opts {
    const char *to;
};

static const struct cm_arg args[] = {
    { "to", CM_ARG_STR, offsetof(struct opts, to), 0, 0, NULL, "URL",
      "the database: sqlite:FILE or postgresql://…" },
};

static cm_err say(const struct cm_registrations *r, const struct cm_common *common, struct cm_error *err)
{
    if (common->json)
        CM_TRY(cm_msg_json(json_pack("{s:I s:I s:I}", "registered", (json_int_t) r->registered, "failed",
                                     (json_int_t) r->failed, "unknown", (json_int_t) r->unknown),
                           err));
    else if (!common->quiet)
        (void) printf("%llu registered, %llu failed\n", (ull) r->registered, (ull) r->failed);
    if (r->unknown > 0)
        CM_FAIL(err, CM_E_FOUND,
                "%llu lines tell of devices that the database does not have, or of none (the first is line "
                "%llu of its file)",
                (ull) r->unknown, (ull) r->first_unknown);
    if (r->failed > 0)
        CM_FAIL(err, CM_E_FOUND, "%llu devices were not registered; the table registration has the reasons",
                (ull) r->failed);
    return CM_OK;
}

static cm_err run(const void *opts_void, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    const struct opts *o = opts_void;
    struct cm_registrations sums = { 0 };
    struct cm_dbwait waiting = { .quiet = common->quiet };
    const struct cm_db_wait wait = cm_dbwait(&waiting, CM_DB_WAIT_MS);
    struct cm_db *db = NULL;

    if (o->to == NULL)
        CM_FAIL(err, CM_E_USAGE, "say with --to URL which database");
    CM_TRY(cm_db_open_used(o->to, "--to", &wait, &db, err));
    cm_err rc = CM_OK;
    for (size_t i = 0; rc == CM_OK && i < operands->count; i++)
        rc = cm_registrations_read(db, operands->item[i], &sums, err);
    cm_db_close(db);
    return rc == CM_OK ? say(&sums, common, err) : rc;
}

const struct cm_cmd cm_cmd_import_status = {
    .name = "import-status",
    .usage = "--to URL FILE...",
    .summary = "mark in a database what AWS IoT's bulk registration made of an export",
    .notes =
        "FILE is a result file of a bulk registration task, as ListThingRegistrationTaskReports links to "
        "it,\n"
        "RESULTS or ERRORS. Devices are found by their certificate, else by the thing's name; the table\n"
        "registration then says registered, with the thing's ARN, or failed, and why. A device that was\n"
        "registered stays so whatever a later task says. Each file is taken whole or not at all; again, it\n"
        "changes nothing. The form of ERRORS is not documented (unverified): what can't be found in a line\n"
        "is counted.\n"
        "\n"
        "Exit code 1: devices failed, or lines tell of devices that the database does not have.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .operands_min = 1,
    .operands_max = UINT_MAX,
    .run = run,
};
