#ifndef CM_ENGINE_SERIALS_H
#define CM_ENGINE_SERIALS_H

#include "engine/recorder.h"

/* serials.h - the stock of serial prefixes of a run.
 *
 * A serial is 20 octets: one octet 01 to 7f and seven more that a batch has drawn,
 * the prefix, then twelve for each certificate (RFC 5280 4.1.2.2: positive, at most
 * 20 octets). A prefix is durably on record before anything is signed under it, and
 * every prefix ends in one of three ways: committed, unused, or burned.
 *
 *   draw ─► (on record) ─► admit ─► take ─► signed ─► commit
 *
 *  Threads  draw, admit, commit and end from one thread; take and signed from any;
 *           take waits for an admit. stop wakes whoever waits.
 *  Memory   fixed at open.
 */
struct cm_serials;

struct cm_serials_conf {
    uint64_t first;   /* number of the first prefix */
    size_t stock;     /* how many are kept ready */
    size_t batches;   /* how many may be taken at a time */
    uint64_t total;   /* that the run can take: no more are drawn; 0: not known */
    uint32_t at_most; /* certificates under one */
    bool unrecorded;  /* nobody keeps a record: draw when taken */
};

/* Draws a prefix: eight octets, the first from 01 to 7f, uniformly. */
CM_MUST_CHECK cm_err cm_serials_prefix(uint8_t out[CM_SERIAL_PREFIX], struct cm_error *err);

CM_MUST_CHECK cm_err cm_serials_open(const struct cm_serials_conf *conf, struct cm_serials **out,
                                     struct cm_error *err);
void cm_serials_close(struct cm_serials *s); /* NULL accepted */

/* Fills the stock up with prefixes that must be put on record, then admitted. The
 * list is the stock's, valid until admit. */
CM_MUST_CHECK cm_err cm_serials_draw(struct cm_serials *s, struct cm_prefixes *out, struct cm_error *err);
void cm_serials_admit(struct cm_serials *s);

/* Gives the batch its prefix. CM_E_CLOSED after stop. */
CM_MUST_CHECK cm_err cm_serials_take(struct cm_serials *s, struct cm_batch *b, struct cm_error *err);
/* So many certificates were signed under the batch's prefix. */
void cm_serials_signed(struct cm_serials *s, const struct cm_batch *b, uint32_t signatures);
void cm_serials_commit(struct cm_serials *s, const struct cm_ranges *numbers);
uint64_t cm_serials_signatures(struct cm_serials *s); /* in all, so far */
void cm_serials_stop(struct cm_serials *s);

/* What became of the rest, when nothing is under way any more. cm_serials_end_done
 * releases what it filled in. */
CM_MUST_CHECK cm_err cm_serials_end(struct cm_serials *s, struct cm_attempt_end *out, struct cm_error *err);
void cm_serials_end_done(struct cm_attempt_end *end);

#endif
