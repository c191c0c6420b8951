#include "cli/cmd.h"
#include "cli/dbwait.h"
#include "cli/identity.h"
#include "cli/msg.h"

#include <jansson.h>

struct opts {
    const char *to, *station, *note;
    bool what[CM_REPORT_RETURNED + 1];
};

static const struct cm_arg args[] = {
    { "to", CM_ARG_STR, offsetof(struct opts, to), 0, 0, NULL, "URL",
      "the database: sqlite:FILE or postgresql://…" },
    { "used", CM_ARG_FLAG, offsetof(struct opts, what[CM_REPORT_USED]), 0, 0, NULL, NULL,
      "a device has it for good" },
    { "scrapped", CM_ARG_FLAG, offsetof(struct opts, what[CM_REPORT_SCRAPPED]), 0, 0, NULL, NULL,
      "nobody is to have it, ever" },
    { "returned", CM_ARG_FLAG, offsetof(struct opts, what[CM_REPORT_RETURNED]), 0, 0, NULL, NULL,
      "it was not used: another station may claim it" },
    { "station", CM_ARG_STR, offsetof(struct opts, station), 0, 0, NULL, "NAME",
      "who says so, and must have claimed it; the office, which may more" },
    { "note", CM_ARG_STR, offsetof(struct opts, note), 0, 0, NULL, "TEXT", "is kept with it; none" },
};

static cm_err check(const struct opts *o, enum cm_report *what, struct cm_error *err)
{
    int said = 0;

    for (int i = CM_REPORT_USED; i <= CM_REPORT_RETURNED; i++)
        if (o->what[i]) {
            *what = (enum cm_report) i;
            said++;
        }
    if (o->to == NULL || said != 1)
        CM_FAIL(err, CM_E_USAGE,
                "say with --to URL which database, and one of --used, --scrapped, --returned");
    CM_TRY(cm_identity_check_name("station", o->station, err));
    return cm_identity_check_name("note", o->note, err);
}

static cm_err run(const void *opts_void, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    const struct opts *o = opts_void;
    enum cm_report what = CM_REPORT_USED;
    struct cm_identity id = { 0 };
    struct cm_dbwait waiting = { .quiet = common->quiet };
    const struct cm_db_wait wait = cm_dbwait(&waiting, CM_DB_WAIT_MS);
    struct cm_db *db = NULL;

    CM_TRY(check(o, &what, err));
    CM_TRY(cm_db_open_used(o->to, "--to", &wait, &db, err));
    cm_err rc = cm_report(db, operands->item[0], what, o->station, o->note, &id, err);
    cm_db_close(db);
    if (rc == CM_OK && common->json)
        rc = cm_identity_json(&id, NULL, err);
    else if (rc == CM_OK && !common->quiet)
        cm_msg_note("%.96s is %s%s", id.field[CM_IDENTITY_DEVICE_ID], id.field[CM_IDENTITY_STATE],
                    id.again ? ", and was so already" : "");
    cm_identity_done(&id);
    return rc;
}

const struct cm_cmd cm_cmd_report = {
    .name = "report",
    .usage = "--to URL ID --used|--scrapped|--returned [OPTIONS]",
    .summary = "say what became of an identity that was claimed",
    .notes =
        "ID is a device id, or a certificate id (64 hex digits).\n"
        "\n"
        "A station may report what it has claimed, also when the lease has ended and nobody else has it:\n"
        "used, scrapped or returned, and later that what it has used was scrapped. Without --station it is\n"
        "the office that speaks: it may also take back what any station has claimed, and scrap what nobody\n"
        "has claimed. What is used never becomes unused, and what is scrapped stays so. The same report\n"
        "again changes nothing. Exit code 2: refused, and why.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
