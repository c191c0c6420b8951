#ifndef CM_BENCH_CHECKFLOOR_H
#define CM_BENCH_CHECKFLOOR_H

#include "engine/err.h"
#include "engine/keyalg.h"

#include <signal.h>

/* checkfloor.h - what checking one device costs at least: EVP_PKEY_verify of the CA's
 * signature over a digest, and EC_POINT_mul of the device's scalar with the generator,
 * by libcrypto's documented calls with contexts that are reused, and nothing else.
 *
 *  Keys   the device's is EC; the CA's signs digests: not Ed25519.
 *  Clock  as in floor.h: of the calling thread, pinned to one processor meanwhile.
 */
struct cm_checkfloor_sample {
    uint64_t devices;
    double verify_s, mul_s; /* processor seconds for all of them */
};

struct cm_checkfloor;

CM_MUST_CHECK cm_err cm_checkfloor_open(const struct cm_keyalg *key, const struct cm_keyalg *ca, int cpu,
                                        struct cm_checkfloor **out, struct cm_error *err);
/* Measures for about `seconds` and adds to *sum. CM_E_CLOSED when *stop is set meanwhile. */
CM_MUST_CHECK cm_err cm_checkfloor_measure(struct cm_checkfloor *f, double seconds,
                                           volatile sig_atomic_t *stop, struct cm_checkfloor_sample *sum,
                                           struct cm_error *err);
void cm_checkfloor_close(struct cm_checkfloor *f); /* NULL accepted */

#endif
