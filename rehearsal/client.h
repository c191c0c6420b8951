#ifndef CM_REHEARSAL_CLIENT_H
#define CM_REHEARSAL_CLIENT_H

#include "engine/err.h"

#include <openssl/types.h>

/* client.h - the TLS side of an MQTT client of the rehearsal, for libmosquitto's MOSQ_OPT_SSL_CTX: nothing in
 * files. The broker has to be 127.0.0.1 by a certificate of the rehearsal's own CA.
 *
 *  Ownership  *out is the caller's (SSL_CTX_free); what is passed in is only looked at, and kept by count.
 *  Errors     CM_E_CRYPTO; CM_E_INPUT: certificate and key don't belong together.
 */
struct cm_client_tls {
    X509 *ca; /* the rehearsal's own */
    X509 *leaf;
    STACK_OF(X509) * chain; /* above the leaf; NULL: none is sent */
    EVP_PKEY *key;
    const char **alert; /* where the name of an alert that the broker sends is put; static storage */
};
CM_MUST_CHECK cm_err cm_client_tls_make(const struct cm_client_tls *conf, SSL_CTX **out,
                                        struct cm_error *err);

/* Gives it to an MQTT client, which then has nothing of its own in TLS. */
struct mosquitto;
CM_MUST_CHECK cm_err cm_client_tls_use(struct mosquitto *m, SSL_CTX *tls, struct cm_error *err);

#endif
