#ifndef CM_IO_LOAD_H
#define CM_IO_LOAD_H

#include "io/db.h"
#include "io/fleet.h"

/* load.h - brings the committed rows of a fleet, with their certificates, into a
 * database: afterwards, while the fleet is minted, and again after whatever went wrong.
 * There is one way: from the cursor that the database keeps, on to the end.
 *
 *  Once       loading what is loaded does nothing; loads that run at the same time take
 *             turns, each from where the last one ended.
 *  Checked    each bundle against the row's XXH3, each certificate against its id.
 *  Rework     a row that takes the place of another marks it: superseded_by, and a state
 *             `unused` becomes `scrapped`.
 *  Whole      a transaction has up to CM_LOAD_ROWS rows; after a failure those before it
 *             stay, and the cursor is behind them.
 *  Ids        of another run under the same CA refuse the load before its first row; one
 *             that comes there at the same time, at the transaction that has it.
 *  Threads    one at a time.
 */
enum { CM_LOAD_ROWS = 16384 };

struct cm_loader;

struct cm_loader_conf {
    const char *url;        /* of the database; borrowed */
    const char *option;     /* what messages about it begin with */
    struct cm_db_wait wait; /* for others' locks */
    struct cm_fleet *fleet; /* borrowed; it may grow between the calls */
    struct cm_db *db; /* a connection that is there already: the loader's from now on; NULL: it makes one */
    bool later;       /* without db: run makes it, for the database was away just now */
};

/* Connects, unless later, and makes sure of the schema; the run's row is made with the first rows. */
CM_MUST_CHECK cm_err cm_loader_open(const struct cm_loader_conf *conf, struct cm_loader **out,
                                    struct cm_error *err);
void cm_loader_close(struct cm_loader *l); /* NULL accepted */

/* All that the fleet has committed; more: called after each transaction (may be NULL), false ends the load
 * there with CM_E_CLOSED. CM_E_INPUT: rows or bundles are damaged, or ids belong to another run; the rest as
 * db.h has it. */
typedef bool cm_loader_more(void *arg, const struct cm_db_cursor *at);
CM_MUST_CHECK cm_err cm_loader_run(struct cm_loader *l, cm_loader_more *more, void *arg,
                                   struct cm_error *err);
/* The end of a load: the indexes, where they are not there yet. */
CM_MUST_CHECK cm_err cm_loader_finish(struct cm_loader *l, struct cm_error *err);

/* From now on, as another thread that takes it over wants it. */
void cm_loader_wait_with(struct cm_loader *l, const struct cm_db_wait *wait);
/* After a failure: may the same succeed later, over a new connection? */
bool cm_loader_is_away(const struct cm_loader *l);
/* A new connection in the place of the old one. */
CM_MUST_CHECK cm_err cm_loader_reopen(struct cm_loader *l, struct cm_error *err);
/* Where the database is, as far as this loader knows. */
struct cm_db_cursor cm_loader_at(const struct cm_loader *l);
uint64_t cm_loader_loaded(const struct cm_loader *l);  /* rows that it committed itself */
const char *cm_loader_name(const struct cm_loader *l); /* of the database, for messages */

#endif
