#ifndef CM_BENCH_FLOOR_H
#define CM_BENCH_FLOOR_H

#include "bench/stats.h"
#include "engine/err.h"
#include "engine/keyalg.h"

#include <signal.h>
#include <stdbool.h>

/* floor.h - what one certificate costs at least: EVP_PKEY_generate for the device's
 * key and EVP_PKEY_sign of a digest with the CA's, by libcrypto's documented calls
 * with contexts that are reused, and nothing else.
 *
 *  Clock    processor time of the calling thread, pinned to one processor meanwhile.
 *           Freeing the keys is not in it.
 *  CA key   made here and never written; Ed25519 has no EVP_PKEY_sign of a digest and
 *           signs 512 octets instead.
 */
struct cm_floor_sample {
    uint64_t keys, signs;
    double key_s, sign_s; /* processor seconds for all of them */
    double key_squares;   /* RSA: sum of the squares of each key's seconds; others: 0 */
};

struct cm_floor;

CM_MUST_CHECK cm_err cm_floor_open(const struct cm_keyalg *key, const struct cm_keyalg *ca, int cpu,
                                   struct cm_floor **out, struct cm_error *err);
/* Measures for about `seconds`, and until at least `keys` keys are made. CM_E_CLOSED
 * when *stop is set meanwhile. */
CM_MUST_CHECK cm_err cm_floor_measure(struct cm_floor *f, double seconds, uint64_t keys,
                                      volatile sig_atomic_t *stop, struct cm_floor_sample *out,
                                      struct cm_error *err);
const char *cm_floor_signature(const struct cm_floor *f); /* static storage */
void cm_floor_close(struct cm_floor *f);                  /* NULL accepted */

/* Certificates per processor-second: 1 / (mean key + mean signature). */
double cm_floor_rate(const struct cm_floor_sample *s);
/* The same where the mean key time is no more than an estimate: RSA, whose times scatter
 * by half their mean. low is the rate at the long end of its 95 % interval, high at the
 * short end. */
struct cm_interval cm_floor_interval(const struct cm_floor_sample *s);
void cm_floor_add(struct cm_floor_sample *sum, const struct cm_floor_sample *s);

#endif
