#ifndef CM_TESTS_T_PRIMES_H
#define CM_TESTS_T_PRIMES_H

#include <gmp.h>
#include <stdbool.h>
#include <stddef.h>

/* t_primes.h - what a crowd of primes shows of the generator that made it.
 *
 * All primes of a set have `bits` bits each, or each its own where bits differ; the law that
 * they must follow is the same for any size. A chi-squared test fails where its statistic is
 * above the value that chance passes once in a million: CRITICAL_Z = 4.753 standard
 * deviations, by Wilson and Hilferty's approximation.
 */
struct t_primes {
    mpz_t *at;
    size_t count, cap;
};

void t_primes_add(struct t_primes *set, const mpz_t prime);
void t_primes_done(struct t_primes *set);

/* Each says on stdout what it found, and true when there is nothing against the set. */

/* prime / 2^bits is uniform in [sqrt(1/2), 1): chi-squared over up to 16 bins. */
bool t_primes_leading_bits(const struct t_primes *set);
/* Residues modulo 4, 8, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31 and 37 are uniform among those that primes
 * have: a chi-squared test each. */
bool t_primes_residues(const struct t_primes *set);
/* No prime is there twice. */
bool t_primes_distinct(const struct t_primes *set);
/* Bernstein's batch GCD: no two moduli share a factor. */
bool t_moduli_coprime(const struct t_primes *moduli);

#endif
