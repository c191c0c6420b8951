#ifndef CM_IO_FLEET_WALK_H
#define CM_IO_FLEET_WALK_H

#include "io/fleet.h"

/* fleet_walk.h - the rows in force of a fleet, one after the other, in commit order.
 *
 * Rows that a reissue or a repair has replaced are passed over and counted. What is
 * walked is what was committed when the fleet was opened.
 *
 *  Ownership  open makes it, close frees it (NULL accepted); the fleet outlives it.
 *             The row that next gives is the walk's, until the next call.
 *  Memory     a window of the manifest, whatever its length.
 *  Threads    one at a time.
 *  Errors     CM_E_INPUT: a row that can't be read, with its offset; CM_E_IO; CM_E_NOMEM.
 */
struct cm_fleet_walk;

CM_MUST_CHECK cm_err cm_fleet_walk_open(const struct cm_fleet *f, struct cm_fleet_walk **out,
                                        struct cm_error *err);
/* CM_E_END: there are no more. */
CM_MUST_CHECK cm_err cm_fleet_walk_next(struct cm_fleet_walk *w, const struct cm_row **out,
                                        struct cm_error *err);
uint64_t cm_fleet_walk_superseded(const struct cm_fleet_walk *w); /* passed over so far */
void cm_fleet_walk_close(struct cm_fleet_walk *w);

#endif
