#ifndef CM_IO_LEAFREAD_H
#define CM_IO_LEAFREAD_H

#include "io/fleet.h"
#include "io/rowview.h"

/* leafread.h - the certificates that the rows of a fleet name, one after the other, checked.
 *
 * Segments are read in long strides, since rows follow each other in them as in the
 * manifest. A stride may reach beyond what is committed, where a run that goes on
 * writes: forget drops it.
 *
 *  Ownership  the fleet is borrowed. What is returned is a view that lives until the next call.
 *  Threads    one at a time.
 */
struct cm_leafread;

CM_MUST_CHECK cm_err cm_leafread_open(const struct cm_fleet *fleet, struct cm_leafread **out,
                                      struct cm_error *err);
/* The leaf of the row's bundle as DER: the bundle has the row's XXH3, the certificate the row's certificate
 * id. CM_E_INPUT: missing or damaged. */
CM_MUST_CHECK cm_err cm_leafread(struct cm_leafread *l, const struct cm_rowview *row, struct cm_span *out,
                                 struct cm_error *err);
void cm_leafread_forget(struct cm_leafread *l);
void cm_leafread_close(struct cm_leafread *l); /* NULL accepted */

#endif
