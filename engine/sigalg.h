#ifndef CM_ENGINE_SIGALG_H
#define CM_ENGINE_SIGALG_H

#include "engine/bytes.h"
#include "engine/err.h"

#include <openssl/types.h>

/* sigalg.h - the table of algorithms that a CA may sign with.
 *
 * TO ADD ONE: add a row to sigalg.c; the tests walk the table. `algid` is the
 * whole DER AlgorithmIdentifier: RFC 5758 3.2 (ECDSA, parameters absent), RFC
 * 4055 5 (RSA PKCS#1 v1.5, parameters NULL) and 3.1 (RSASSA-PSS), RFC 8410 3
 * (Ed25519, parameters absent).
 */
struct cm_sigalg {
    const char *name;     /* as in --signature and the manifest: "ecdsa-with-SHA256" */
    const char *key_type; /* libcrypto's key type: "EC", "RSA", "ED25519"; "RSA-PSS": plain RSA keys too */
    const char *group;    /* the only EC group it goes with, as the keyalg table names it, or NULL */
    const char *digest;   /* "SHA256", or NULL where the message is signed whole (Ed25519) */
    int padding;          /* RSA_PKCS1_PADDING, RSA_PKCS1_PSS_PADDING (salt as long as the digest), or 0 */
    const uint8_t *algid; /* DER, static storage */
    size_t algid_len;
};

size_t cm_sigalg_count(void);
const struct cm_sigalg *cm_sigalg_at(size_t i);
const struct cm_sigalg *cm_sigalg_find(const char *name); /* case-insensitive; NULL: unknown */
/* The row for this key: `name`, or the key's default when name is NULL. CM_E_USAGE
 * when the name is unknown or doesn't go with the key, with the names that do. */
CM_MUST_CHECK cm_err cm_sigalg_for_key(EVP_PKEY *key, const char *name, const struct cm_sigalg **out,
                                       struct cm_error *err);
/* "P-256", "RSA-3072", "Ed25519": the key as the keyalg table names it; libcrypto's
 * own name for a kind of key that has no row there. Static storage. */
const char *cm_sigalg_key_name(EVP_PKEY *key);
/* Prepares ctx (made from the CA's private key) for EVP_PKEY_sign of digests,
 * with this row's digest and padding. Not for rows without a digest. */
CM_MUST_CHECK cm_err cm_sigalg_setup(const struct cm_sigalg *alg, EVP_PKEY_CTX *ctx, struct cm_error *err);
/* The version of the libcrypto at work: "OpenSSL 3.0.22 25 Aug 2026". Static storage. */
const char *cm_sigalg_libcrypto(void);

#endif
