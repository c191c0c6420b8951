#ifndef CM_ENGINE_CAINIT_H
#define CM_ENGINE_CAINIT_H

#include "engine/ca.h"

/* cainit.h - makes a root, or an intermediate under a given issuer.
 *
 * Extensions (RFC 5280 4.2.1): basicConstraints critical CA:TRUE with the path
 * length asked for; keyUsage critical keyCertSign, cRLSign; SKI by method 1;
 * AKI with the issuer's own key identifier. Serial: 20 random octets, the first
 * 01-7f. notBefore 24 hours back but never before the issuer's; notAfter the
 * issuer's where it would pass it and no days were asked for.
 * Not the hot path: built with libcrypto's own X509 calls.
 */
struct cm_cainit_conf {
    const char *key;          /* a row of the keyalg table: "P-256" */
    const char *subject;      /* "/O=Acme/CN=Acme Device CA" */
    const char *signature;    /* a sigalg name, or NULL: the signing key's default */
    uint32_t days;            /* 0: 3650, cut at the issuer's notAfter */
    int pathlen;              /* -1: no limit */
    const struct cm_ca *issuer; /* NULL: a self-signed root */
    EVP_PKEY *issuer_key;       /* with issuer */
    struct cm_span passphrase;  /* empty: the key is written unencrypted */
    cm_when now;
};

/* cert_pem: certificate and the chain above it; key_pem: PKCS#8 (PBES2,
 * PBKDF2-HMAC-SHA-256, AES-256-CBC when there is a passphrase), in libcrypto
 * memory BIOs that the caller frees; key_pem is a secure-memory BIO. */
CM_MUST_CHECK cm_err cm_cainit(const struct cm_cainit_conf *conf, BIO **cert_pem, BIO **key_pem, struct cm_error *err);

#endif
