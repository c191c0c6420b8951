#ifndef CM_TESTS_T_DEVICE_H
#define CM_TESTS_T_DEVICE_H

#include "engine/audit.h"
#include "tests/t_ident.h"

/* t_device.h - a device as the auditor gets it: bundle, key, and the facts of its row,
 * all of them by libcrypto. Everything fails by cr_assert: main thread only. */
struct t_device {
    struct t_blob chain, key;
    bool der;
    char subject[512], certificate_id[65], ca_certificate_id[65], serial[48], serial_dec[64], spki_sha256[65];
    char ski[41], thumbprint_sha1[41], not_before[32], not_after[32];
    char chain_xxh3[33], chain_sha256[65], key_xxh3[33], key_sha256[65];
    struct cm_evidence ev; /* points into this struct: don't copy it */
};

void t_make_device(struct t_device *d, const struct t_ca *ca, X509 *leaf, EVP_PKEY *key, const char *key_alg,
                   bool der, bool traditional);
/* Parts of it, to change one: */
void t_make_row(struct t_device *d, X509 *leaf, const struct t_ca *ca, const char *key_alg);
void t_store_leaf(struct t_device *d, struct cm_span leaf,
                  const struct t_ca *ca); /* its digests and ids follow */
void t_store_key(struct t_device *d, EVP_PKEY *key, bool traditional);
void t_rehash(struct t_device *d); /* the row's digests of the stored bytes */

struct cm_span t_leaf_der(X509 *leaf); /* static storage */
void t_hex(const uint8_t *data, size_t len, char *out);

/* What the last t_audit found, a line each. */
extern struct t_findings {
    unsigned count;
    char text[8192];
} t_seen;
struct cm_auditor *t_open(const struct t_ca *ca);
unsigned t_audit(struct cm_auditor *a, const struct t_device *d,
                 struct cm_audit_ids *ids); /* ids may be NULL */
/* Exactly one finding, with these words in it. */
void t_expect_one(struct cm_auditor *a, const struct t_device *d, const char *words, const char *what);

#endif
