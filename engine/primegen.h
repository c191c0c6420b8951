#ifndef CM_ENGINE_PRIMEGEN_H
#define CM_ENGINE_PRIMEGEN_H

#include "engine/primetest.h"

/* primegen.h - random primes for RSA keys: FIPS 186-5 A.1.1's conditions on one prime.
 *
 * A prime of k bits lies in [sqrt(2) * 2^(k-1), 2^k) and is not 1 modulo 65537. The
 * search is incremental, which FIPS 186-5 A.1.3 is not: for each prime a start is drawn
 * uniformly from that interval, what a sieve leaves of the window of s = 2k odd numbers
 * from there on is tried in random order, and the first that passes is the prime. No
 * window yields two. Miller-Rabin rounds are those of Table B.1: 5 for 1024 bits, 4 for
 * 1536 and 2048.
 *
 *  Error      For k-bit odd numbers drawn one by one, Damgård, Landrock and Pomerance bound
 *             the probability that what passed t rounds is composite by
 *             p(k,t) < k^1.5 * 2^t * t^-0.5 * 4^(2-sqrt(tk)). A window multiplies that by at
 *             most L / (1 - e^-L), where L = 2s / (k ln 2) = 5.77 primes are expected in
 *             it, and drawing from 0.586 of the k-bit numbers by at most 1/0.586; in all
 *             less than 2^3.4. Sieve and filter only take composites away.
 *                k = 1024, t = 5:  2^-120.3 * 2^3.4 < 2^-116  (Table B.1 asks for 2^-112)
 *                k = 1536, t = 4:  2^-133.9 * 2^3.4 < 2^-130  (2^-128)
 *                k = 2048, t = 4:  2^-157.5 * 2^3.4 < 2^-154  (2^-144)
 *             A window without a prime (e^-L, one in 300) is followed by a new start.
 *  Secrets    the prime leaves in memory of the caller's (cm_secret); everything else
 *             that could tell it is wiped after each search.
 *  Threads    a cm_primegen is one thread's.
 */
struct cm_primegen;

CM_MUST_CHECK cm_err cm_primegen_open(uint32_t bits, enum cm_way way, struct cm_primegen **out,
                                      struct cm_error *err);
CM_MUST_CHECK cm_err cm_primegen_next(struct cm_primegen *g, cm_nat *prime, struct cm_error *err);
void cm_primegen_close(struct cm_primegen *g); /* NULL accepted */

/* Rounds of FIPS 186-5 Table B.1 for primes of so many bits. */
uint32_t cm_primegen_rounds(uint32_t bits);

#endif
