#ifndef CM_ENGINE_KEYREAD_H
#define CM_ENGINE_KEYREAD_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "engine/keyalg.h"

/* keyread.h - reads encoded keys, strictly and independently of the writer.
 *
 * Form only: lengths, versions, parameters, ranges that need no arithmetic.
 * Whether the numbers belong together is keymatch.h's question.
 *
 *  Ownership  everything found is a view into the input.
 *  Secrets    so are private parts: they stay in the caller's memory, and no
 *             message quotes them.
 *  Limits     only keys of the keyalg table.
 *  Errors     CM_E_INPUT; outputs are then unspecified.
 */
struct cm_keyread_pub {
    const struct cm_keyalg *alg;
    struct cm_span bits; /* what the BIT STRING holds: point, RSAPublicKey, 32 octets */
    struct cm_span n, e; /* RSA: without leading zeros */
};

/* A SubjectPublicKeyInfo: RFC 5480 2 (named curve, uncompressed point), RFC 3279
 * 2.3.1 (RSA, parameters NULL, e odd and at least 65537), RFC 8410 4. */
CM_MUST_CHECK cm_err cm_keyread_spki(struct cm_span der, struct cm_keyread_pub *out, struct cm_error *err);

enum cm_keyread_form {
    CM_KEYREAD_PKCS8, /* version 0, no attributes; EC inside without parameters, with public key */
    CM_KEYREAD_SEC1,  /* with named-curve parameters and public key */
    CM_KEYREAD_PKCS1, /* two primes */
};

struct cm_keyread_priv {
    const struct cm_keyalg *alg;
    struct cm_span secret; /* EC: the scalar, exactly as long as the order; Ed25519: the seed */
    struct cm_span point;  /* EC: the public key beside it */
    struct cm_span n, e, d, p, q, dp, dq, qinv; /* RSA: without leading zeros */
};

CM_MUST_CHECK cm_err cm_keyread_priv(struct cm_span der, enum cm_keyread_form form,
                                     struct cm_keyread_priv *out, struct cm_error *err);
/* Which form's beginning der has; a guess that cm_keyread_priv then proves. */
enum cm_keyread_form cm_keyread_guess(struct cm_span der);
const char *cm_keyread_label(enum cm_keyread_form form); /* of its PEM */

/* libcrypto's number of an EC row's curve. */
int cm_keyread_curve(const struct cm_keyalg *alg);
/* Octets of a scalar, and of each coordinate of a point. */
size_t cm_keyread_scalar_len(const struct cm_keyalg *alg);

#endif
