#ifndef CM_ENGINE_KEYALG_H
#define CM_ENGINE_KEYALG_H

#include "engine/bytes.h"
#include "engine/err.h"

/* keyalg.h - the table of key algorithms.
 *
 * TO ADD ONE: add a row to keyalg.c and a line to tests/kat/keyalg.txt; tests
 * and benchmarks walk the table.
 */
enum cm_keyfam { CM_KEYFAM_EC, CM_KEYFAM_RSA, CM_KEYFAM_ED25519 };

struct cm_keyalg {
    const char *name;     /* "P-256": in options, profiles, manifests */
    const char *synonyms; /* space-separated: "prime256v1 secp256r1" */
    enum cm_keyfam family;
    const char *evp_type; /* libcrypto's key type: "EC", "RSA", "ED25519" */
    const char *group;    /* libcrypto's EC group name, or NULL */
    uint32_t bits;        /* RSA: modulus; EC: order; Ed25519: 256 */
    uint32_t batch;       /* devices in a batch: tens of milliseconds of work where that can be */
};

/* Who makes a key: the fastest way here (our own search for RSA primes, EC points by
 * EC_POINT_mul), or EVP_PKEY_generate of the provider in use, which a FIPS run needs. */
enum cm_keygen { CM_KEYGEN_OWN, CM_KEYGEN_EVP };

size_t cm_keyalg_count(void);
const struct cm_keyalg *cm_keyalg_at(size_t i);
/* By name or synonym, case-insensitively; NULL: unknown. */
const struct cm_keyalg *cm_keyalg_find(const char *name);
/* "P-256, P-384, …": for messages. Static storage. */
const char *cm_keyalg_names(void);

#endif
