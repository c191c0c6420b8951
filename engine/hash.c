#include "engine/hash.h"

#include <openssl/evp.h>

cm_err cm_hasher_open(struct cm_hasher *h, struct cm_error *err)
{
    *h = (struct cm_hasher) { .sha1 = EVP_MD_fetch(NULL, "SHA1", NULL),
                              .sha256 = EVP_MD_fetch(NULL, "SHA256", NULL),
                              .sha1_ctx = EVP_MD_CTX_new(),
                              .sha256_ctx = EVP_MD_CTX_new() };
    if (h->sha1 == NULL || h->sha256 == NULL || h->sha1_ctx == NULL || h->sha256_ctx == NULL ||
        EVP_DigestInit_ex2(h->sha1_ctx, h->sha1, NULL) != 1 ||
        EVP_DigestInit_ex2(h->sha256_ctx, h->sha256, NULL) != 1) {
        cm_hasher_close(h);
        CM_FAIL(err, CM_E_CRYPTO, "libcrypto offers no SHA-1 and SHA-256");
    }
    return CM_OK;
}

void cm_hasher_close(struct cm_hasher *h)
{
    EVP_MD_CTX_free(h->sha1_ctx);
    EVP_MD_CTX_free(h->sha256_ctx);
    EVP_MD_free(h->sha1);
    EVP_MD_free(h->sha256);
    *h = (struct cm_hasher) { 0 };
}

/* A NULL digest starts the context's own again, without a fetch. */
static cm_err digest(EVP_MD_CTX *ctx, const void *data, size_t len, uint8_t *out, struct cm_error *err)
{
    if (EVP_DigestInit_ex2(ctx, NULL, NULL) != 1 || EVP_DigestUpdate(ctx, data, len) != 1 ||
        EVP_DigestFinal_ex(ctx, out, NULL) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "digest failed");
    return CM_OK;
}

cm_err cm_sha256(struct cm_hasher *h, const void *data, size_t len, uint8_t out[32], struct cm_error *err)
{
    return digest(h->sha256_ctx, data, len, out, err);
}

cm_err cm_sha1(struct cm_hasher *h, const void *data, size_t len, uint8_t out[20], struct cm_error *err)
{
    return digest(h->sha1_ctx, data, len, out, err);
}

void cm_uuid_text(const uint8_t uuid[16], char out[36])
{
    struct cm_writer w = cm_writer(out, 36);

    for (size_t i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            cm_put_byte(&w, '-');
        cm_put_hex(&w, uuid + i, 1);
    }
}

cm_err cm_uuid5(struct cm_hasher *h, const uint8_t space[16], struct cm_span name, char out[36],
                struct cm_error *err)
{
    uint8_t buf[16 + 64], md[20];

    CM_ASSERT(name.len <= sizeof buf - 16);
    memcpy(buf, space, 16);
    memcpy(buf + 16, name.data, name.len);
    CM_TRY(cm_sha1(h, buf, 16 + name.len, md, err));
    md[6] = (uint8_t) ((md[6] & 0x0f) | 0x50);
    md[8] = (uint8_t) ((md[8] & 0x3f) | 0x80);
    cm_uuid_text(md, out);
    return CM_OK;
}

bool cm_uuid_parse(const char *text, uint8_t out[16])
{
    char again[36];
    unsigned byte = 0;
    size_t n = 0;

    for (const char *c = text; n < 16 && c[0] != '\0' && c[1] != '\0'; c += 2) {
        c += *c == '-';
        if (sscanf(c, "%2x", &byte) != 1)
            return false;
        out[n++] = (uint8_t) byte;
    }
    /* Whatever was lenient above shows here. */
    cm_uuid_text(out, again);
    return n == 16 && strlen(text) == sizeof again && memcmp(text, again, sizeof again) == 0;
}
