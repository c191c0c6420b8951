#include "engine/primetest_impl.h"

#ifdef __x86_64__

#include "engine/mont4.h"
#include "engine/primetest_lanes.h"

/* Four lanes, and libcrypto's BIGNUM for a round that is left over: alone it costs half of what four
 * cost here. */
struct fma {
    void *lanes, *bignum;
};

static void fma_close(void *arg)
{
    struct fma *const f = arg;

    if (f == NULL)
        return;
    lanes_close(f->lanes);
    cm_primetest_bignum.close(f->bignum);
    free(f);
}

static cm_err fma_open(uint32_t bits, void **out, struct cm_error *err)
{
    struct fma *const f = calloc(1, sizeof *f);
    cm_err rc = CM_OK;

    if (f == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory to test RSA-%u primes", 2 * bits);
    rc = lanes_open(bits, &f->lanes, err);
    if (rc == CM_OK)
        rc = cm_primetest_bignum.open(bits, &f->bignum, err);
    if (rc != CM_OK) {
        fma_close(f);
        return rc;
    }
    *out = f;
    return CM_OK;
}

static void fma_wipe(void *arg)
{
    struct fma *const f = arg;

    lanes_wipe(f->lanes);
    cm_primetest_bignum.wipe(f->bignum);
}

static bool fma_filter(void *arg, const cm_nat *w, uint32_t count, uint32_t *passed)
{
    struct fma *const f = arg;

    return lanes_filter(f->lanes, w, count, passed);
}

static bool fma_rounds(void *arg, const cm_nat *w, const cm_nat *base, uint32_t rounds, uint32_t twos,
                       uint32_t *passed)
{
    struct fma *const f = arg;
    bool ok = true;

    *passed = 0;
    for (uint32_t done = 0, n = 0; ok && done < rounds; done += n) {
        uint32_t here = 0;
        n = rounds - done < LANES ? rounds - done : LANES;
        ok = n == 1 ? cm_primetest_bignum.rounds(f->bignum, w, base + done, n, twos, &here)
                    : lanes_rounds(f->lanes, w, base + done, n, twos, &here);
        *passed |= here << done;
    }
    return ok;
}

const struct cm_primetest_ops cm_primetest_fma = { .lanes = LANES,
                                                   .open = fma_open,
                                                   .close = fma_close,
                                                   .wipe = fma_wipe,
                                                   .filter = fma_filter,
                                                   .rounds = fma_rounds };

#endif
