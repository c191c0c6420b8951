#include "cli/cmd.h"
#include "cli/msg.h"
#include "cli/rerun.h"
#include "io/fleet.h"

#include <sys/stat.h>

struct opts {
    struct cm_rerun_opts rerun;
};

static const struct cm_arg args[] = {
    CM_RERUN_ARGS(rerun),
};

/* Is run.json's outcome that of a run that is through? */
static bool view_is_complete(const struct cm_rerun *r)
{
    struct cm_fleet *f = NULL;
    const bool complete =
        cm_fleet_open(r->m.dir.path, NULL, &f, NULL) == CM_OK && cm_fleet_run(f)->state == CM_FLEET_COMPLETE;

    cm_fleet_close(f);
    return complete;
}

static cm_err say_finished(const struct cm_rerun *r, struct cm_error *err)
{
    if (r->m.common->json)
        return cm_msg_json(json_pack("{s:s s:s s:I s:I}", "out", r->m.dir.path, "state", "complete",
                                     "devices", (json_int_t) cm_journal_rows_in_force(&r->state), "minted",
                                     (json_int_t) 0),
                           err);
    if (!r->m.common->quiet)
        (void) printf("%s is complete: all %llu devices are minted; there is nothing to resume\n",
                      r->m.dir.path, (unsigned long long) cm_journal_rows_in_force(&r->state));
    return CM_OK;
}

/* A reissue or repair that did not end is completed: its devices have the old certificates in force so far.
 */
static void say_again(const struct cm_rerun *r)
{
    const struct cm_journal_state *s = &r->state;
    const struct cm_journal_attempt_state *last = s->attempts > 0 ? &s->attempt[s->attempts - 1] : NULL;

    if (r->m.common->quiet || last == NULL)
        return;
    if (s->again.count > 0)
        cm_msg_note("completing what was begun: %llu devices get new certificates (%s); until then the old "
                    "ones are in force",
                    (unsigned long long) cm_ranges_size(&s->again), s->supersede[s->supersedes - 1].reason);
    else if (last->rework && !last->ended)
        cm_msg_note(
            last->supersedes == s->supersedes
                ? "the reissue or repair that was interrupted had not begun: it is rolled back, the old "
                  "certificates stay in force; give it again"
                : "the reissue or repair that was interrupted was through: the new certificates are in "
                  "force");
}

static cm_err resume(struct cm_rerun *r, const char *dir, const struct opts *with, struct cm_error *err)
{
    CM_TRY(cm_rerun_open(r, dir, err));
    if (r->state.purging)
        return cm_rerun_at_rest(r, err);
    if (strcmp(r->state.ended, "complete") == 0 && view_is_complete(r)) {
        CM_TRY(cm_rerun_feed(r, &with->rerun, err));
        return say_finished(r, err);
    }
    say_again(r);
    CM_TRY(cm_rerun_options(r, &with->rerun, err));
    return cm_rerun_mint(r, &r->state.seqs, err);
}

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    struct cm_rerun r = { .m = { .common = common } };

    (void) umask(022);
    const cm_err rc = resume(&r, operands->item[0], opts, err);
    cm_rerun_close(&r);
    return rc;
}

const struct cm_cmd cm_cmd_resume = {
    .name = "resume",
    .usage = "DIR [OPTIONS]",
    .summary = "continue a run that stopped, for whatever reason",
    .notes =
        "What was asked is taken from the journal of DIR. What is committed stays, octet for octet; what is\n"
        "not is discarded, said, and minted anew under new serials. A CA, device list or profile that\n"
        "changed meanwhile is refused. Resuming a run that is complete changes nothing; its databases get "
        "what\n"
        "they lack.\n"
        "A reissue or repair that was interrupted is completed: a device has its old certificate until the\n"
        "new one is committed.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
