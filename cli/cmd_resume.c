#include "cli/cmd.h"
#include "cli/minting.h"
#include "cli/msg.h"
#include "cli/request.h"
#include "io/fleet.h"
#include "io/leftovers.h"

#include <sys/stat.h>

/* What may be different from the first attempt: where files lie, how many threads. */
struct opts {
    const char *ca, *ca_key, *ca_passphrase_file, *devices;
    bool allow_insecure_ca_key;
    uint32_t workers;
    uint64_t max_signatures;
    const char *ledger;
};

#define OPT(field) offsetof(struct opts, field)

static const struct cm_arg args[] = {
    { "ca", CM_ARG_STR, OPT(ca), 0, 0, NULL, "FILE", "the CA's certificate; where it was" },
    { "ca-key", CM_ARG_STR, OPT(ca_key), 0, 0, NULL, "FILE", "the CA's private key; where it was" },
    { "ca-passphrase-file", CM_ARG_STR, OPT(ca_passphrase_file), 0, 0, NULL, "FILE",
      "the CA key's passphrase; as it was" },
    { "allow-insecure-ca-key", CM_ARG_FLAG, OPT(allow_insecure_ca_key), 0, 0, NULL, NULL,
      "accept a CA key file that others can read" },
    { "devices", CM_ARG_STR, OPT(devices), 0, 0, NULL, "FILE", "the device list; where it was" },
    { "workers", CM_ARG_U32, OPT(workers), 1, 1024, NULL, "N", "threads that mint; as it was" },
    { "ledger", CM_ARG_STR, OPT(ledger), 0, 0, NULL, "URL",
      "the same ledger, with a password if it needs one; as it was" },
    { "max-signatures", CM_ARG_U64, OPT(max_signatures), 1, INT64_MAX, NULL, "N",
      "how many certificates the CA may sign for this run in all; as it was" },
};

struct resume {
    struct cm_minting m;
    struct cm_journal_state state;
    struct cm_mint_opts o; /* its texts are the state's */
};

static cm_err read_journal(struct resume *r, const char *dir, struct cm_error *err)
{
    CM_TRY(cm_rundir_reopen(dir, &r->m.dir, err));
    r->m.dir_open = true;
    CM_TRY(cm_leftovers_sync(&r->m.dir, err));
    const cm_err rc = cm_journal_read(r->m.dir.fd, r->m.dir.path, &r->state, err);
    if (rc == CM_E_END)
        CM_FAIL(
            err, CM_E_INPUT,
            "%s has no journal: it is no fleet, or its run stopped before the first key; in that case remove "
            "it and mint again",
            dir);
    return rc;
}

static void override(const struct opts *with, struct cm_mint_opts *o)
{
    o->ca = with->ca != NULL ? with->ca : o->ca;
    o->ca_key = with->ca_key != NULL ? with->ca_key : o->ca_key;
    if (with->ca_passphrase_file != NULL)
        o->ca_passphrase_file = with->ca_passphrase_file;
    o->devices = with->devices != NULL && o->devices != NULL ? with->devices : o->devices;
    o->allow_insecure_ca_key |= with->allow_insecure_ca_key;
    o->workers = with->workers != 0 ? with->workers : o->workers;
    o->ledger = with->ledger != NULL ? with->ledger : o->ledger;
    o->max_signatures = with->max_signatures != 0 ? with->max_signatures : o->max_signatures;
}

/* Is run.json's outcome that of a run that is through? */
static bool view_is_complete(const struct resume *r)
{
    struct cm_fleet *f = NULL;
    const bool complete =
        cm_fleet_open(r->m.dir.path, NULL, &f, NULL) == CM_OK && cm_fleet_run(f)->state == CM_FLEET_COMPLETE;

    cm_fleet_close(f);
    return complete;
}

static cm_err say_finished(const struct resume *r, struct cm_error *err)
{
    if (r->m.common->json)
        return cm_msg_json(json_pack("{s:s s:s s:I s:I}", "out", r->m.dir.path, "state", "complete",
                                     "devices", (json_int_t) r->state.at.devices, "minted", (json_int_t) 0),
                           err);
    if (!r->m.common->quiet)
        (void) printf("%s is complete: all %llu devices are minted; there is nothing to resume\n",
                      r->m.dir.path, (unsigned long long) r->state.at.devices);
    return CM_OK;
}

static cm_err resume(struct resume *r, const char *dir, const struct opts *with, struct cm_error *err)
{
    struct cm_mint_identity again = { 0 };

    CM_TRY(read_journal(r, dir, err));
    if (strcmp(r->state.ended, "complete") == 0 && view_is_complete(r))
        return say_finished(r, err);
    CM_TRY(cm_request_options(r->state.run, &r->o, err));
    CM_TRY(cm_request_identity(r->state.run, &again, err));
    again.done = &r->state.seqs;
    override(with, &r->o);
    r->o.out = r->m.dir.path;
    CM_TRY(cm_mint_plan_open(&r->o, &again, &r->m.plan, err));
    CM_TRY(cm_request_compare(r->state.run, &r->m.plan, err));
    CM_TRY(cm_rundir_open_sides(&r->m.dir, r->o.keys_out, r->state.commits == 0, err));
    return cm_minting_continue(&r->m, &r->state, err);
}

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    struct resume r = { .m = { .common = common } };

    (void) umask(022);
    const cm_err rc = resume(&r, operands->item[0], opts, err);
    cm_minting_close(&r.m);
    cm_journal_state_done(&r.state);
    return rc;
}

const struct cm_cmd cm_cmd_resume = {
    .name = "resume",
    .usage = "DIR [OPTIONS]",
    .summary = "continue a run that stopped, for whatever reason",
    .notes =
        "What was asked is taken from the journal of DIR. What is committed stays, octet for octet; what is\n"
        "not is discarded, said, and minted anew under new serials. A CA, device list or profile that\n"
        "changed meanwhile is refused. Resuming a run that is complete changes nothing.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .operands_min = 1,
    .operands_max = 1,
    .run = run,
};
