#include "tests/t_primes.h"

#include "engine/err.h"

#include <math.h>

static const double critical_z = 4.753;

void t_primes_add(struct t_primes *set, const mpz_t prime)
{
    if (set->count == set->cap) {
        set->cap = set->cap * 2 + 64;
        set->at = reallocarray(set->at, set->cap, sizeof *set->at);
        CM_ASSERT(set->at != NULL);
    }
    mpz_init_set(set->at[set->count++], prime);
}

void t_primes_done(struct t_primes *set)
{
    for (size_t i = 0; i < set->count; i++)
        mpz_clear(set->at[i]);
    free(set->at);
    *set = (struct t_primes) { 0 };
}

/* --- chi-squared ------------------------------------------------------------ */

static double critical(double freedom)
{
    const double part = 2 / (9 * freedom);

    return freedom * pow(1 - part + critical_z * sqrt(part), 3);
}

static bool is_uniform(const char *what, const double *seen, size_t bins, double all)
{
    const double want = all / (double) bins, limit = critical((double) bins - 1);
    double statistic = 0;

    for (size_t i = 0; i < bins; i++)
        statistic += (seen[i] - want) * (seen[i] - want) / want;
    (void) printf("  %s: chi-squared %.1f with %zu degrees of freedom, at most %.1f%s\n", what, statistic,
                  bins - 1, limit, statistic > limit ? ": NOT UNIFORM" : "");
    return statistic <= limit;
}

bool t_primes_leading_bits(const struct t_primes *set)
{
    double seen[16] = { 0 };
    const size_t bins = set->count >= 160 ? 16 : set->count >= 40 ? 4 : 2;

    for (size_t i = 0; i < set->count; i++) {
        long exponent = 0;
        const double mantissa = mpz_get_d_2exp(&exponent, set->at[i]); /* in [1/2, 1) */
        const double place = (mantissa - M_SQRT1_2) / (1 - M_SQRT1_2);
        if (place < 0) {
            (void) printf("  leading bits: a prime below sqrt(2) * 2^(bits-1)\n");
            return false;
        }
        seen[(size_t) (place * (double) bins)]++;
    }
    return is_uniform("leading bits", seen, bins, (double) set->count);
}

static bool residues_of(const struct t_primes *set, unsigned modulus)
{
    double by_residue[64] = { 0 }, seen[64] = { 0 };
    size_t bins = 0;
    char what[40];

    for (size_t i = 0; i < set->count; i++)
        by_residue[mpz_fdiv_ui(set->at[i], modulus)]++;
    for (unsigned r = 0; r < modulus; r++) {
        if (modulus % 2 == 0 ? r % 2 == 1 : r != 0)
            seen[bins++] = by_residue[r];
        else if (by_residue[r] > 0)
            return false;
    }
    (void) snprintf(what, sizeof what, "residues modulo %u", modulus);
    return is_uniform(what, seen, bins, (double) set->count);
}

bool t_primes_residues(const struct t_primes *set)
{
    static const unsigned moduli[] = { 4, 8, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37 };
    bool good = true;

    for (size_t i = 0; i < CM_COUNT(moduli); i++)
        if (set->count >= 5 * (size_t) moduli[i]) /* fewer in a bin would not be normal */
            good &= residues_of(set, moduli[i]);
    return good;
}

/* --- repeats ------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    return mpz_cmp(a, b);
}

bool t_primes_distinct(const struct t_primes *set)
{
    mpz_t *sorted = calloc(set->count, sizeof *sorted);
    bool good = sorted != NULL;

    for (size_t i = 0; i < set->count && good; i++)
        sorted[i][0] = set->at[i][0]; /* the same limbs: only to be compared */
    if (good)
        qsort(sorted, set->count, sizeof *sorted, compare);
    for (size_t i = 1; i < set->count && good; i++)
        good = mpz_cmp(sorted[i - 1], sorted[i]) != 0;
    free(sorted);
    (void) printf("  %zu primes, %s\n", set->count, good ? "each once" : "one of them TWICE");
    return good;
}

/* What is left of the product of all modulo the squares of part[from..to), whose product is tree. */
static bool descend(const struct t_primes *moduli, size_t from, size_t to, const mpz_t rest)
{
    mpz_t product, left;
    bool good = true;

    mpz_inits(product, left, NULL);
    mpz_set_ui(product, 1);
    for (size_t i = from; i < to; i++)
        mpz_mul(product, product, moduli->at[i]);
    mpz_mul(product, product, product);
    mpz_mod(left, rest, product);
    if (to - from == 1) {
        mpz_divexact(left, left, moduli->at[from]);
        mpz_gcd(left, left, moduli->at[from]);
        good = mpz_cmp_ui(left, 1) == 0;
    } else {
        good = descend(moduli, from, from + (to - from) / 2, left) &&
               descend(moduli, from + (to - from) / 2, to, left);
    }
    mpz_clears(product, left, NULL);
    return good;
}

/* The product of a range, by halves. */
static void multiply_all(const struct t_primes *moduli, size_t from, size_t to, mpz_t out)
{
    mpz_t right;

    if (to - from == 1) {
        mpz_set(out, moduli->at[from]);
        return;
    }
    mpz_init(right);
    multiply_all(moduli, from, from + (to - from) / 2, out);
    multiply_all(moduli, from + (to - from) / 2, to, right);
    mpz_mul(out, out, right);
    mpz_clear(right);
}

bool t_moduli_coprime(const struct t_primes *moduli)
{
    mpz_t all;
    bool good = true;

    mpz_init(all);
    multiply_all(moduli, 0, moduli->count, all);
    good = descend(moduli, 0, moduli->count, all);
    mpz_clear(all);
    (void) printf("  %zu moduli, %s\n", moduli->count, good ? "no shared factor" : "two SHARE a factor");
    return good;
}
