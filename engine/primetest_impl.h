#ifndef CM_ENGINE_PRIMETEST_IMPL_H
#define CM_ENGINE_PRIMETEST_IMPL_H

#include "engine/primetest.h"
#include "engine/secret.h"

/* primetest_impl.h - what a way of testing primes offers to primetest.c. */
struct cm_primetest_ops {
    uint32_t lanes;
    cm_err (*open)(uint32_t bits, void **way, struct cm_error *err);
    void (*close)(void *way); /* NULL accepted */
    void (*wipe)(void *way);  /* what was computed */
    /* false: libcrypto failed. count <= lanes. */
    bool (*filter)(void *way, const cm_nat *w, uint32_t count, uint32_t *passed);
    /* w - 1 = odd * 2^twos */
    bool (*rounds)(void *way, const cm_nat *w, const cm_nat *base, uint32_t rounds, uint32_t twos,
                   uint32_t *passed);
};

/* The last two exist on x86-64, for processors of the level that cpu.h names after them. */
extern const struct cm_primetest_ops cm_primetest_bignum, cm_primetest_fma, cm_primetest_ifma;

struct cm_primetest { /* lies in cm_secret memory */
    const struct cm_primetest_ops *ops;
    void *way;
    uint32_t bits;
    struct cm_secret secret;
    cm_nat base[CM_LANES_MAX];
};

#endif
