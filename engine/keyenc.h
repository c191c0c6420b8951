#ifndef CM_ENGINE_KEYENC_H
#define CM_ENGINE_KEYENC_H

#include "engine/der.h"
#include "engine/keymake.h"

/* keyenc.h - writes keys: SubjectPublicKeyInfo, PKCS#8, and the traditional forms.
 *
 * Byte for byte what libcrypto writes (tests hold the two side by side), without
 * its encoders, which cost 90-120 us each in 3.0. Each call puts one encoding in
 * front of what d holds. For private keys d must lie in cm_secret memory.
 */

/* RFC 5480 2 (EC, named curve), RFC 3279 2.3.1 (RSA), RFC 8410 4 (Ed25519). */
void cm_keyenc_spki(struct cm_der *d, const struct cm_keypair *k);
/* The contents of the SPKI's BIT STRING: what RFC 5280 4.2.1.2 method 1 hashes. */
void cm_keyenc_public(struct cm_der *d, const struct cm_keypair *k);
/* RFC 5208 version 0: EC as RFC 5915 with the public key, scalar of the full length. */
void cm_keyenc_pkcs8(struct cm_der *d, const struct cm_keypair *k);
/* RFC 5915 with curve and public key, or RFC 8017 A.1.2. Not for Ed25519, which has no such form. */
void cm_keyenc_traditional(struct cm_der *d, const struct cm_keypair *k);
/* Label of the traditional PEM: "EC PRIVATE KEY"; NULL where there is no such form. */
const char *cm_keyenc_traditional_label(const struct cm_keyalg *alg);

/* Upper bounds in octets, for arenas. */
size_t cm_keyenc_spki_max(const struct cm_keyalg *alg);
size_t cm_keyenc_private_max(const struct cm_keyalg *alg);

#endif
