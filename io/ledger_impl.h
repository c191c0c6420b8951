#ifndef CM_IO_LEDGER_IMPL_H
#define CM_IO_LEDGER_IMPL_H

#include "io/ledger.h"

/* ledger_impl.h - what ledger.c and the kinds of ledger share.
 *
 * ledger.c keeps the order of the calls and words the refusal; a kind keeps the
 * rows. Every kind has the same tables, in its own SQL; version CM_LEDGER_VERSION
 * of them is made from version N by its steps N, N + 1, …
 */
enum {
    CM_LEDGER_VERSION = 1,
    CM_LEDGER_NAMED = 3, /* ids that a refusal names */
    CM_LEDGER_HOST = 64, /* octets of a host name, with its end */
};

struct cm_ledger_ops {
    cm_err (*open)(const char *url, unsigned wait_ms, struct cm_ledger **out, struct cm_error *err);
    /* In the order of a reservation. settle: every id was added; fills in `held`
     * and notes the first of those that are. commit: only when none is. */
    cm_err (*begin)(struct cm_ledger *l, struct cm_error *err);
    cm_err (*add)(struct cm_ledger *l, struct cm_span id, struct cm_error *err);
    cm_err (*settle)(struct cm_ledger *l, struct cm_error *err);
    cm_err (*commit)(struct cm_ledger *l, struct cm_error *err);
    void (*rollback)(struct cm_ledger *l); /* after any of them */
    cm_err (*release)(struct cm_ledger *l, const char *ca_certificate_id, const char *run_id,
                      struct cm_error *err);
    void (*close)(struct cm_ledger *l);
};

extern const struct cm_ledger_ops cm_ledger_sqlite_ops, cm_ledger_pg_ops;

/* The common part, first in each kind's own. */
struct cm_ledger {
    const struct cm_ledger_ops *ops;
    char name[160];
    unsigned wait_ms;
    bool is_new;
    /* the reservation under way */
    bool reserving;
    struct cm_ledger_claim claim;
    char host[CM_LEDGER_HOST];
    uint64_t added;
    uint64_t held; /* by others */
    unsigned named;
    bool full;          /* no more of them are named */
    char named_run[37]; /* holder of the last that was named */
    char holders[260];  /* "run R (order O, on H, since T) holds A, B; run …" */
};

/* One id that another run holds; those beyond the first few are not named. */
struct cm_ledger_holder {
    struct cm_span id;
    const char *run_id, *order, *host, *since; /* order may be NULL */
};
void cm_ledger_note(struct cm_ledger *l, const struct cm_ledger_holder *holder);

/* The version of what is there: CM_E_INPUT when this program is too old for it. */
cm_err cm_ledger_check_version(const struct cm_ledger *l, int64_t version, struct cm_error *err);

#endif
