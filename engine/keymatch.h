#ifndef CM_ENGINE_KEYMATCH_H
#define CM_ENGINE_KEYMATCH_H

#include "engine/err.h"
#include "engine/keyread.h"

/* keymatch.h - do a private key's numbers belong together, and to a public key?
 *
 *  EC        scalar in [1, n-1]; scalar times the generator is the public point.
 *  RSA       n and e are the public ones; p*q = n; p and q of half the length and
 *            far enough apart (FIPS 186-5 A.1.3), each passing a Fermat test to
 *            base 2; d inverts e mod p-1 and q-1, d > 2^(bits/2); CRT values.
 *  Ed25519   the public key derived from the seed.
 *
 *  Threads   one thread's.
 *  Secrets   copies live in libcrypto's secure heap where that was set up; all are
 *            cleared before the call returns.
 *  Errors    CM_E_INPUT: no match, with the reason; CM_E_CRYPTO: couldn't be computed.
 */
struct cm_keymatch;
CM_MUST_CHECK cm_err cm_keymatch_open(struct cm_keymatch **out, struct cm_error *err);
CM_MUST_CHECK cm_err cm_keymatch_check(struct cm_keymatch *m, const struct cm_keyread_priv *priv,
                                       const struct cm_keyread_pub *pub, struct cm_error *err);
/* Without a private key: is an EC point on its curve? Other keys: nothing to say. */
CM_MUST_CHECK cm_err cm_keymatch_public(struct cm_keymatch *m, const struct cm_keyread_pub *pub,
                                        struct cm_error *err);
void cm_keymatch_close(struct cm_keymatch *m); /* NULL accepted */

#endif
