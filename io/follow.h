#ifndef CM_IO_FOLLOW_H
#define CM_IO_FOLLOW_H

#include "io/load.h"

/* follow.h - a thread that keeps a database behind a fleet: it loads what is committed,
 * waits for more, and when the database goes away it comes back to it, ever more seldom
 * but at least every five seconds.
 *
 *  Waiting    nobody waits for the thread but who calls wait. While the fleet is minted
 *             it is patient for ever; from end on for patience_ms without progress.
 *  Threads    all calls come from one thread, the owner's.
 *  Ownership  the follower owns its connection and its view of the fleet; close stops it,
 *             and joins the thread.
 */
struct cm_follower;

struct cm_follower_conf {
    const char *url;        /* of the database; borrowed */
    const char *option;     /* what messages about it begin with */
    struct cm_db_wait wait; /* for others' locks; `more` is for open, later state.away says that it waits */
    unsigned patience_ms;
    const char *dir;  /* of the fleet */
    struct cm_db *db; /* a connection that is there already: the follower's from now on, also after a failure.
                         NULL: it makes one, at once, and a failure of that is open's */
    const struct cm_error *away; /* without db: the database was away just now, which is the reason; the
                                    thread comes back to it. Borrowed during open */
};

/* Nothing is loaded before upto. */
CM_MUST_CHECK cm_err cm_follower_open(const struct cm_follower_conf *conf, struct cm_follower **out,
                                      struct cm_error *err);
/* The fleet has committed so many octets of its manifest; what is less than before is passed over. */
void cm_follower_upto(struct cm_follower *f, uint64_t manifest_bytes);
/* What is in the fleet when it was opened, or when upto was called last, is all. */
void cm_follower_end(struct cm_follower *f);
/* No more waiting for a database that is away. */
void cm_follower_give_up(struct cm_follower *f);
/* Nor for the rest: ends behind the transaction under way, with CM_E_CLOSED when there was more to load. */
void cm_follower_stop(struct cm_follower *f);

struct cm_follower_state {
    struct cm_db_cursor at;  /* in the database */
    uint64_t loaded;         /* rows of those there that this follower brought */
    uint64_t manifest_bytes; /* committed by the fleet */
    bool away;               /* it does not answer; `why` says so */
    bool ended;              /* the thread is through, with this result */
    cm_err rc;
    struct cm_error why;
};

/* Waits until the thread has ended, or so many milliseconds (0: only looks). */
void cm_follower_wait(struct cm_follower *f, int ms, struct cm_follower_state *out);
/* The committed octets of the fleet when it was opened. */
uint64_t cm_follower_committed(const struct cm_follower *f);
const char *cm_follower_name(const struct cm_follower *f); /* of the database */
void cm_follower_close(struct cm_follower *f);             /* NULL accepted */

#endif
