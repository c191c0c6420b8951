#ifndef CM_TESTS_T_IDENT_H
#define CM_TESTS_T_IDENT_H

#include "engine/bytes.h"
#include "engine/ossl.h"
#include "engine/sigalg.h"

/* t_ident.h - identities for the reader's tests, made with libcrypto alone.
 *
 * A certificate is made with libcrypto's X509 calls, taken apart into its DER parts,
 * damaged in one of them, put together and signed anew, so that the damage is all
 * that is wrong with it. Everything fails by cr_assert: main thread only. */

enum { T_BLOB_MAX = 16384 };
struct t_blob {
    uint8_t data[T_BLOB_MAX];
    size_t len;
};
static inline struct cm_span t_span(const struct t_blob *b)
{
    return cm_span(b->data, b->len);
}
void t_add(struct t_blob *b, const void *data, size_t len);

/* DER from a text: hex digits are octets, 'text' its characters, ( ) a length and
 * what it counts: "30(17('260101000000Z') 17('270101000000Z'))". */
void t_der(const char *spec, struct t_blob *out);
/* PEM with lines of `width` characters; appends. */
void t_pem(const char *label, struct cm_span der, size_t width, struct t_blob *out);

/* A row of the keyalg table by name, or "RSA-PSS" (2048 bits). */
EVP_PKEY *t_key(const char *alg);

/* An issuing CA under a root on P-256. */
struct t_ca {
    EVP_PKEY *key;
    X509 *x509, *root;
    const struct cm_sigalg *sig;
    struct t_blob pem; /* ca.pem: CA, root */
    struct t_blob der[2];
};
void t_ca_init(struct t_ca *ca, const char *key_alg, const char *sig_alg);
void t_ca_done(struct t_ca *ca);

/* A device certificate with all the extensions of the aws-iot profile, signed. */
X509 *t_leaf(const struct t_ca *ca, EVP_PKEY *key, const char *not_after);
void t_sign(EVP_PKEY *key, const struct cm_sigalg *alg, struct cm_span tbs, struct t_blob *sig);

enum t_part {
    T_VERSION,
    T_SERIAL,
    T_INNER,
    T_ISSUER,
    T_VALIDITY,
    T_SUBJECT,
    T_SPKI,
    T_BASIC,
    T_USAGE,
    T_EKU,
    T_SKI,
    T_AKI,
    T_EXTRA, /* extensions; EXTRA is empty */
    T_TBS_TAIL,
    T_OUTER,
    T_CERT_TAIL,
    T_TAIL, /* tails are empty */
    T_PARTS,
};
struct t_parts {
    struct t_blob part[T_PARTS];
    bool bare; /* leave the extensions field out */
};
void t_take_apart(X509 *leaf, struct t_parts *parts);
/* signer NULL: an empty signature. alg: what signs, whatever the parts say. */
void t_put_together(const struct t_parts *parts, EVP_PKEY *signer, const struct cm_sigalg *alg,
                    struct t_blob *der);

/* One damage to a certificate, and words of the finding that it must give. */
struct t_damage {
    const char *what;
    enum t_part part;
    const char *spec;
    const char *finding;
};
size_t t_damage_count(void);
const struct t_damage *t_damage_at(size_t i);

#endif
