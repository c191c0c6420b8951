#include "cli/cmd.h"
#include "cli/msg.h"
#include "cli/rerun.h"
#include "io/purge.h"

struct opts {
    const char *keys;
    bool yes;
};

static const struct cm_arg args[] = {
    { "yes", CM_ARG_FLAG, offsetof(struct opts, yes), 0, 0, NULL, NULL,
      "really: must be said, because nothing brings the keys back" },
    { "keys", CM_ARG_STR, offsetof(struct opts, keys), 0, 0, NULL, "DIR",
      "where the keys are; DIR/keys, or where the run wrote them" },
};

static cm_err open_journal(struct cm_rerun *r, struct cm_error *err)
{
    static const struct cm_places nowhere;
    const struct cm_journal_conf conf = {
        .dir = &r->m.dir, .run_id = "", .places = &nowhere, .durable = true
    };

    return cm_journal_continue(&conf, &r->state.at, &r->state.again, &r->m.journal, err);
}

static cm_err say(const struct cm_rerun *r, const struct cm_purge_result *done, struct cm_error *err)
{
    if (r->m.common->json)
        CM_TRY(cm_msg_json(json_pack("{s:s s:I s:I}", "out", r->m.dir.path, "purged",
                                     (json_int_t) done->units, "left_alone", (json_int_t) done->foreign),
                           err));
    else if (!r->m.common->quiet)
        (void) printf("%s: %llu %s with keys overwritten and removed; the certificates stay\n", r->m.dir.path,
                      (unsigned long long) done->units,
                      r->o.layout == CM_LAYOUT_TREE ? "directories" : "segments");
    if (done->foreign > 0)
        CM_FAIL(
            err, CM_E_FOUND,
            "%llu other files lie in %s (the first is %.80s) and were left alone: see whether they hold keys",
            (unsigned long long) done->foreign, r->m.dir.keys_path, done->first_foreign);
    return CM_OK;
}

/* Intention, deed, and that it is done, each durable before the next. */
static cm_err purge(struct cm_rerun *r, const struct opts *opts, struct cm_error *err)
{
    static const struct cm_rerun_opts as_it_was;
    const struct cm_journal_state *s = &r->state;
    const uint32_t before = s->purging      ? s->purged_before
                            : s->units == 0 ? 0
                                            : s->unit[s->units - 1].number + 1;
    struct cm_purge_result done = { 0 };

    CM_TRY(cm_rerun_options(r, &as_it_was, err));
    CM_TRY(cm_rundir_open_sides(&r->m.dir, opts->keys != NULL ? opts->keys : r->o.keys_out, false, err));
    const struct cm_purge_conf conf = { .fd = r->m.dir.keys_fd,
                                        .path = r->m.dir.keys_path,
                                        .tree = r->o.layout == CM_LAYOUT_TREE };
    if (!s->purging && s->purged_before == before) { /* it may have come back from a backup */
        CM_TRY(cm_purge(&conf, &done, err));
        return say(r, &done, err);
    }
    CM_TRY(open_journal(r, err));
    if (!s->purging)
        CM_TRY(cm_journal_purge(r->m.journal, false, before, err));
    CM_TRY(cm_purge(&conf, &done, err));
    CM_TRY(cm_journal_purge(r->m.journal, true, before, err));
    return say(r, &done, err);
}

static cm_err check(const struct cm_rerun *r, const struct opts *opts, struct cm_error *err)
{
    if (!opts->yes)
        CM_FAIL(err, CM_E_USAGE,
                "purge-keys removes the private keys of %s for good: hand them over first, then add --yes",
                r->m.dir.path);
    return r->state.purging ? CM_OK : cm_rerun_at_rest(r, err);
}

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    struct cm_rerun r = { .m = { .common = common } };

    cm_err rc = cm_rerun_open(&r, operands->item[0], err);
    if (rc == CM_OK)
        rc = check(&r, opts, err);
    if (rc == CM_OK)
        rc = purge(&r, opts, err);
    cm_rerun_close(&r);
    return rc;
}

const struct cm_cmd cm_cmd_purge_keys = {
    .name = "purge-keys",
    .usage = "DIR --yes [OPTIONS]",
    .summary = "overwrite and remove the private keys of a run after hand-over",
    .notes =
        "Overwrites all key segments or files of the run with zeros, forces that to disk, removes them, and\n"
        "puts it on record. Interrupted, it is told by verify and finished by giving it again. Certificates\n"
        "and manifest stay; certmill verify checks them, and that no key is left. Nothing is asked: scripts\n"
        "run this, and --yes is what tells them from a slip of the pen.\n"
        "\n"
        "A purged key is gone: a device that needs one gets it, with a new certificate, by certmill "
        "reissue.\n"
        "Copies in backups, snapshots, journalling or copy-on-write file systems and in flash cells that a\n"
        "disk has set aside are beyond this program's reach.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
