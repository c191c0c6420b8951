#include "engine/deep_impl.h"

#include <openssl/pem.h>

enum { SIGNATURE_MAX = 1024 };

/* libcrypto would ask the terminal for a passphrase otherwise. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
    (void) buf, (void) size, (void) writing, (void) arg;
    return -1;
}

/* NULL: libcrypto can't read it, or something stands behind it. */
static EVP_PKEY *read_key(const struct cm_deep_device *device)
{
    const struct cm_span s = device->key;
    const unsigned char *at = s.data;
    CM_AUTO(EVP_PKEY) key = NULL;

    if (device->der) {
        key = d2i_AutoPrivateKey_ex(NULL, &at, (long) s.len, NULL, NULL);
        return key != NULL && at == s.data + s.len ? CM_STEAL(key) : NULL;
    }
    CM_AUTO(BIO) text = BIO_new_mem_buf(s.data, (int) s.len);
    if (text == NULL)
        return NULL;
    key = PEM_read_bio_PrivateKey_ex(text, NULL, no_passphrase, NULL, NULL, NULL);
    return key != NULL && BIO_pending(text) == 0 ? CM_STEAL(key) : NULL;
}

static bool write_key(BIO *out, const EVP_PKEY *key, bool der, bool traditional)
{
    if (der && traditional)
        return i2d_PrivateKey_bio(out, key) == 1;
    if (der)
        return i2d_PKCS8PrivateKey_bio(out, key, NULL, NULL, 0, NULL, NULL) == 1;
    if (traditional)
        return PEM_write_bio_PrivateKey_traditional(out, key, NULL, NULL, 0, NULL, NULL) == 1;
    return PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1;
}

static bool writes_same(const EVP_PKEY *key, struct cm_span stored, bool der, bool traditional)
{
    CM_AUTO(BIO) out = BIO_new(BIO_s_secmem());
    const char *made = NULL;

    if (out == NULL || !write_key(out, key, der, traditional))
        return false;
    const long len = BIO_get_mem_data(out, &made);
    return len > 0 && cm_span_eq(stored, cm_span(made, (size_t) len));
}

/* Sign with the key, verify with the certificate: what the device will do. */
static bool pair_works(EVP_PKEY *key, EVP_PKEY *public)
{
    static const uint8_t message[] = "certmill verify --deep";
    const char *const digest = EVP_PKEY_is_a(key, "ED25519") == 1 ? NULL : "SHA256";
    CM_AUTO(EVP_MD_CTX) sign = EVP_MD_CTX_new();
    CM_AUTO(EVP_MD_CTX) verify = EVP_MD_CTX_new();
    uint8_t signature[SIGNATURE_MAX];
    size_t len = sizeof signature;

    return sign != NULL && verify != NULL &&
           EVP_DigestSignInit_ex(sign, NULL, digest, NULL, NULL, key, NULL) == 1 &&
           EVP_DigestSign(sign, signature, &len, message, sizeof message) == 1 &&
           EVP_DigestVerifyInit_ex(verify, NULL, digest, NULL, NULL, public, NULL) == 1 &&
           EVP_DigestVerify(verify, signature, len, message, sizeof message) == 1;
}

/* RSA: EVP_PKEY_check would test both primes once more, and names no reason. */
static void check_numbers(struct cm_deep *d, EVP_PKEY *key, struct cm_audit_ids *ids)
{
    if (EVP_PKEY_is_a(key, "RSA") == 1) {
        cm_deep_rsa(d, key, ids);
        return;
    }
    CM_AUTO(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    if (ctx == NULL || EVP_PKEY_check(ctx) != 1)
        cm_deep_say_why(d, "key: libcrypto's check of it fails");
}

void cm_deep_key(struct cm_deep *d, X509 *leaf, struct cm_audit_ids *ids)
{
    const struct cm_span stored = d->device->key;
    const bool der = d->device->der;
    EVP_PKEY *const public = leaf != NULL ? X509_get0_pubkey(leaf) : NULL;
    CM_AUTO(EVP_PKEY) key = read_key(d->device);

    if (key == NULL) {
        cm_deep_say_why(d, "key: libcrypto can't read it, or not all of it");
        return;
    }
    if (!writes_same(key, stored, der, false) && !writes_same(key, stored, der, true))
        cm_deep_say(d, "key: libcrypto would write it otherwise");
    check_numbers(d, key, ids);
    if (public != NULL && EVP_PKEY_eq(key, public) != 1)
        cm_deep_say_why(d, "key: libcrypto says that it isn't the certificate's");
    else if (public != NULL && !pair_works(key, public))
        cm_deep_say_why(d, "key: what it signs doesn't verify with the certificate");
    (void) cm_fail(NULL, CM_OK, CM_HERE, "drains what the failing form of writes_same left");
}
