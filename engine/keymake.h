#ifndef CM_ENGINE_KEYMAKE_H
#define CM_ENGINE_KEYMAKE_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "engine/keyalg.h"

/* keymake.h - makes device keys, as raw numbers that keyenc.h encodes.
 *
 *  Threads    a cm_keymaker belongs to one thread and keeps its libcrypto
 *             contexts for the whole run.
 *  Secrets    a cm_keypair holds a private key: it lives in cm_secret memory
 *             only, and its owner wipes it.
 *  Randomness libcrypto's private DRBG.
 */
enum { CM_EC_MAX = 66, CM_RSA_MAX = 512 };

struct cm_keypair {
    const struct cm_keyalg *alg;
    size_t len;                     /* EC: octets of a scalar; RSA: octets of n; Ed25519: 32 */
    size_t pub_len;                 /* EC, Ed25519: octets of pub */
    uint8_t pub[1 + 2 * CM_EC_MAX]; /* EC: uncompressed point (SEC 1 2.3.3); Ed25519: RFC 8032 */
    uint8_t priv[CM_EC_MAX];        /* EC: scalar, big-endian, len octets; Ed25519: seed */
    /* RSA, big-endian: n and d of len octets, the others of len/2. */
    uint8_t n[CM_RSA_MAX], d[CM_RSA_MAX];
    uint8_t p[CM_RSA_MAX / 2], q[CM_RSA_MAX / 2];
    uint8_t dp[CM_RSA_MAX / 2], dq[CM_RSA_MAX / 2], qinv[CM_RSA_MAX / 2];
    uint8_t e[8];
};

struct cm_keymaker;

CM_MUST_CHECK cm_err cm_keymaker_open(const struct cm_keyalg *alg, enum cm_keygen how,
                                      struct cm_keymaker **out, struct cm_error *err);
/* What computes an own maker's keys; for messages. */
const char *cm_keymaker_arithmetic(const struct cm_keyalg *alg);
/* So many more will be asked for: what is made many at a time need not make more. 0: not known. */
void cm_keymaker_expect(struct cm_keymaker *m, uint32_t count);
/* How many keys are made at a time at most; known from the first key on. 1: one by one. */
uint32_t cm_keymaker_batch(const struct cm_keymaker *m);
CM_MUST_CHECK cm_err cm_keymaker_make(struct cm_keymaker *m, struct cm_keypair *out, struct cm_error *err);
/* EC and CM_KEYGEN_OWN only: the pair of a given scalar (big-endian, m's length), by libcrypto. CM_E_USAGE
 * outside [1, n-1]. */
CM_MUST_CHECK cm_err cm_keymaker_from_scalar(struct cm_keymaker *m, const uint8_t *scalar, size_t len,
                                             struct cm_keypair *out, struct cm_error *err);
void cm_keymaker_close(struct cm_keymaker *m); /* NULL accepted */

#endif
