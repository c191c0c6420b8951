#ifndef CM_ENGINE_CAINIT_H
#define CM_ENGINE_CAINIT_H

#include "engine/ca.h"
#include "engine/keyalg.h"

/* cainit.h - makes a root, or an intermediate under a given issuer.
 *
 * Extensions (RFC 5280 4.2.1): basicConstraints critical CA:TRUE with the path
 * length asked for; keyUsage critical keyCertSign, cRLSign; SKI by method 1;
 * AKI with the issuer's own key identifier. Serial: 20 random octets, the first
 * 01-7f. notBefore 24 hours back but never before the issuer's; notAfter the
 * issuer's where it would pass it and no days were asked for (with days: refused).
 * Not the hot path: built with libcrypto's own X509 calls.
 *
 *  Threads  any one thread at a time.
 *  Errors   CM_E_USAGE and CM_E_INPUT (what was asked for), CM_E_CRYPTO,
 *           CM_E_NOSPACE (a buffer of less than its _MAX). Before the key is
 *           made everything that can be judged has been.
 */
enum {
    CM_CAINIT_CERT_MAX = 16384, /* octets of the PEM certificate, without the chain above it */
    CM_CAINIT_KEY_MAX = 16384,  /* octets of the PEM key */
};

struct cm_cainit_conf {
    const char *key;            /* a row of the keyalg table: "P-256" */
    const char *subject;        /* "/O=Acme/CN=Acme Device CA" (name.h), no placeholders */
    const char *signature;      /* a sigalg name, or NULL: the signing key's default */
    uint32_t days;              /* 0: 3650, cut at the issuer's notAfter */
    int pathlen;                /* -1: no limit */
    const struct cm_ca *issuer; /* opened and checked, with its key; NULL: a self-signed root */
    struct cm_span passphrase;  /* empty: the key is written unencrypted */
    cm_when now;
};

/* Appends the certificate and the chain above it to cert_pem, the key as PKCS#8
 * (PBES2, PBKDF2-HMAC-SHA-256, AES-256-CBC when there is a passphrase) to key_pem.
 * The buffers are the caller's: cert_pem with room for CM_CAINIT_CERT_MAX and the
 * issuer's chain, key_pem in cm_secret memory with room for CM_CAINIT_KEY_MAX.
 * On failure they hold nothing to keep, and key_pem is wiped. */
CM_MUST_CHECK cm_err cm_cainit(const struct cm_cainit_conf *conf, struct cm_writer *cert_pem,
                               struct cm_writer *key_pem, struct cm_error *err);

/* Does this libcrypto, as it is configured, make keys of this kind? CM_E_CRYPTO
 * with its reason when not. EC and Ed25519 keys are made for it, RSA ones not. */
CM_MUST_CHECK cm_err cm_cainit_probe(const struct cm_keyalg *alg, struct cm_error *err);
/* A CA like another in what signing costs: of the same key type and signature (NULL: the key's default),
 * with a fresh key that never leaves memory and that nobody trusts. To sign what is thrown away. */
CM_MUST_CHECK cm_err cm_cainit_standin(const char *key, const char *signature, cm_when now,
                                       struct cm_ca **out, struct cm_error *err);

#endif
