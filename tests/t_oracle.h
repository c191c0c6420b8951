#ifndef CM_TESTS_T_ORACLE_H
#define CM_TESTS_T_ORACLE_H

#include "engine/keymake.h"
#include "engine/tmpl_cert.h"
#include "tests/t_ident.h"

/* t_oracle.h - what a to-be-signed certificate must be, made by libcrypto's X509
 * setters from the request alone.
 *
 * The oracle shares nothing with the template: it expands placeholders itself,
 * reads the profile with NCONF itself, and never looks at what we wrote. Everything
 * fails by cr_assert: main thread only.
 */
enum { T_ATTRS = 17, T_TEXT_MAX = 8192, T_COLUMNS = 3 };

struct t_attr {
    const char *type, *value; /* value with placeholders */
};

/* One request. */
struct t_ask {
    const char *what;
    const char *profile;         /* NULL: the driver puts one in */
    const char *subject;         /* as for cm_name_parse */
    struct t_attr attr[T_ATTRS]; /* the same, taken apart by hand */
    const char *san;
    const char *not_before, *not_after; /* YYYYMMDDHHMMSSZ; NULL: 2026 and 2036 */
    const char *id;                     /* NULL: "SN00000001" */
    const char *column[T_COLUMNS];      /* values of t_columns; NULL: "" */
    uint64_t seq, mac;
};

/* Requests for every profile, and those that bring their own. */
extern const struct t_ask t_asks[], t_profile_asks[];
extern const size_t t_asks_count, t_profile_asks_count;

extern const uint8_t t_run_id[16];
extern const struct cm_columns t_columns; /* of the device list that every request comes with */

const char *t_ask_id(const struct t_ask *ask);
/* text with the placeholders replaced, into out (T_TEXT_MAX). */
void t_expand(const struct t_ask *ask, const char *text, char *out);
/* libcrypto's key of the same numbers. */
EVP_PKEY *t_oracle_key(const struct cm_keypair *pair);
X509_NAME *t_oracle_name(const struct t_ask *ask);
/* The certificate: signed by ca, so that the algorithm identifier is set. */
X509 *t_oracle_cert(const struct t_ask *ask, X509 *ca, EVP_PKEY *ca_key, const struct cm_sigalg *alg,
                    EVP_PKEY *key, enum cm_keyfam family, const uint8_t serial[20]);
void t_oracle_tbs(X509 *x509, struct t_blob *out);

#endif
