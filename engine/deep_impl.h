#ifndef CM_ENGINE_DEEP_IMPL_H
#define CM_ENGINE_DEEP_IMPL_H

#include "engine/deep.h"
#include "engine/ossl.h"

/* deep_impl.h - the inside of a second opinion: deep.c (bundle and chain), deep_cert.c
 * (a certificate encoded anew), deep_key.c (the key) and deep_rsa.c only. */
enum { CM_DEEP_CA_MAX = 16 };

struct cm_deep {
    X509 *ca[CM_DEEP_CA_MAX]; /* the CA first, then the chain above it */
    size_t ca_count;
    X509_STORE *trust; /* the CA itself: what stands above it is judged once */
    EVP_MD *sha256;

    /* the device at hand */
    const struct cm_deep_device *device;
    cm_deep_report *report;
    void *arg;
};

void cm_deep_say(struct cm_deep *d, const char *fmt, ...) CM_PRINTF(2, 3);
/* The same, with the reason that libcrypto gives. */
void cm_deep_say_why(struct cm_deep *d, const char *what);

/* Does libcrypto write the certificate that it has understood in the same octets? */
void cm_deep_encode_anew(struct cm_deep *d, const X509 *leaf);
/* The device's key; leaf: its certificate, or NULL when libcrypto couldn't read that. */
void cm_deep_key(struct cm_deep *d, X509 *leaf, struct cm_audit_ids *ids);
/* key is RSA. */
void cm_deep_rsa(struct cm_deep *d, const EVP_PKEY *key, struct cm_audit_ids *ids);

#endif
