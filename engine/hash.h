#ifndef CM_ENGINE_HASH_H
#define CM_ENGINE_HASH_H

#include "engine/bytes.h"
#include "engine/err.h"

/* hash.h - one thread's digest contexts, fetched once and used again and again. */
struct cm_hasher {
    struct evp_md_st *sha1, *sha256; /* libcrypto's EVP_MD and EVP_MD_CTX */
    struct evp_md_ctx_st *sha1_ctx, *sha256_ctx;
};

CM_MUST_CHECK cm_err cm_hasher_open(struct cm_hasher *h, struct cm_error *err);
void cm_hasher_close(struct cm_hasher *h); /* a zeroed struct is accepted */

CM_MUST_CHECK cm_err cm_sha256(struct cm_hasher *h, const void *data, size_t len, uint8_t out[32],
                               struct cm_error *err);
/* SHA-1 names things here (RFC 5280 4.2.1.2 method 1, thumbprints, UUIDs); it protects nothing. */
CM_MUST_CHECK cm_err cm_sha1(struct cm_hasher *h, const void *data, size_t len, uint8_t out[20],
                             struct cm_error *err);

/* RFC 9562 5.5: the version 5 UUID of a name in a namespace, as 36 characters (no NUL). */
CM_MUST_CHECK cm_err cm_uuid5(struct cm_hasher *h, const uint8_t space[16], struct cm_span name, char out[36],
                              struct cm_error *err);
void cm_uuid_text(const uint8_t uuid[16], char out[36]);
bool cm_uuid_parse(const char *text, uint8_t out[16]); /* of the lowercase form */

#endif
