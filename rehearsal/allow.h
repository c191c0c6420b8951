#ifndef CM_REHEARSAL_ALLOW_H
#define CM_REHEARSAL_ALLOW_H

#include "engine/err.h"

#include <stdbool.h>
#include <stddef.h>

/* allow.h - the certificates of a fleet that may be activated.
 *
 * The service registers whatever the CA ever signed; only this list tells what was delivered. It's keyed by
 * certificateId and holds the rows in force: a certificate that was replaced, or burned in a crash, isn't on
 * it.
 *
 *  Ownership  open makes it, close frees it (NULL accepted); the fleet may be closed before.
 *  Threads    constant after open.
 */
struct cm_fleet;
struct cm_allow;
CM_MUST_CHECK cm_err cm_allow_open(const struct cm_fleet *fleet, struct cm_allow **out, struct cm_error *err);
void cm_allow_close(struct cm_allow *a);
size_t cm_allow_count(const struct cm_allow *a);
/* Is this 64-digit lowercase certificateId on it? *number (NULL: not wanted): 0 to count - 1. */
bool cm_allow_find(const struct cm_allow *a, const char *certificate_id, size_t *number);

#endif
