#ifndef CM_IO_LEDGER_H
#define CM_IO_LEDGER_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "io/dburl.h"

/* ledger.h - the book in which runs, orders and machines that share a CA reserve
 * device ids, so that no id is minted twice below one CA. A run reserves all of
 * its ids before its first key is made.
 *
 *  Where      sqlite:FILE or postgresql://…; docs/formats.md has the schema.
 *  Reserving  begin, add for every id, commit: all or nothing. An id that another
 *             run holds refuses the whole reservation; one that this run holds
 *             already is fine, so that a run that resumes reserves once more.
 *  At a time  reservations below one CA take turns: of two that overlap, one is
 *             made whole and the other refused. Waiting is bounded by wait_ms.
 *  Durable    what commit reported is on the server's or the file's disk.
 *  Failure    nothing is held that was not held before. The one exception says so
 *             in its message: the connection broke while the commit was under way
 *             and the server can't be asked any more.
 *  Memory     bounded, however many ids.
 *  Secrets    no message has the password of the URL, nor the URL.
 *  Ownership  close frees everything (NULL accepted) and abandons a reservation
 *             that was not committed.
 *  Threads    one at a time.
 *
 * TO ADD A KIND: a file io/ledger_x.c, and what dburl.h says; the contract test
 * walks the table.
 */
enum {
    CM_LEDGER_WAIT_MS = CM_DB_WAIT_MS, /* the usual wait for others' reservations */
    CM_LEDGER_URL_MAX = CM_DB_URL_MAX,
};

struct cm_ledger;

/* Checks the form of the URL, and writes it without its password and with an
 * absolute path: what may be recorded, and names the same ledger everywhere.
 * CM_E_USAGE says what is wrong with it. Touches nothing. */
CM_MUST_CHECK cm_err cm_ledger_public(const char *url, char *out, size_t cap, struct cm_error *err);

/* Opens the ledger, making it where there is none. CM_E_USAGE: the URL; CM_E_DB,
 * CM_E_IO: it can't be reached or written; CM_E_INPUT: a newer certmill made it. */
CM_MUST_CHECK cm_err cm_ledger_open(const char *url, unsigned wait_ms, struct cm_ledger **out,
                                    struct cm_error *err);
/* This open made it: nobody reserved anything there. Worth a word to the user, who
 * may have meant another file, or one on a file system that is not mounted. */
bool cm_ledger_is_new(const struct cm_ledger *l);
/* What messages call it. */
const char *cm_ledger_name(const struct cm_ledger *l);

/* Who reserves. The texts live until commit. */
struct cm_ledger_claim {
    const char *ca_certificate_id; /* 64 hexadecimal digits */
    const char *run_id;            /* UUID, 36 characters */
    const char *order;             /* NULL: none */
};
CM_MUST_CHECK cm_err cm_ledger_begin(struct cm_ledger *l, const struct cm_ledger_claim *claim,
                                     struct cm_error *err);
/* id as cm_id_check takes it. After a failure of add or commit the reservation is
 * abandoned; the next call is begin or close. */
CM_MUST_CHECK cm_err cm_ledger_add(struct cm_ledger *l, struct cm_span id, struct cm_error *err);
/* CM_E_INPUT: others hold some of the ids; says how many, the first of them, and
 * who holds those. */
CM_MUST_CHECK cm_err cm_ledger_commit(struct cm_ledger *l, struct cm_error *err);

/* Frees all that a run holds: for a run that minted nothing. Looks at every id
 * below the CA. A run that holds nothing is fine. */
CM_MUST_CHECK cm_err cm_ledger_release(struct cm_ledger *l, const char *ca_certificate_id, const char *run_id,
                                       struct cm_error *err);
void cm_ledger_close(struct cm_ledger *l);

#endif
