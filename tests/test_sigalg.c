#include "engine/keyalg.h"
#include "engine/ossl.h"
#include "engine/sigalg.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <openssl/rsa.h>

static EVP_PKEY *make(const char *key)
{
    if (strncmp(key, "RSA-PSS", 7) == 0) {
        CM_AUTO(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
        EVP_PKEY *made = NULL;
        cr_assert_eq(EVP_PKEY_keygen_init(ctx), 1);
        cr_assert_eq(EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, 2048), 1);
        if (strcmp(key, "RSA-PSS/SHA384") == 0)
            cr_assert_eq(EVP_PKEY_CTX_set_rsa_pss_keygen_md(ctx, EVP_sha384()), 1);
        cr_assert_eq(EVP_PKEY_generate(ctx, &made), 1);
        return made;
    }
    const struct cm_keyalg *alg = cm_keyalg_find(key);
    if (alg == NULL)
        return EVP_EC_gen(key);
    if (alg->family == CM_KEYFAM_RSA)
        return EVP_RSA_gen(alg->bits);
    return alg->family == CM_KEYFAM_EC ? EVP_EC_gen(alg->group) : EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
}

/* A key that goes with the row. */
static EVP_PKEY *key_for(const struct cm_sigalg *alg)
{
    if (alg->group != NULL)
        return make(alg->group);
    return make(strcmp(alg->key_type, "ED25519") == 0 ? "Ed25519" : "RSA-2048");
}

ParameterizedTestParameters(sigalg, every_row_is_what_libcrypto_writes)
{
    static size_t row[32];
    const size_t rows = cm_sigalg_count();

    cr_assert_leq(rows, 32);
    for (size_t i = 0; i < rows; i++)
        row[i] = i;
    return cr_make_param_array(size_t, row, rows);
}

/* Goal: the AlgorithmIdentifier of each row is byte for byte what X509_sign_ctx puts into a certificate for
 * the same set-up. Method: sign an empty certificate with each row. */
ParameterizedTest(size_t *row, sigalg, every_row_is_what_libcrypto_writes)
{
    const struct cm_sigalg *alg = cm_sigalg_at(*row);
    CM_AUTO(EVP_PKEY) key = key_for(alg);
    CM_AUTO(EVP_MD_CTX) ctx = EVP_MD_CTX_new();
    CM_AUTO(X509) x = X509_new();
    EVP_PKEY_CTX *pctx = NULL;
    const X509_ALGOR *used = NULL;
    uint8_t *der = NULL;

    cr_assert_eq(EVP_DigestSignInit_ex(ctx, &pctx, alg->digest, NULL, NULL, key, NULL), 1);
    if (alg->padding != 0)
        cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(pctx, alg->padding), 1);
    if (alg->padding == RSA_PKCS1_PSS_PADDING)
        cr_assert_eq(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, RSA_PSS_SALTLEN_DIGEST), 1);
    cr_assert_eq(X509_set_pubkey(x, key), 1);
    cr_assert_gt(X509_sign_ctx(x, ctx), 0, "%s", alg->name);

    X509_get0_signature(NULL, &used, x);
    const int len = i2d_X509_ALGOR(used, &der);
    cr_assert_eq(len, (int) alg->algid_len, "%s: %d octets", alg->name, len);
    cr_expect_arr_eq(der, alg->algid, alg->algid_len, "%s", alg->name);
    OPENSSL_free(der);
}

/* Goal: the set-up that signers use makes signatures that verify as the row says. Method: sign a digest,
 * verify the message through libcrypto's own reading of the AlgorithmIdentifier. */
ParameterizedTestParameters(sigalg, every_row_signs)
{
    static size_t row[32];
    const size_t rows = cm_sigalg_count();

    for (size_t i = 0; i < rows; i++)
        row[i] = i;
    return cr_make_param_array(size_t, row, rows);
}

ParameterizedTest(size_t *row, sigalg, every_row_signs)
{
    const struct cm_sigalg *alg = cm_sigalg_at(*row);
    static const uint8_t message[] = "to be signed";
    uint8_t digest[EVP_MAX_MD_SIZE], sig[1024];
    unsigned digest_len = 0;
    size_t sig_len = sizeof sig;
    struct cm_error err = { 0 };

    if (alg->digest == NULL)
        return;
    CM_AUTO(EVP_PKEY) key = key_for(alg);
    CM_AUTO(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    CM_AUTO(EVP_MD_CTX) check = EVP_MD_CTX_new();
    EVP_PKEY_CTX *pctx = NULL;
    cr_assert_eq(
        EVP_Digest(message, sizeof message, digest, &digest_len, EVP_get_digestbyname(alg->digest), NULL), 1);
    cr_assert_eq(cm_sigalg_setup(alg, ctx, &err), CM_OK, "%s", err.what);
    cr_assert_eq(EVP_PKEY_sign(ctx, sig, &sig_len, digest, digest_len), 1);

    cr_assert_eq(EVP_DigestVerifyInit_ex(check, &pctx, alg->digest, NULL, NULL, key, NULL), 1);
    if (alg->padding != 0)
        cr_assert_eq(EVP_PKEY_CTX_set_rsa_padding(pctx, alg->padding), 1);
    if (alg->padding == RSA_PKCS1_PSS_PADDING)
        cr_assert_eq(EVP_PKEY_CTX_set_rsa_pss_saltlen(pctx, (int) digest_len), 1);
    cr_expect_eq(EVP_DigestVerify(check, sig, sig_len, message, sizeof message), 1, "%s", alg->name);
}

/* Goal: each key gets the row that it should, and no other. */
Test(sigalg, rows_for_keys)
{
    static const struct {
        const char *key, *asked, *row; /* row NULL: refused */
    } cases[] = {
        { "P-256", NULL, "ecdsa-with-SHA256" },
        { "P-384", NULL, "ecdsa-with-SHA384" },
        { "P-521", NULL, "ecdsa-with-SHA512" },
        { "P-256", "ECDSA-with-sha256", "ecdsa-with-SHA256" },
        { "P-256", "ecdsa-with-SHA384", NULL },
        { "P-256", "sha256WithRSAEncryption", NULL },
        { "P-256", "sha1WithRSAEncryption", NULL },
        { "RSA-2048", NULL, "sha256WithRSAEncryption" },
        { "RSA-2048", "sha512WithRSAEncryption", "sha512WithRSAEncryption" },
        { "RSA-2048", "RSASSA-PSS-SHA384", "RSASSA-PSS-SHA384" },
        { "RSA-2048", "Ed25519", NULL },
        { "RSA-PSS", NULL, "RSASSA-PSS-SHA256" },
        { "RSA-PSS", "sha256WithRSAEncryption", NULL },
        { "RSA-PSS/SHA384", NULL, "RSASSA-PSS-SHA384" },
        { "RSA-PSS/SHA384", "RSASSA-PSS-SHA256", NULL },
        { "Ed25519", NULL, "Ed25519" },
        { "Ed25519", "ecdsa-with-SHA256", NULL },
        { "secp256k1", NULL, NULL },
        { "P-224", NULL, NULL },
    };

    for (size_t i = 0; i < CM_COUNT(cases); i++) {
        CM_AUTO(EVP_PKEY) key = make(cases[i].key);
        const struct cm_sigalg *found = NULL;
        struct cm_error err = { 0 };
        const cm_err rc = cm_sigalg_for_key(key, cases[i].asked, &found, &err);
        if (cases[i].row == NULL) {
            cr_expect_eq(rc, CM_E_USAGE, "%s with %s", cases[i].key, cases[i].asked);
            cr_expect_null(found);
            cr_expect_gt(strlen(err.what), 20);
        } else {
            cr_assert_eq(rc, CM_OK, "%s: %s", cases[i].key, err.what);
            cr_expect_str_eq(found->name, cases[i].row);
        }
    }
}

Test(sigalg, names_keys_as_the_table_does)
{
    for (size_t i = 0; i < cm_keyalg_count(); i++) {
        const struct cm_keyalg *alg = cm_keyalg_at(i);
        if (alg->family == CM_KEYFAM_RSA && alg->bits > 2048)
            continue; /* seconds */
        CM_AUTO(EVP_PKEY) key = make(alg->name);
        cr_expect_str_eq(cm_sigalg_key_name(key), alg->name);
    }
    cr_expect_not_null(strstr(cm_sigalg_libcrypto(), "OpenSSL"));
    cr_expect_null(cm_sigalg_at(cm_sigalg_count()));
}
