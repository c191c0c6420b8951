#ifndef CM_ENGINE_PRIMETEST_H
#define CM_ENGINE_PRIMETEST_H

#include "engine/err.h"
#include "engine/sieve.h"

#include <stdbool.h>

/* primetest.h - is it prime? For odd numbers of one size, several side by side.
 *
 *  Filter     2^(w-1) = 1 mod w. Sorts nearly all composites out; it counts as no round.
 *  Rounds     Miller and Rabin, FIPS 186-5 B.3.1: bases uniform in [2, w-2], each drawn
 *             fresh from the private DRBG.
 *  Ways       the same answers by vectors of eight numbers where the processor has AVX-512
 *             IFMA, of four where it has AVX2 and FMA, or by libcrypto's BIGNUM, from the
 *             fastest to the slowest. CM_WAY_BEST takes the first that runs here.
 *  Timing     no branch and no address depends on a number or a base, but for how often
 *             2 divides w-1; and except for libcrypto's own BN_mod_exp_mont_consttime.
 *  Threads    a cm_primetest is one thread's.
 *  Numbers    CM_NAT_WORDS words each, least significant first, zeros above the size.
 */
enum cm_way { CM_WAY_BEST, CM_WAY_IFMA, CM_WAY_FMA, CM_WAY_BIGNUM, CM_WAYS };

enum { CM_LANES_MAX = 8 };

typedef uint64_t cm_nat[CM_NAT_WORDS];

struct cm_primetest;

/* Does the processor have what it takes? */
bool cm_primetest_runs(enum cm_way way);
/* What it is called, and for CM_WAY_BEST that which it stands for; for messages. */
const char *cm_primetest_name(enum cm_way way);

/* bits: 1024, 1536 or 2048; the top bit of each number is set. The way runs here. */
CM_MUST_CHECK cm_err cm_primetest_open(uint32_t bits, enum cm_way way, struct cm_primetest **out,
                                       struct cm_error *err);
/* Wipes what the last tests left behind. */
void cm_primetest_wipe(struct cm_primetest *t);
void cm_primetest_close(struct cm_primetest *t); /* NULL accepted */

/* How many numbers cost as much as one. */
uint32_t cm_primetest_lanes(const struct cm_primetest *t);
/* Bit i of *passed: w[i] passes the filter. count is at most cm_primetest_lanes. */
CM_MUST_CHECK cm_err cm_primetest_filter(struct cm_primetest *t, const cm_nat *w, uint32_t count,
                                         uint32_t *passed, struct cm_error *err);
/* So many rounds: does w pass them all? */
CM_MUST_CHECK cm_err cm_primetest_rounds(struct cm_primetest *t, const cm_nat *w, uint32_t rounds,
                                         bool *passed, struct cm_error *err);
/* At most CM_LANES_MAX rounds with given bases: bit i of *passed belongs to base[i]. */
CM_MUST_CHECK cm_err cm_primetest_bases(struct cm_primetest *t, const cm_nat *w, const cm_nat *base,
                                        uint32_t rounds, uint32_t *passed, struct cm_error *err);

#endif
