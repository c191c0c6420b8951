#ifndef CM_TESTS_T_MILL_H
#define CM_TESTS_T_MILL_H

#include "tests/t_oracle.h"

/* t_mill.h - our side of a comparison: the request of t_oracle.h given to the engine.
 * Everything fails by cr_assert: main thread only. */

/* A key pair for the row, made when it is first asked for and kept: RSA is slow. */
const struct cm_keypair *t_pair(const struct cm_keyalg *alg);
/* certs: PEM; signature NULL: the key's default. The CA is checked, too. */
struct cm_ca *t_open_ca(struct cm_span certs, EVP_PKEY *key, const char *signature);
/* The request as a template, which the caller frees. */
cm_err t_compile(const struct t_ask *ask, const struct cm_ca *ca, const struct cm_keyalg *alg,
                 struct cm_tmpl **out, struct cm_error *err);
struct cm_values t_values(const struct t_ask *ask);
void t_emit(const struct cm_tmpl *tmpl, const struct t_ask *ask, const struct cm_keypair *pair,
            const uint8_t serial[20], struct t_blob *out);

#endif
