#ifndef CM_REHEARSAL_ALLOW_H
#define CM_REHEARSAL_ALLOW_H

#include "engine/bytes.h"
#include "io/rowread.h"

#include <stdbool.h>
#include <stddef.h>

/* allow.h - the certificates of a fleet that may be activated, and what is known of the others.
 *
 * The service registers whatever the CA ever signed; only this list tells what was delivered. It's keyed by
 * certificateId and holds the rows in force: a certificate that was replaced, or burned in a crash, isn't on
 * it.
 *
 *  Ownership  open makes it, close frees it (NULL accepted); the fleet outlives it.
 *  Threads    constant after open.
 *  Errors     CM_E_INPUT: a row that can't be read; CM_E_IO; CM_E_NOMEM.
 */
enum cm_standing {
    CM_STANDING_IN_FORCE,
    CM_STANDING_SUPERSEDED, /* its device has another one since a reissue or a repair */
    CM_STANDING_BURNED,  /* its serial is under a prefix of the fleet's run whose certificates nobody got */
    CM_STANDING_UNKNOWN, /* not of this fleet */
    CM_STANDING_COUNT,
};
const char *cm_standing_name(enum cm_standing standing); /* "burned" */

struct cm_fleet;
struct cm_allow;
CM_MUST_CHECK cm_err cm_allow_open(const struct cm_fleet *fleet, struct cm_allow **out, struct cm_error *err);
void cm_allow_close(struct cm_allow *a);
size_t cm_allow_count(const struct cm_allow *a);
/* Is this 64-digit lowercase certificateId on it? *number (NULL: not wanted): 0 to count - 1. */
bool cm_allow_find(const struct cm_allow *a, const char *certificate_id, size_t *number);
/* The device of a certificate that is on it. */
CM_MUST_CHECK cm_err cm_allow_device(const struct cm_allow *a, size_t number,
                                     char device_id[CM_ROW_NAME_MAX + 1], struct cm_error *err);
/* Why a certificate isn't on it: reads the manifest through where the fleet has no index. serial: the octets
 * of its serial number. device_id: of a superseded one; "" otherwise. */
CM_MUST_CHECK cm_err cm_allow_explain(const struct cm_allow *a, const char *certificate_id,
                                      struct cm_span serial, enum cm_standing *out,
                                      char device_id[CM_ROW_NAME_MAX + 1], struct cm_error *err);

#endif
