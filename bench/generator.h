#ifndef CM_BENCH_GENERATOR_H
#define CM_BENCH_GENERATOR_H

#include "engine/err.h"
#include "engine/keyalg.h"

#include <openssl/evp.h>

/* generator.h - libcrypto's key generator of an algorithm, for EVP_PKEY_generate again and
 * again; the caller's to free. */
CM_MUST_CHECK cm_err cm_generator_open(const struct cm_keyalg *alg, EVP_PKEY_CTX **out, struct cm_error *err);

#endif
