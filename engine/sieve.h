#ifndef CM_ENGINE_SIEVE_H
#define CM_ENGINE_SIEVE_H

#include "engine/err.h"

#include <stddef.h>
#include <stdint.h>

/* sieve.h - what is left of a window of odd numbers when the multiples of small
 * primes are struck out.
 *
 * A window is start, start + 2, … : `odds` numbers of at most CM_NAT_WORDS words,
 * least significant first. Numbers that are 1 modulo the RSA exponent go too: as
 * primes they would have no private exponent.
 *
 *  Ownership  one thread's. The tables are public; what a window leaves is as secret
 *             as its start and lies in memory of the caller's (cm_secret).
 *  Timing     which numbers are struck out decides addresses and branches, here as in
 *             every sieve.
 */
enum { CM_NAT_WORDS = 32, CM_SIEVE_ODDS_MAX = 4096, CM_RSA_E = 65537 };

__extension__ typedef unsigned __int128 cm_u128;

struct cm_sieve;

/* What is left of a window, to be drawn from. Wiped by its owner. */
struct cm_sieved {
    uint64_t struck[CM_SIEVE_ODDS_MAX / 64]; /* scratch: a bit for each number */
    uint16_t left[CM_SIEVE_ODDS_MAX];        /* start + 2 * left[i] is left */
    uint32_t count;
};

/* For numbers of `words` words, windows of `odds` numbers (a multiple of 64), primes below `limit`. */
CM_MUST_CHECK cm_err cm_sieve_open(uint32_t words, uint32_t odds, uint32_t limit, struct cm_sieve **out,
                                   struct cm_error *err);
/* start is odd and larger than any of the small primes. */
void cm_sieve_window(const struct cm_sieve *s, const uint64_t *start, struct cm_sieved *out);
void cm_sieve_close(struct cm_sieve *s); /* NULL accepted */

#endif
