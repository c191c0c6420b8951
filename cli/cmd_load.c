#include "cli/cmd.h"
#include "cli/feeds.h"
#include "cli/msg.h"
#include "cli/signals.h"
#include "io/fleet.h"

#include <jansson.h>

struct opts {
    struct cm_feeds_opts feeds;
};

static const struct cm_arg args[] = {
    CM_FEEDS_ARGS(offsetof(struct opts, feeds)),
};

static void defaults(void *opts)
{
    ((struct opts *) opts)->feeds.db_wait = CM_FEEDS_WAIT_S;
}

static cm_err say(const struct cm_feeds *f, const char *dir, const struct cm_common *common,
                  struct cm_error *err)
{
    if (common->json)
        return cm_msg_json(cm_feeds_tell(f, json_pack("{s:s}", "dir", dir)), err);
    if (!common->quiet) {
        (void) printf("%s is loaded\n", dir);
        cm_feeds_print(f);
    }
    return CM_OK;
}

static cm_err load(struct cm_feeds *f, const char *dir, const struct cm_common *common, struct cm_error *err)
{
    cm_signals_catch();
    CM_TRY(cm_feeds_start(f, dir, err));
    CM_TRY(cm_feeds_finish(f, true, err));
    return say(f, dir, common, err);
}

static cm_err run(const void *opts_void, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    const struct opts *opts = opts_void;
    struct cm_feeds_opts feeds = opts->feeds;
    struct cm_feeds *f = NULL;

    feeds.quiet = common->quiet;
    CM_TRY(cm_feeds_open(&feeds, &f, err));
    if (f == NULL)
        CM_FAIL(err, CM_E_USAGE, "load: say where to: --to sqlite:FILE or --to postgresql://…");
    const cm_err rc = load(f, operands->item[0], common, err);
    cm_feeds_close(f);
    return rc;
}

const struct cm_cmd cm_cmd_load = {
    .name = "load",
    .usage = "DIR --to URL [OPTIONS]",
    .summary = "bring a fleet's rows and certificates into a database",
    .notes =
        "The database, SQLite or PostgreSQL, keeps how far it is in the transaction of the rows: what it "
        "has\n"
        "is not loaded again, so that this command may be given at any time, as often as one likes, also "
        "to\n"
        "several at once and while the fleet is minted. Private keys never go there.\n"
        "Ids that another run under the same CA has there refuse the load before its first row. SIGINT and\n"
        "SIGTERM end it behind the transaction under way; the same command loads the rest.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .defaults = defaults,
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
