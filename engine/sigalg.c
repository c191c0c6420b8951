#include "engine/sigalg.h"
#include "engine/keyalg.h"
#include "engine/ossl.h"

#include <openssl/crypto.h>
#include <openssl/rsa.h>
#include <strings.h>

/* Object identifiers by their last octets: ecdsa-with-SHA2 is 1.2.840.10045.4.3.N,
 * pkcs-1 is 1.2.840.113549.1.1.N, SHA-2 is 2.16.840.1.101.3.4.2.N. */
#define OID_ECDSA(n) 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, n
#define OID_PKCS1(n) 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, n
#define OID_SHA2(n) 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, n
#define DER_NULL 0x05, 0x00

#define ALG_ECDSA(n) 0x30, 0x0a, OID_ECDSA(n)
#define ALG_RSA(n) 0x30, 0x0d, OID_PKCS1(n), DER_NULL
/* RSASSA-PSS-params: [0] hash, [1] MGF1 with the same hash, [2] salt length; the
 * trailer field is left at its default, as DER demands. */
#define ALG_SHA2(n) 0x30, 0x0d, OID_SHA2(n), DER_NULL
#define ALG_PSS(hash, salt)                                                                                  \
    0x30, 0x41, OID_PKCS1(0x0a), 0x30, 0x34, 0xa0, 0x0f, ALG_SHA2(hash), 0xa1, 0x1c, 0x30, 0x1a,             \
        OID_PKCS1(0x08), ALG_SHA2(hash), 0xa2, 0x03, 0x02, 0x01, salt

static const uint8_t ecdsa_sha256[] = { ALG_ECDSA(0x02) };
static const uint8_t ecdsa_sha384[] = { ALG_ECDSA(0x03) };
static const uint8_t ecdsa_sha512[] = { ALG_ECDSA(0x04) };
static const uint8_t rsa_sha256[] = { ALG_RSA(0x0b) };
static const uint8_t rsa_sha384[] = { ALG_RSA(0x0c) };
static const uint8_t rsa_sha512[] = { ALG_RSA(0x0d) };
static const uint8_t pss_sha256[] = { ALG_PSS(0x01, 32) };
static const uint8_t pss_sha384[] = { ALG_PSS(0x02, 48) };
static const uint8_t pss_sha512[] = { ALG_PSS(0x03, 64) };
static const uint8_t ed25519[] = { 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70 };

#define ROW(name, key_type, group, digest, padding, algid)                                                   \
    {                                                                                                        \
        name, key_type, group, digest, padding, algid, sizeof(algid)                                         \
    }

/* The first row that fits a key is its default. */
static const struct cm_sigalg sigalgs[] = {
    ROW("ecdsa-with-SHA256", "EC", "P-256", "SHA256", 0, ecdsa_sha256),
    ROW("ecdsa-with-SHA384", "EC", "P-384", "SHA384", 0, ecdsa_sha384),
    ROW("ecdsa-with-SHA512", "EC", "P-521", "SHA512", 0, ecdsa_sha512),
    ROW("sha256WithRSAEncryption", "RSA", NULL, "SHA256", RSA_PKCS1_PADDING, rsa_sha256),
    ROW("sha384WithRSAEncryption", "RSA", NULL, "SHA384", RSA_PKCS1_PADDING, rsa_sha384),
    ROW("sha512WithRSAEncryption", "RSA", NULL, "SHA512", RSA_PKCS1_PADDING, rsa_sha512),
    ROW("RSASSA-PSS-SHA256", "RSA-PSS", NULL, "SHA256", RSA_PKCS1_PSS_PADDING, pss_sha256),
    ROW("RSASSA-PSS-SHA384", "RSA-PSS", NULL, "SHA384", RSA_PKCS1_PSS_PADDING, pss_sha384),
    ROW("RSASSA-PSS-SHA512", "RSA-PSS", NULL, "SHA512", RSA_PKCS1_PSS_PADDING, pss_sha512),
    ROW("Ed25519", "ED25519", NULL, NULL, 0, ed25519),
};

size_t cm_sigalg_count(void)
{
    return CM_COUNT(sigalgs);
}

const struct cm_sigalg *cm_sigalg_at(size_t i)
{
    return i < CM_COUNT(sigalgs) ? &sigalgs[i] : NULL;
}

const struct cm_sigalg *cm_sigalg_find(const char *name)
{
    for (size_t i = 0; i < CM_COUNT(sigalgs); i++)
        if (strcasecmp(sigalgs[i].name, name) == 0)
            return &sigalgs[i];
    return NULL;
}

const char *cm_sigalg_libcrypto(void)
{
    return OpenSSL_version(OPENSSL_VERSION);
}

const char *cm_sigalg_key_name(EVP_PKEY *key)
{
    char group[64] = "";
    size_t len = 0;

    if (EVP_PKEY_is_a(key, "EC") == 1 && EVP_PKEY_get_group_name(key, group, sizeof group, &len) == 1) {
        const struct cm_keyalg *alg = cm_keyalg_find(group);
        if (alg != NULL)
            return alg->name;
    }
    for (size_t i = 0; i < cm_keyalg_count(); i++) {
        const struct cm_keyalg *alg = cm_keyalg_at(i);
        if (alg->family != CM_KEYFAM_EC && EVP_PKEY_is_a(key, alg->evp_type) &&
            (uint32_t) EVP_PKEY_get_bits(key) == alg->bits)
            return alg->name;
    }
    const char *type = EVP_PKEY_get0_type_name(key);
    return type != NULL ? type : "unknown";
}

static bool fits(const struct cm_sigalg *alg, EVP_PKEY *key)
{
    bool same = EVP_PKEY_is_a(key, alg->key_type) == 1;

    if (!same && alg->padding == RSA_PKCS1_PSS_PADDING)
        same = EVP_PKEY_is_a(key, "RSA") == 1;
    if (same && alg->group != NULL)
        same = strcmp(cm_sigalg_key_name(key), alg->group) == 0;
    return same;
}

/* An RSA-PSS key may carry the one digest that it may be used with. */
static bool permitted(const struct cm_sigalg *alg, EVP_PKEY *key)
{
    char digest[32] = "";

    if (!fits(alg, key))
        return false;
    if (EVP_PKEY_is_a(key, "RSA-PSS") != 1 ||
        EVP_PKEY_get_default_digest_name(key, digest, sizeof digest) != 2)
        return true;
    return strcasecmp(digest, alg->digest) == 0 ||
           (strncasecmp(digest, "SHA2-", 5) == 0 && strcasecmp(digest + 5, alg->digest + 3) == 0);
}

/* "a, b": the names that go with the key. */
static void list_names(EVP_PKEY *key, struct cm_writer *w)
{
    for (size_t i = 0; i < CM_COUNT(sigalgs); i++)
        if (permitted(&sigalgs[i], key)) {
            if (w->len > 0)
                cm_put_lit(w, ", ");
            cm_put_str(w, sigalgs[i].name);
        }
    if (w->len == 0)
        cm_put_lit(w, "none");
}

cm_err cm_sigalg_for_key(EVP_PKEY *key, const char *name, const struct cm_sigalg **out, struct cm_error *err)
{
    const struct cm_sigalg *found = name != NULL ? cm_sigalg_find(name) : NULL;
    char names[256];
    struct cm_writer w = cm_writer(names, sizeof names - 1);

    for (size_t i = 0; name == NULL && found == NULL && i < CM_COUNT(sigalgs); i++)
        if (permitted(&sigalgs[i], key))
            found = &sigalgs[i];
    if (found != NULL && permitted(found, key)) {
        *out = found;
        return CM_OK;
    }

    list_names(key, &w);
    names[w.len] = '\0';
    if (name == NULL)
        CM_FAIL(err, CM_E_USAGE,
                "a %s key can't sign here: use a CA key on P-256, P-384, P-521, RSA or Ed25519",
                cm_sigalg_key_name(key));
    if (found == NULL)
        CM_FAIL(err, CM_E_USAGE, "no signature algorithm \"%.60s\"; with this %s key: %s", name,
                cm_sigalg_key_name(key), names);
    CM_FAIL(err, CM_E_USAGE, "signature %s doesn't go with this %s key; with it: %s", found->name,
            cm_sigalg_key_name(key), names);
}

cm_err cm_sigalg_setup(const struct cm_sigalg *alg, EVP_PKEY_CTX *ctx, struct cm_error *err)
{
    CM_AUTO(EVP_MD) md = NULL;

    CM_ASSERT(alg->digest != NULL);
    md = EVP_MD_fetch(NULL, alg->digest, NULL);
    if (md == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "libcrypto has no %s", alg->digest);
    if (EVP_PKEY_sign_init(ctx) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: can't start signing", alg->name);
    if (alg->padding != 0 && EVP_PKEY_CTX_set_rsa_padding(ctx, alg->padding) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: padding refused", alg->name);
    if (EVP_PKEY_CTX_set_signature_md(ctx, md) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: digest refused", alg->name);
    if (alg->padding == RSA_PKCS1_PSS_PADDING &&
        EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, RSA_PSS_SALTLEN_DIGEST) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: salt length refused", alg->name);
    return CM_OK;
}
