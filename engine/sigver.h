#ifndef CM_ENGINE_SIGVER_H
#define CM_ENGINE_SIGVER_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "engine/sigalg.h"

/* sigver.h - verifies signatures under one public key, again and again.
 *
 * A context per row of the sigalg table that goes with the key, made once.
 *
 *  Threads   one thread's.
 *  Cost      a digest and the public-key operation, nothing fetched.
 *  Errors    CM_E_CRYPTO; verify also gives CM_E_INPUT when the algorithm doesn't
 *            go with the key.
 */
struct cm_sigver;
CM_MUST_CHECK cm_err cm_sigver_open(EVP_PKEY *key, struct cm_sigver **out, struct cm_error *err);
CM_MUST_CHECK cm_err cm_sigver_check(struct cm_sigver *s, const struct cm_sigalg *alg, struct cm_span message,
                                     struct cm_span signature, struct cm_error *err);
void cm_sigver_close(struct cm_sigver *s); /* NULL accepted */

#endif
