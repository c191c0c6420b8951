#ifndef CM_ENGINE_OSSL_H
#define CM_ENGINE_OSSL_H

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/conf.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* Scoped owners: `CM_AUTO(EVP_PKEY) key = NULL;` is freed on every way out.
 * CM_STEAL(key) hands the value on and disarms the owner. */
#define CM_AUTO_DEFINE_AS(type, release)                                                                     \
    static inline void cm_auto_##type(type **p)                                                              \
    {                                                                                                        \
        release(*p);                                                                                         \
    }
#define CM_AUTO_DEFINE(type) CM_AUTO_DEFINE_AS(type, type##_free)
CM_AUTO_DEFINE(EVP_PKEY)
CM_AUTO_DEFINE(EVP_PKEY_CTX)
CM_AUTO_DEFINE(EVP_MD)
CM_AUTO_DEFINE(EVP_MD_CTX)
CM_AUTO_DEFINE(BIO)
CM_AUTO_DEFINE(X509)
CM_AUTO_DEFINE(X509_NAME)
CM_AUTO_DEFINE(X509_REQ)
CM_AUTO_DEFINE(X509_EXTENSION)
CM_AUTO_DEFINE(X509_STORE)
CM_AUTO_DEFINE(X509_STORE_CTX)
CM_AUTO_DEFINE(EC_GROUP)
CM_AUTO_DEFINE(EC_POINT)
CM_AUTO_DEFINE(BN_CTX)
CM_AUTO_DEFINE_AS(BIGNUM, BN_clear_free)
CM_AUTO_DEFINE_AS(CONF, NCONF_free)

#define CM_AUTO(type) __attribute__((cleanup(cm_auto_##type))) type *

static inline void *cm_steal_(void *pp)
{
    void **slot = pp;
    void *v = *slot;
    *slot = NULL;
    return v;
}
#define CM_STEAL(p) ((__typeof__(p)) cm_steal_(&(p)))

#endif
