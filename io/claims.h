#ifndef CM_IO_CLAIMS_H
#define CM_IO_CLAIMS_H

#include "io/db_query.h"

/* claims.h - identities of the database go to stations, each to one (docs/formats.md, "The database").
 *
 *     unused ──claim──► claimed ──used──► used
 *        ▲                 │ │              │
 *        └── returned ─────┘ └─scrapped─► scrapped ◄─┘
 *
 *  Once       an identity that is claimed is nobody else's until its lease ends, it is
 *             returned, or its station asks for it again under the same request id.
 *  Durable    what a call reports.
 *  Errors     CM_E_USAGE: a request that contradicts an earlier one, or the rules;
 *             CM_E_INPUT: no such device; CM_E_DB.
 *  Threads    one at a time.
 */
struct cm_claim_request {
    const char *station;
    const char *sku, *lot, *order; /* NULL: any */
    uint64_t lease_s;              /* 0: for ever */
    const char *request_id;        /* NULL: each call is another request */
};

/* One device's row, for stations: texts of the answer's, NULL is null. */
enum cm_identity_field {
    CM_IDENTITY_DEVICE_ID,
    CM_IDENTITY_CERTIFICATE_ID,
    CM_IDENTITY_SERIAL,
    CM_IDENTITY_SUBJECT,
    CM_IDENTITY_NOT_AFTER,
    CM_IDENTITY_LOT,
    CM_IDENTITY_SKU,
    CM_IDENTITY_ORDER,
    CM_IDENTITY_RUN_ID,
    CM_IDENTITY_DIRECTORY,
    CM_IDENTITY_KEYS_DIR,
    CM_IDENTITY_CHAIN_FILE,
    CM_IDENTITY_CHAIN_OFFSET,
    CM_IDENTITY_CHAIN_LENGTH,
    CM_IDENTITY_KEY_FILE,
    CM_IDENTITY_KEY_OFFSET,
    CM_IDENTITY_KEY_LENGTH,
    CM_IDENTITY_ATTRIBUTES,
    CM_IDENTITY_STATE,
    CM_IDENTITY_STATION,
    CM_IDENTITY_REQUEST_ID,
    CM_IDENTITY_CLAIMED_AT,
    CM_IDENTITY_LEASE_UNTIL,
    CM_IDENTITY_REPORTED_AT,
    CM_IDENTITY_NOTE,
    CM_IDENTITY_SUPERSEDED_BY,
    CM_IDENTITY_CERTIFICATE, /* DER, hex */
    CM_IDENTITY_CHAIN_PEM,   /* the CA's certificate, then the chain above it */
    CM_IDENTITY_FIELDS,
};

struct cm_identity {
    const char *field[CM_IDENTITY_FIELDS];
    bool again; /* this request had it before; a report: it was so already */
    struct cm_db_answer answer;
};

const char *cm_identity_name(size_t field);   /* "device_id" */
void cm_identity_done(struct cm_identity *i); /* zeroed accepted */

/* The next identity that is unused, or else one whose lease has ended. CM_E_END: there is none. */
CM_MUST_CHECK cm_err cm_claim(struct cm_db *d, const struct cm_claim_request *request,
                              struct cm_identity *out, struct cm_error *err);

enum cm_report { CM_REPORT_USED, CM_REPORT_SCRAPPED, CM_REPORT_RETURNED };

/* What became of an identity. id: a device id or a certificate id. station: it must be the one that has it;
 * NULL: the office, which may also scrap what nobody has claimed, and take back from anybody. note may be
 * NULL. */
CM_MUST_CHECK cm_err cm_report(struct cm_db *d, const char *id, enum cm_report what, const char *station,
                               const char *note, struct cm_identity *out, struct cm_error *err);

#endif
