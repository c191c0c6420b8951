#ifndef CM_CLI_RERUN_H
#define CM_CLI_RERUN_H

#include "cli/minting.h"

/* rerun.h - a run that is taken up again: what `resume`, `reissue`, `repair` and
 * `purge-keys` share. All zero at first but m.common; close accepts any state.
 */

/* What may be different from the first attempt: where files lie, how many threads. */
struct cm_rerun_opts {
    const char *ca, *ca_key, *ca_passphrase_file, *devices;
    bool allow_insecure_ca_key;
    uint32_t workers;
    uint64_t max_signatures;
    const char *ledger;
    struct cm_feeds_opts feeds;
};

/* clang-format off */
/* Their rows in a subcommand's table; `in` is the field of its struct opts that holds them. */
#define CM_RERUN_AT(in, field) (offsetof(struct opts, in) + offsetof(struct cm_rerun_opts, field))
#define CM_RERUN_STR(in, name, field, metavar, help) \
    { name, CM_ARG_STR, CM_RERUN_AT(in, field), 0, 0, NULL, metavar, help }
#define CM_RERUN_ARGS(in) \
    CM_RERUN_STR(in, "ca", ca, "FILE", "the CA's certificate; where it was"), \
    CM_RERUN_STR(in, "ca-key", ca_key, "FILE", "the CA's private key; where it was"), \
    CM_RERUN_STR(in, "ca-passphrase-file", ca_passphrase_file, "FILE", \
                 "the CA key's passphrase; as it was"), \
    { "allow-insecure-ca-key", CM_ARG_FLAG, CM_RERUN_AT(in, allow_insecure_ca_key), 0, 0, NULL, NULL, \
      "accept a CA key file that others can read" }, \
    CM_RERUN_STR(in, "devices", devices, "FILE", "the device list; where it was"), \
    { "workers", CM_ARG_U32, CM_RERUN_AT(in, workers), 1, 1024, NULL, "N", "threads that mint; as it was" }, \
    CM_RERUN_STR(in, "ledger", ledger, "URL", \
                 "the same ledger, with a password if it needs one; as it was"), \
    { "to", CM_ARG_STRS, CM_RERUN_AT(in, feeds.to), 0, 0, NULL, "URL", \
      "databases instead of those of the run, or with a password if they need one; none; as it was" }, \
    { "db-wait", CM_ARG_U32, CM_RERUN_AT(in, feeds.db_wait), 1, 86400, NULL, "SECONDS", \
      "patience with a database that is locked, or away once the fleet is done; as it was" }, \
    { "max-signatures", CM_ARG_U64, CM_RERUN_AT(in, max_signatures), 1, INT64_MAX, NULL, "N", \
      "how many certificates the CA may sign for this run in all; as it was" }
/* clang-format on */

struct cm_rerun {
    struct cm_minting m;
    struct cm_journal_state state;
    struct cm_mint_opts o; /* its texts are the state's and the caller's */
};

/* Opens and locks the directory, makes durable what is there, reads the journal. */
CM_MUST_CHECK cm_err cm_rerun_open(struct cm_rerun *r, const char *dir, struct cm_error *err);
/* CM_E_USAGE: the run has not ended, or something in it waits to be finished: says which command does so. */
CM_MUST_CHECK cm_err cm_rerun_at_rest(const struct cm_rerun *r, struct cm_error *err);
/* The options of the run, those of `with` in their place. */
CM_MUST_CHECK cm_err cm_rerun_options(struct cm_rerun *r, const struct cm_rerun_opts *with,
                                      struct cm_error *err);
/* Plans anew, which must come to the same request, and mints what is not in `done`. */
CM_MUST_CHECK cm_err cm_rerun_mint(struct cm_rerun *r, const struct cm_ranges *done, struct cm_error *err);
/* Mints the devices of `rework`, and no other, again. */
CM_MUST_CHECK cm_err cm_rerun_rework(struct cm_rerun *r, const struct cm_rerun_opts *with,
                                     const struct cm_rework *rework, struct cm_error *err);
/* A run that is complete: the databases get what they lack. */
CM_MUST_CHECK cm_err cm_rerun_feed(struct cm_rerun *r, const struct cm_rerun_opts *with,
                                   struct cm_error *err);
void cm_rerun_close(struct cm_rerun *r);

#endif
