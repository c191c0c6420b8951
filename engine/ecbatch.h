#ifndef CM_ENGINE_ECBATCH_H
#define CM_ENGINE_ECBATCH_H

#include "engine/err.h"
#include "engine/keyalg.h"
#include "engine/keymake.h"

#include <stdbool.h>

/* ecbatch.h - key pairs on P-256, P-384 and P-521, many at a time.
 *
 *  Scalars    FIPS 186-5 A.2.2, testing candidates: uniform in [1, n-1] from the private DRBG.
 *  Points     our own arithmetic (eccore.h): inversions are shared by all of a batch, and eight
 *             scalars lie side by side where the processor has AVX-512 IFMA. The
 *             implementation is not validated: --fips does not use it.
 *  Checks     every point lies on the curve; and for weights w of 40 bits, drawn anew for each
 *             batch, the sum of w * point is (sum of w * scalar) * G, the first by other
 *             formulas than the points', the second by libcrypto. What is checked is the
 *             octets that are handed out. A batch that fails is wiped and computed by libcrypto;
 *             if that fails too, CM_E_CRYPTO.
 *  Self-test  a known answer of RFC 6979 before the first key of a process.
 *  Secrets    lie in cm_secret memory; no branch and no address depends on one.
 *  Threads    a cm_ecbatch is one thread's; they share tables, which are public.
 */
struct cm_ecbatch;

/* Is there an arithmetic of our own that is faster than libcrypto's here? */
bool cm_ecbatch_pays(const struct cm_keyalg *alg);
/* What it is called; for messages. */
const char *cm_ecbatch_name(const struct cm_keyalg *alg);

CM_MUST_CHECK cm_err cm_ecbatch_open(const struct cm_keyalg *alg, struct cm_ecbatch **out,
                                     struct cm_error *err);
void cm_ecbatch_close(struct cm_ecbatch *e); /* NULL accepted */

/* How many pairs one call of make makes at most. */
uint32_t cm_ecbatch_max(const struct cm_ecbatch *e);
/* Makes so many pairs, and forgets those before. */
CM_MUST_CHECK cm_err cm_ecbatch_make(struct cm_ecbatch *e, uint32_t count, struct cm_error *err);
/* Hands pair i out, once: it is wiped here. */
void cm_ecbatch_take(struct cm_ecbatch *e, uint32_t i, struct cm_keypair *out);
/* Batches that failed their check and were computed by libcrypto. */
uint64_t cm_ecbatch_failed(const struct cm_ecbatch *e);

#endif
