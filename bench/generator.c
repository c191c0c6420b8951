#include "bench/generator.h"

#include "engine/ossl.h"

#include <openssl/rsa.h>

cm_err cm_generator_open(const struct cm_keyalg *alg, EVP_PKEY_CTX **out, struct cm_error *err)
{
    CM_AUTO(EVP_PKEY_CTX) ctx = EVP_PKEY_CTX_new_from_name(NULL, alg->evp_type, NULL);

    if (ctx == NULL || EVP_PKEY_keygen_init(ctx) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: libcrypto does not offer it; leave it out with --key", alg->name);
    if (alg->family == CM_KEYFAM_EC && EVP_PKEY_CTX_set_group_name(ctx, alg->group) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: libcrypto does not offer the curve", alg->name);
    if (alg->family == CM_KEYFAM_RSA && EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, (int) alg->bits) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "%s: libcrypto refuses this size", alg->name);
    *out = CM_STEAL(ctx);
    return CM_OK;
}
