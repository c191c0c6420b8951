#include "engine/sigver.h"
#include "engine/keyalg.h"
#include "engine/ossl.h"

#include <openssl/rsa.h>

struct way {
    EVP_PKEY_CTX *ctx; /* NULL: the row doesn't go with the key, or signs messages whole */
    EVP_MD *md;
    bool fits;
};

struct cm_sigver {
    EVP_PKEY *key; /* our own reference */
    EVP_MD_CTX *md_ctx;
    size_t count;
    struct way way[]; /* one for each row of the table, in its order */
};

/* The row's key type is what the row is named for; PSS is also done with plain RSA keys. */
static bool goes_with(const struct cm_sigalg *alg, EVP_PKEY *key)
{
    char group[64] = "";
    size_t len = 0;
    const bool is_pss = alg->padding == RSA_PKCS1_PSS_PADDING;

    if (EVP_PKEY_is_a(key, alg->key_type) != 1 && !(is_pss && EVP_PKEY_is_a(key, "RSA") == 1))
        return false;
    if (alg->group == NULL)
        return true;
    if (EVP_PKEY_get_group_name(key, group, sizeof group, &len) != 1)
        return false;
    const struct cm_keyalg *row = cm_keyalg_find(group);
    return row != NULL && row == cm_keyalg_find(alg->group);
}

static bool prepare(const struct cm_sigalg *alg, EVP_PKEY *key, struct way *way)
{
    way->md = EVP_MD_fetch(NULL, alg->digest, NULL);
    way->ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    if (way->md == NULL || way->ctx == NULL || EVP_PKEY_verify_init(way->ctx) != 1)
        return false;
    if (alg->padding != 0 && EVP_PKEY_CTX_set_rsa_padding(way->ctx, alg->padding) != 1)
        return false;
    if (EVP_PKEY_CTX_set_signature_md(way->ctx, way->md) != 1)
        return false;
    /* The AlgorithmIdentifiers of the table say: MGF1 with the same digest, salt as long as it. */
    return alg->padding != RSA_PKCS1_PSS_PADDING ||
           (EVP_PKEY_CTX_set_rsa_mgf1_md(way->ctx, way->md) == 1 &&
            EVP_PKEY_CTX_set_rsa_pss_saltlen(way->ctx, RSA_PSS_SALTLEN_DIGEST) == 1);
}

cm_err cm_sigver_open(EVP_PKEY *key, struct cm_sigver **out, struct cm_error *err)
{
    const size_t count = cm_sigalg_count();
    struct cm_sigver *s = calloc(1, sizeof *s + count * sizeof s->way[0]);
    bool any = false;

    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory to verify signatures");
    s->count = count;
    s->md_ctx = EVP_MD_CTX_new();
    if (s->md_ctx != NULL && EVP_PKEY_up_ref(key) == 1)
        s->key = key;
    for (size_t i = 0; s->key != NULL && i < count; i++) {
        const struct cm_sigalg *alg = cm_sigalg_at(i);
        /* A restricted RSA-PSS key refuses the other digests here: that row doesn't fit. */
        s->way[i].fits = goes_with(alg, key) && (alg->digest == NULL || prepare(alg, key, &s->way[i]));
        any = any || s->way[i].fits;
    }
    if (!any) {
        cm_sigver_close(s);
        CM_FAIL(err, CM_E_CRYPTO, "no signature algorithm of the table goes with the CA's key");
    }
    (void) cm_fail(NULL, CM_OK, CM_HERE, "drains what refused rows left in libcrypto's queue");
    *out = s;
    return CM_OK;
}

/* Ed25519: the message whole. One context, initialised anew for each signature. */
static bool verify_whole(struct cm_sigver *s, struct cm_span message, struct cm_span signature)
{
    return EVP_DigestVerifyInit_ex(s->md_ctx, NULL, NULL, NULL, NULL, s->key, NULL) == 1 &&
           EVP_DigestVerify(s->md_ctx, signature.data, signature.len, message.data, message.len) == 1;
}

static bool verify_digest(struct cm_sigver *s, const struct way *way, struct cm_span message,
                          struct cm_span signature)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned len = 0;

    return EVP_DigestInit_ex2(s->md_ctx, way->md, NULL) == 1 &&
           EVP_DigestUpdate(s->md_ctx, message.data, message.len) == 1 &&
           EVP_DigestFinal_ex(s->md_ctx, digest, &len) == 1 &&
           EVP_PKEY_verify(way->ctx, signature.data, signature.len, digest, len) == 1;
}

cm_err cm_sigver_check(struct cm_sigver *s, const struct cm_sigalg *alg, struct cm_span message,
                       struct cm_span signature, struct cm_error *err)
{
    size_t i = 0;

    while (i < s->count && cm_sigalg_at(i) != alg)
        i++;
    if (i == s->count || !s->way[i].fits)
        CM_FAIL(err, CM_E_INPUT, "signed with %s, which the CA's key can't make", alg->name);
    if (alg->digest == NULL ? !verify_whole(s, message, signature)
                            : !verify_digest(s, &s->way[i], message, signature))
        CM_FAIL(err, CM_E_CRYPTO, "the signature (%s) isn't the CA's", alg->name);
    return CM_OK;
}

void cm_sigver_close(struct cm_sigver *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->count; i++) {
        EVP_PKEY_CTX_free(s->way[i].ctx);
        EVP_MD_free(s->way[i].md);
    }
    EVP_MD_CTX_free(s->md_ctx);
    EVP_PKEY_free(s->key);
    free(s);
}
