#ifndef CM_CLI_MINTPLAN_H
#define CM_CLI_MINTPLAN_H

#include "cli/badrows.h"
#include "cli/cores.h"
#include "cli/feeds.h"
#include "cli/profiles.h"
#include "engine/pipeline.h"
#include "io/ledger.h"
#include "io/sinks.h"

#include <limits.h>

/* mintplan.h - from the options of `mint` to everything that a run needs, with
 * every check that can be made before the first key, and before anything is
 * written.
 */
struct cm_mint_opts {
    const char *ca, *ca_key, *ca_passphrase_file;
    bool allow_insecure_ca_key;
    const char *out, *keys_out;
    uint64_t count, start;
    const char *id_pattern, *devices, *mac_base;
    int devices_format; /* enum cm_list_format */
    const char *id_column, *skip_bad;
    const char *key, *profile, *subject, *san, *signature;
    uint32_t days;
    const char *not_after;
    bool allow_outlive_ca;
    const char *lot, *sku, *order;
    int layout, key_format, encoding; /* enums of batch.h */
    bool plaintext_keys;
    int rsa_keygen; /* 0: auto, 1: own, 2: libcrypto */
    int ec;         /* 0: auto, 1: batch, 2: libcrypto */
    bool fips;
    uint32_t workers, batch;
    int io;                  /* enum cm_io_kind */
    int sync;                /* 0: commit, 1: none */
    uint64_t max_signatures; /* 0: no bound */
    const char *ledger;      /* NULL: none */
    struct cm_feeds_opts feeds;
    bool explain;
    struct cm_ca *standin; /* signs in the place of a CA that nobody named; borrowed. NULL: ca is named */
};

/* A run that is taken up again: what it was given when it began, and what is done. */
struct cm_mint_identity {
    uint8_t run_id[16];
    cm_when created_at;
    const struct cm_ranges *done; /* committed sequence numbers; borrowed */
};

struct cm_mint_plan {
    const struct cm_mint_opts *o;
    cm_when now;   /* when the run began: notBefore counts from here, archive entries bear it */
    cm_when clock; /* what the clock says: the CA must be valid at that time */
    cm_when not_before, not_after;
    uint8_t run_id[16];
    char run_id_text[37];
    char libcrypto[160];     /* versions, with the FIPS provider's where that is used */
    struct cm_hasher hasher; /* the main thread's */
    struct cm_ca *ca;
    struct cm_ca *standin; /* with --explain: what signs for the calibration (cainit.h); else NULL */
    struct cm_profiles_item profile_text;
    struct cm_profile *profile;
    char subject_buf[CM_PATTERN_TEXT], san_buf[CM_PATTERN_TEXT * 4];
    const char *subject_text, *san_text; /* as used: option or profile */
    struct cm_ledger *ledger;            /* a reservation of all ids that is not committed yet; NULL: none */
    char ledger_public[CM_LEDGER_URL_MAX]; /* its URL without a password; "": none */
    struct cm_feeds *feeds;                /* the databases of --to, connected; NULL: none */
    uint64_t mac_base;
    struct cm_name name;
    struct cm_tmpl *tmpl;
    const struct cm_listread *list;   /* of the source; NULL: by count */
    const struct cm_columns *columns; /* of the list; NULL: none */
    struct cm_column_bounds bounds;   /* where there are columns */
    struct cm_badrows bad;            /* rows of the list that are left out */
    struct cm_source *source;
    struct cm_row_texts row;
    struct cm_cores cores;
    struct cm_batch_plan batch;
    uint32_t batches;
    struct cm_pool *pool;
    struct cm_pipeline_conf pipeline; /* all but the sinks */
};

/* CM_E_USAGE, CM_E_INPUT: what is wrong with the request; CM_E_LIMIT: not enough
 * memory that may be locked. again: NULL for a new run. close accepts a plan in any state, zeroed at first.
 */
CM_MUST_CHECK cm_err cm_mint_plan_open(const struct cm_mint_opts *o, const struct cm_mint_identity *again,
                                       struct cm_mint_plan *p, struct cm_error *err);
void cm_mint_plan_close(struct cm_mint_plan *p);

/* Can the run fit on the file system of --out, or is it hopeless? CM_E_LIMIT says
 * what it needs and what there is. */
CM_MUST_CHECK cm_err cm_mint_plan_check_room(const struct cm_mint_plan *p, struct cm_error *err);

/* What the certificates are made of; key and profile are set. */
struct cm_certspec cm_mint_plan_spec(const struct cm_mint_plan *p);
/* The directory that `out` lies in; "." where it is NULL. */
void cm_mint_plan_parent(const char *out, char dir[PATH_MAX]);
/* Devices in a batch where memory that may be locked sets no bound. */
uint32_t cm_mint_plan_batch(const struct cm_mint_plan *p);

/* Octets of the segments and rows per device, measured on what a batch takes at most. */
uint64_t cm_mint_plan_bytes(const struct cm_mint_plan *p);

#endif
