#ifndef CM_ENGINE_DIGEST_H
#define CM_ENGINE_DIGEST_H

#include "engine/err.h"

#include <stddef.h>

/* digest.h - SHA-256 of a stream, for rooms that do not know libcrypto.
 * One thread at a time. close accepts NULL. */
struct cm_digest;

CM_MUST_CHECK cm_err cm_digest_open(struct cm_digest **out, struct cm_error *err);
CM_MUST_CHECK cm_err cm_digest_update(struct cm_digest *d, const void *data, size_t len,
                                      struct cm_error *err);
/* The digest of all so far; the stream starts again from nothing. */
CM_MUST_CHECK cm_err cm_digest_final(struct cm_digest *d, uint8_t out[32], struct cm_error *err);
/* Forgets what came so far. */
CM_MUST_CHECK cm_err cm_digest_restart(struct cm_digest *d, struct cm_error *err);
void cm_digest_close(struct cm_digest *d);

#endif
