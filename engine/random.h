#ifndef CM_ENGINE_RANDOM_H
#define CM_ENGINE_RANDOM_H

#include "engine/err.h"

/* random.h - libcrypto's DRBG, for rooms that do not know libcrypto. */

/* A version 4 UUID (RFC 9562 5.4). */
CM_MUST_CHECK cm_err cm_random_uuid(uint8_t out[16], struct cm_error *err);

#endif
