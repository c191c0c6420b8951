#include "rehearsal/client.h"

#include "engine/ossl.h"

#include <mosquitto.h>
#include <openssl/ssl.h>

CM_AUTO_DEFINE(SSL_CTX)

static void on_info(const SSL *ssl, int where, int ret)
{
    const char **alert = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

    /* close_notify is how every connection ends. */
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && alert != NULL &&
        (ret & 0xff) != SSL_AD_CLOSE_NOTIFY)
        *alert = SSL_alert_desc_string_long(ret);
}

static cm_err set_identity(SSL_CTX *ctx, const struct cm_client_tls *conf, struct cm_error *err)
{
    if (SSL_CTX_use_certificate(ctx, conf->leaf) != 1 || SSL_CTX_use_PrivateKey(ctx, conf->key) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1)
        CM_FAIL(err, CM_E_INPUT, "certificate and key don't belong together");
    for (int i = 0; i < sk_X509_num(conf->chain); i++)
        if (SSL_CTX_add1_chain_cert(ctx, sk_X509_value(conf->chain, i)) != 1)
            CM_FAIL(err, CM_E_CRYPTO, "libssl does not take a certificate of the chain");
    return CM_OK;
}

cm_err cm_client_tls_make(const struct cm_client_tls *conf, SSL_CTX **out, struct cm_error *err)
{
    CM_AUTO(SSL_CTX) ctx = SSL_CTX_new(TLS_client_method());

    if (ctx == NULL || SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) != 1 ||
        X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), conf->ca) != 1 ||
        X509_VERIFY_PARAM_set1_ip_asc(SSL_CTX_get0_param(ctx), "127.0.0.1") != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't set up TLS");
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    /* Only what the caller gives is sent: not what libssl would find to fill the chain up. */
    (void) SSL_CTX_set_mode(ctx, SSL_MODE_NO_AUTO_CHAIN);
    (void) SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    CM_TRY(set_identity(ctx, conf, err));
    (void) SSL_CTX_set_app_data(ctx, conf->alert);
    SSL_CTX_set_info_callback(ctx, on_info);
    *out = CM_STEAL(ctx);
    return CM_OK;
}

/* With defaults it would ask for files of CAs. */
cm_err cm_client_tls_use(struct mosquitto *m, SSL_CTX *tls, struct cm_error *err)
{
    if (mosquitto_void_option(m, MOSQ_OPT_SSL_CTX, tls) != MOSQ_ERR_SUCCESS ||
        mosquitto_int_option(m, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0) != MOSQ_ERR_SUCCESS)
        CM_FAIL(err, CM_E_LIMIT, "libmosquitto takes no TLS context of its user");
    return CM_OK;
}
