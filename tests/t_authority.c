#include "tests/t_authority.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

EVP_PKEY *t_authority_key(const char *name)
{
    EVP_PKEY *key = NULL;

    if (strncmp(name, "RSA-", 4) == 0)
        key = EVP_RSA_gen((unsigned) strtoul(name + 4, NULL, 10));
    else if (strcmp(name, "Ed25519") == 0)
        key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    else
        key = EVP_EC_gen(name);
    cr_assert_not_null(key, "%s", name);
    return key;
}

static void add(X509 *x, X509 *issuer, const char *type, const char *text)
{
    X509V3_CTX ctx;
    X509_EXTENSION *ext = NULL;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    ext = X509V3_EXT_nconf(NULL, &ctx, type, text);
    cr_assert_not_null(ext, "%s = %s", type, text);
    cr_assert_eq(X509_add_ext(x, ext, -1), 1);
    X509_EXTENSION_free(ext);
}

static const EVP_MD *digest_for(EVP_PKEY *key, const char *asked)
{
    if (EVP_PKEY_is_a(key, "ED25519"))
        return NULL;
    if (asked != NULL)
        return EVP_get_digestbyname(asked);
    if (EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_bits(key) > 256)
        return EVP_PKEY_get_bits(key) > 384 ? EVP_sha512() : EVP_sha384();
    return EVP_sha256();
}

static void add_all(X509 *x, X509 *issuer, const struct t_spec *spec)
{
    const char *basic = spec->basic != NULL ? spec->basic : "critical,CA:TRUE";
    const char *usage = spec->usage != NULL ? spec->usage : "critical,keyCertSign,cRLSign";

    if (strcmp(basic, "-") != 0)
        add(x, issuer, "basicConstraints", basic);
    if (strcmp(usage, "-") != 0)
        add(x, issuer, "keyUsage", usage);
    if (!spec->no_ski)
        add(x, issuer, "subjectKeyIdentifier", "hash");
    if (issuer != x)
        add(x, issuer, "authorityKeyIdentifier", "keyid");
    if (spec->extra != NULL)
        add(x, issuer, spec->extra_type, spec->extra);
}

void t_authority_init(struct t_authority *a, const struct t_spec *spec, const struct t_authority *issuer)
{
    const bool days = spec->begins_days != 0 || spec->ends_days != 0;
    const char *cn = spec->subject != NULL ? spec->subject : issuer != NULL ? "Test CA" : "Test Root";
    static long serial = 1000;
    X509 *x = X509_new();

    a->key = t_authority_key(spec->key != NULL ? spec->key : "P-256");
    a->x509 = x;
    X509 *above = issuer != NULL ? issuer->x509 : x;
    EVP_PKEY *signer = issuer != NULL ? issuer->key : a->key;
    cr_assert_eq(X509_set_version(x, spec->v1 ? X509_VERSION_1 : X509_VERSION_3), 1);
    cr_assert_eq(ASN1_INTEGER_set(X509_get_serialNumber(x), serial++), 1);
    if (!spec->no_subject)
        cr_assert_eq(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                                                (const unsigned char *) cn, -1, -1, 0),
                     1);
    cr_assert_eq(X509_set_issuer_name(x, X509_get_subject_name(above)), 1);
    cr_assert_not_null(X509_gmtime_adj(X509_getm_notBefore(x), 86400 * (days ? spec->begins_days : -1)));
    cr_assert_not_null(X509_gmtime_adj(X509_getm_notAfter(x), 86400 * (days ? spec->ends_days : 365)));
    cr_assert_eq(X509_set_pubkey(x, a->key), 1);
    if (!spec->v1)
        add_all(x, above, spec);
    cr_assert_gt(X509_sign(x, signer, digest_for(signer, spec->digest)), 0);
}

void t_authority_done(struct t_authority *a)
{
    EVP_PKEY_free(a->key);
    X509_free(a->x509);
    *a = (struct t_authority) { 0 };
}

void t_authority_put_cert(BIO *out, const struct t_authority *a)
{
    cr_assert_eq(PEM_write_bio_X509(out, a->x509), 1);
}

void t_authority_put_key(BIO *out, const struct t_authority *a, const char *passphrase)
{
    const EVP_CIPHER *cipher = passphrase != NULL ? EVP_aes_256_cbc() : NULL;
    const int len = passphrase != NULL ? (int) strlen(passphrase) : 0;

    cr_assert_eq(PEM_write_bio_PKCS8PrivateKey(out, a->key, cipher, passphrase, len, NULL, NULL), 1);
}

struct cm_span t_authority_span(BIO *bio)
{
    char *text = NULL;
    const long len = BIO_get_mem_data(bio, &text);

    return cm_span(text, (size_t) len);
}
