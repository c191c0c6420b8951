#ifndef CM_TESTS_T_AUTHORITY_H
#define CM_TESTS_T_AUTHORITY_H

#include "engine/ca.h"
#include "engine/ossl.h"

/* t_authority.h - CAs with one thing wrong, made with libcrypto alone. Everything
 * fails by cr_assert: main thread only. */

/* What a certificate says; a zeroed one is a good CA on P-256. Texts are those of
 * x509v3_config(5); "-" leaves an extension out. */
struct t_spec {
    const char *subject;        /* a CN; NULL: "Test CA" or "Test Root" */
    const char *key;            /* "P-256", "RSA-1024", "secp256k1" …; NULL: P-256 */
    const char *digest;         /* "SHA1" …; NULL: what goes with the signing key */
    const char *basic, *usage;  /* NULL: critical,CA:TRUE; critical,keyCertSign,cRLSign */
    const char *extra_type;     /* one more extension: "nameConstraints", "1.2.3.4" … */
    const char *extra;
    long begins_days, ends_days; /* from now; both 0: -1 and 365 */
    bool v1;
    bool no_subject;
    bool no_ski;
};

struct t_authority {
    EVP_PKEY *key;
    X509 *x509;
};

EVP_PKEY *t_authority_key(const char *name);
/* issuer NULL: self-signed. */
void t_authority_init(struct t_authority *a, const struct t_spec *spec, const struct t_authority *issuer);
void t_authority_done(struct t_authority *a);

/* PEM of a certificate or a key (passphrase NULL: plain), appended to a memory BIO. */
void t_authority_put_cert(BIO *out, const struct t_authority *a);
void t_authority_put_key(BIO *out, const struct t_authority *a, const char *passphrase);
struct cm_span t_authority_span(BIO *bio);

#endif
