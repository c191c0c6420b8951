#include "cli/rerun.h"

#include "cli/request.h"
#include "io/leftovers.h"

#include <fcntl.h>
#include <unistd.h>

cm_err cm_rerun_open(struct cm_rerun *r, const char *dir, struct cm_error *err)
{
    CM_TRY(cm_rundir_reopen(dir, &r->m.dir, err));
    r->m.dir_open = true;
    CM_TRY(cm_leftovers_sync(&r->m.dir, err));
    const cm_err rc = cm_journal_read(r->m.dir.fd, r->m.dir.path, &r->state, err);
    if (rc == CM_E_END && faccessat(r->m.dir.fd, "manifest.ndjson", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        CM_FAIL(err, CM_E_INPUT,
                "%s has a manifest, and no journal or not one sound record in it: restore the journal from a "
                "backup",
                dir);
    if (rc == CM_E_END)
        CM_FAIL(
            err, CM_E_INPUT,
            "%s has no journal: it is no fleet, or its run stopped before the first key; in that case remove "
            "it and mint again",
            dir);
    return rc;
}

cm_err cm_rerun_at_rest(const struct cm_rerun *r, struct cm_error *err)
{
    const char *const dir = r->m.dir.path;

    if (r->state.ended[0] == '\0')
        CM_FAIL(err, CM_E_USAGE, "the run in %s did not end: first give `certmill resume %s`", dir, dir);
    if (r->state.again.count > 0)
        CM_FAIL(err, CM_E_USAGE,
                "%s has devices that wait for new certificates: first give `certmill resume %s`", dir, dir);
    if (r->state.purging)
        CM_FAIL(err, CM_E_USAGE,
                "the keys of %s are being purged since %s: first give `certmill purge-keys %s --yes`", dir,
                r->state.purged_at, dir);
    return CM_OK;
}

static void override(const struct cm_rerun_opts *with, struct cm_mint_opts *o)
{
    o->ca = with->ca != NULL ? with->ca : o->ca;
    o->ca_key = with->ca_key != NULL ? with->ca_key : o->ca_key;
    if (with->ca_passphrase_file != NULL)
        o->ca_passphrase_file = with->ca_passphrase_file;
    o->devices = with->devices != NULL ? with->devices : o->devices;
    o->allow_insecure_ca_key |= with->allow_insecure_ca_key;
    o->workers = with->workers != 0 ? with->workers : o->workers;
    o->ledger = with->ledger != NULL ? with->ledger : o->ledger;
    o->feeds.db_wait = with->feeds.db_wait != 0 ? with->feeds.db_wait : o->feeds.db_wait;
    o->max_signatures = with->max_signatures != 0 ? with->max_signatures : o->max_signatures;
}

/* The list is ours to free, whosever it was. */
static cm_err take_databases(const struct cm_strs *with, struct cm_strs *to, struct cm_error *err)
{
    if (with->count == 0)
        return CM_OK;
    const char **item = reallocarray(to->item, with->count, sizeof *item);
    if (item == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the options");
    memcpy(item, with->item, with->count * sizeof *item);
    *to = (struct cm_strs) { .item = item, .count = with->count };
    return CM_OK;
}

cm_err cm_rerun_options(struct cm_rerun *r, const struct cm_rerun_opts *with, struct cm_error *err)
{
    CM_TRY(cm_request_options(r->state.run, &r->o, err));
    override(with, &r->o);
    r->o.feeds.quiet = r->m.common->quiet;
    r->o.out = r->m.dir.path;
    return take_databases(&with->feeds.to, &r->o.feeds.to, err);
}

/* The same request once more, from the journal. done is borrowed; it is read when the minting begins. */
static cm_err open_plan(struct cm_rerun *r, const struct cm_ranges *done, struct cm_error *err)
{
    struct cm_mint_identity again = { .done = done };

    CM_TRY(cm_request_identity(r->state.run, &again, err));
    CM_TRY(cm_mint_plan_open(&r->o, &again, &r->m.plan, err));
    CM_TRY(cm_request_compare(r->state.run, &r->m.plan, err));
    return cm_rundir_open_sides(&r->m.dir, r->o.keys_out, r->state.commits == 0, err);
}

cm_err cm_rerun_mint(struct cm_rerun *r, const struct cm_ranges *done, struct cm_error *err)
{
    CM_TRY(open_plan(r, done, err));
    return cm_minting_continue(&r->m, &r->state, err);
}

/* All numbers of the request but those of the groups. */
static cm_err all_but(const struct cm_rerun *r, const struct cm_rework *rework, struct cm_ranges *out,
                      struct cm_error *err)
{
    const uint64_t first = r->o.devices != NULL ? 1 : r->o.start;

    CM_TRY(cm_ranges_add(out, first, first + r->m.plan.source->devices - 1, err));
    for (size_t g = 0; g < rework->groups; g++)
        for (size_t i = 0; i < rework->group[g].seqs.count; i++)
            CM_TRY(cm_ranges_remove(out, rework->group[g].seqs.at[i].first, rework->group[g].seqs.at[i].last,
                                    err));
    return CM_OK;
}

cm_err cm_rerun_rework(struct cm_rerun *r, const struct cm_rerun_opts *with, const struct cm_rework *rework,
                       struct cm_error *err)
{
    struct cm_ranges done = { 0 };
    cm_err rc = cm_rerun_options(r, with, err);

    r->m.rework = rework;
    if (rc == CM_OK)
        rc = open_plan(r, &done, err);
    if (rc == CM_OK)
        rc = all_but(r, rework, &done, err);
    if (rc == CM_OK)
        rc = cm_minting_continue(&r->m, &r->state, err);
    cm_ranges_close(&done);
    return rc;
}

cm_err cm_rerun_feed(struct cm_rerun *r, const struct cm_rerun_opts *with, struct cm_error *err)
{
    struct cm_feeds *f = NULL;

    CM_TRY(cm_rerun_options(r, with, err));
    CM_TRY(cm_feeds_open(&r->o.feeds, &f, err));
    cm_err rc = cm_feeds_start(f, r->m.dir.path, err);
    if (rc != CM_OK)
        cm_feeds_offer(err);
    else
        rc = cm_feeds_finish(f, true, err);
    cm_feeds_close(f);
    return rc;
}

void cm_rerun_close(struct cm_rerun *r)
{
    cm_minting_close(&r->m);
    free((void *) r->o.feeds.to.item);
    cm_journal_state_done(&r->state);
}
