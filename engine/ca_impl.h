#ifndef CM_ENGINE_CA_IMPL_H
#define CM_ENGINE_CA_IMPL_H

#include "engine/ca.h"
#include "engine/ossl.h"

/* ca_impl.h - what a cm_ca holds; for ca.c, ca_check.c, signer.c and cainit.c only. */

/* One certificate of the chain, with what the checks ask for again and again. */
struct cm_ca_link {
    X509 *x509;
    NAME_CONSTRAINTS *names;   /* NULL: none */
    EXTENDED_KEY_USAGE *usage; /* NULL: none */
    char *subject;             /* RFC 4514 */
    cm_when not_before, not_after;
};

struct cm_ca {
    struct cm_ca_link link[CM_CA_CHAIN_MAX]; /* the CA first, then the chain above it */
    size_t count;
    EVP_PKEY *key;
    const struct cm_sigalg *sigalg;
    char *cert_name, *key_name; /* as messages call the files */

    /* rendered once by cm_ca_open */
    uint8_t *subject_der, *chain_pem, *chain_der;
    size_t subject_der_len, chain_pem_len, chain_der_len;
    uint8_t key_id[64];
    size_t key_id_len;
    bool has_ski;
    char certificate_id[65];
};

/* conf->key_pem, decrypted where it must be: the passphrase is asked for once, and
 * only when the key is encrypted. *out is the caller's. Says what the file is
 * instead when it holds no private key. */
CM_MUST_CHECK cm_err cm_signer_read_key(const struct cm_ca_conf *conf, EVP_PKEY **out, struct cm_error *err);
/* "a PKCS#12 store; …": what a text without PEM blocks is, and what to do with it;
 * NULL: no idea. */
const char *cm_signer_name_format(struct cm_span text);

#endif
