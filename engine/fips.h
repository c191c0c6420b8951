#ifndef CM_ENGINE_FIPS_H
#define CM_ENGINE_FIPS_H

#include "engine/err.h"

#include <stddef.h>

/* fips.h - confines the whole process to libcrypto's FIPS provider.
 *
 * From then on every algorithm and the random generators come from that provider;
 * it can't be undone. To be called before anything else uses libcrypto. Keys must
 * be made with CM_KEYGEN_EVP: what is our own is not in the provider.
 *
 * CM_E_LIMIT: no FIPS provider is installed or it does not start. what: its name and
 * version, for the record.
 */
CM_MUST_CHECK cm_err cm_fips_enable(char *what, size_t cap, struct cm_error *err);

#endif
