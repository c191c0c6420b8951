#include "engine/digest.h"

#include "engine/hash.h"

#include <openssl/evp.h>

struct cm_digest {
    struct cm_hasher hasher;
};

cm_err cm_digest_open(struct cm_digest **out, struct cm_error *err)
{
    struct cm_digest *d = calloc(1, sizeof *d);
    cm_err rc = CM_OK;

    if (d == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for a digest");
    rc = cm_hasher_open(&d->hasher, err);
    if (rc != CM_OK) {
        free(d);
        return rc;
    }
    *out = d;
    return CM_OK;
}

cm_err cm_digest_update(struct cm_digest *d, const void *data, size_t len, struct cm_error *err)
{
    if (EVP_DigestUpdate(d->hasher.sha256_ctx, data, len) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "digest failed");
    return CM_OK;
}

cm_err cm_digest_restart(struct cm_digest *d, struct cm_error *err)
{
    if (EVP_DigestInit_ex2(d->hasher.sha256_ctx, NULL, NULL) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "digest failed");
    return CM_OK;
}

cm_err cm_digest_final(struct cm_digest *d, uint8_t out[32], struct cm_error *err)
{
    if (EVP_DigestFinal_ex(d->hasher.sha256_ctx, out, NULL) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "digest failed");
    return cm_digest_restart(d, err);
}

void cm_digest_close(struct cm_digest *d)
{
    if (d == NULL)
        return;
    cm_hasher_close(&d->hasher);
    free(d);
}
