#ifndef CM_ENGINE_ECWAY_H
#define CM_ENGINE_ECWAY_H

#include "engine/cpu.h"
#include "engine/ecbatch.h"
#include "engine/eccurve.h"
#include "engine/ossl.h"
#include "engine/secret.h"

#include <stdbool.h>
#include <stddef.h>

/* ecway.h - what a way of computing points offers to ecbatch.c.
 *
 *  Numbers    plain, not in Montgomery's form, least significant word first, below the modulus.
 *  Points     affine; infinity does not occur.
 *  Secrets    scalars, and what multiply leaves in its work memory; no branch and no address
 *             depends on them. Points, weights and tables are public.
 */
enum { CM_EC_PLACES = 8, CM_EC_DIGIT_BITS = 5, CM_EC_BATCH = 128 };

struct cm_ecpoint {
    cm_num x, y;
};

/* Jacobian: x/z^2, y/z^3; infinity where z is 0. */
struct cm_ecjac {
    cm_num x, y, z;
};

/* A weight's digits, five bits each; digit b stands for the odd number 2b - 31, and the weight is
 * the sum of (2 b[j] - 31) * 32^j: another one for each choice of digits. */
typedef uint8_t cm_ecweight[CM_EC_PLACES];

struct cm_ecway {
    const char *name;
    const struct cm_eccurve *curve;
    enum cm_cpu level;              /* that it takes */
    int width;                      /* bits of a window */
    size_t table;                   /* octets */
    size_t (*work)(uint32_t count); /* octets */
    /* point: the odd multiples 1, 3, 5 ... of 2^(width * i) * G, 2^(width - 1) of them for each window i. */
    void (*fill)(const struct cm_ecpoint *point, void *table);
    /* out[i] = scalar[i] * G for scalars in [1, n-1]; bad[i]: not computed (eccore.h says when).
     * Both memories are aligned to 64. */
    void (*multiply)(const void *table, void *work, cm_num *scalar, uint32_t count, struct cm_ecpoint *out,
                     bool *bad);
    /* The sums of (2 weight[i][j] - 31) * point[i] for each j. false: a point is not on the curve. */
    bool (*weigh)(void *work, const struct cm_ecpoint *point, cm_ecweight *weight, uint32_t count,
                  struct cm_ecjac out[CM_EC_PLACES]);
};

/* Eight numbers side by side by the 52-bit multiply-adds of AVX-512 IFMA. */
extern const struct cm_ecway cm_ec_ifma_p256, cm_ec_ifma_p384, cm_ec_ifma_p521;
/* Four, by the fused multiply-adds of AVX2's processors. */
extern const struct cm_ecway cm_ec_fma_p256, cm_ec_fma_p384, cm_ec_fma_p521;
/* One number at a time, in 64-bit words. */
extern const struct cm_ecway cm_ec_plain_p256, cm_ec_plain_p384, cm_ec_plain_p521;

/* What is done once, or for few numbers: the points for fill, and the sum of place[j] * 32^j. */
struct cm_ecfew {
    /* windows * 2^(width - 1) points; false: out of memory */
    bool (*multiples)(int width, struct cm_ecpoint *out);
    bool (*combine)(const struct cm_ecjac place[CM_EC_PLACES], struct cm_ecpoint *out); /* false: infinity */
    void (*invert)(cm_num *a);                                                          /* modulo p; 0 of 0 */
};

extern const struct cm_ecfew cm_ec_few_p256, cm_ec_few_p384, cm_ec_few_p521;

struct cm_ecpair {
    uint8_t pub[1 + 2 * CM_EC_MAX], priv[CM_EC_MAX];
};

/* Lies in cm_secret memory, and `work` behind it. */
struct cm_ecbatch {
    const struct cm_keyalg *alg;
    const struct cm_ecway *way;
    const struct cm_ecfew *few;
    const void *table;
    void *work;
    EC_GROUP *group; /* libcrypto's, for what it computes */
    EC_POINT *point;
    BIGNUM *number, *x, *y;
    BN_CTX *bn;
    size_t len; /* octets of a scalar and of a coordinate */
    uint32_t made;
    uint64_t failed;
    struct cm_secret secret;
    struct cm_ecpair pair[CM_EC_BATCH];
    uint8_t drawn[CM_EC_BATCH * CM_EC_MAX];
    cm_num scalar[CM_EC_BATCH], sum;
    struct cm_ecpoint out[CM_EC_BATCH];
    cm_ecweight weight[CM_EC_BATCH];
    bool bad[CM_EC_BATCH];
};

/* As cm_ecbatch_open, by a given way: tests plant faults in one. */
CM_MUST_CHECK cm_err cm_ecbatch_open_way(const struct cm_keyalg *alg, const struct cm_ecway *way,
                                         struct cm_ecbatch **out, struct cm_error *err);

static inline int cm_ec_windows(const struct cm_eccurve *c, int width)
{
    return (c->bits + width - 1) / width;
}

#endif
