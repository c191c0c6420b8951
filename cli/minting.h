#ifndef CM_CLI_MINTING_H
#define CM_CLI_MINTING_H

#include "cli/args.h"
#include "cli/mintplan.h"
#include "io/journalread.h"
#include "io/rundir.h"

/* minting.h - one attempt of a run, from its plan to its summary: what `mint` and
 * `resume` share. The caller fills in `common`, `plan` and for a resume `dir`;
 * all else is zero at first. close accepts any state.
 */
/* Devices that get new certificates in the place of those in force; borrowed. The plan's source gives out
 * these and no other. */
struct cm_rework {
    const char *command; /* for the journal */
    const struct cm_rework_group {
        const char *reason;
        struct cm_ranges seqs;
    } * group;
    size_t groups;
};

struct cm_minting {
    const struct cm_common *common;
    struct cm_mint_plan plan;
    struct cm_rundir dir;
    bool dir_open;
    bool reserved;                         /* the ids are in the ledger */
    const struct cm_journal_state *before; /* NULL: a new run */
    const struct cm_rework *rework; /* devices to mint again; NULL: none, but for what `before` tells */
    struct cm_journal *journal;
    struct cm_places places;
    struct cm_sink *bundles, *manifest;
    json_t *json; /* run.json */
    struct cm_pipeline_stats stats;
    double seconds, cpu_seconds;
    char how[128], why[200]; /* how segments were written, and why not otherwise */
};

/* A new run, from its directory on. */
CM_MUST_CHECK cm_err cm_minting_begin(struct cm_minting *m, struct cm_error *err);
/* The rest of a run: m->dir is open and locked, `before` was read from it, the plan agrees with it. */
CM_MUST_CHECK cm_err cm_minting_continue(struct cm_minting *m, const struct cm_journal_state *before,
                                         struct cm_error *err);
/* What a person should know of a run that begins. */
void cm_minting_notices(const struct cm_minting *m, bool durable);
void cm_minting_close(struct cm_minting *m);

#endif
