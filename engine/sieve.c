#include "engine/sieve.h"

#include "engine/secret.h"

#include <string.h>

/* Small primes whose product stays below 2^63: the window's start is reduced by the
 * product once, word by word, and by each prime in two multiplications. */
struct group {
    uint64_t product;
    uint64_t minus_inverse; /* -1/product mod 2^64 */
    uint64_t back;          /* 2^(64*(words+1)) mod product: undoes what Montgomery's reduction divides by */
    uint32_t first, count;  /* which primes */
};

enum { TOGETHER = 4 };

struct small_prime {
    uint64_t inverse; /* floor((2^64-1) / value) */
    uint32_t value;
};

struct cm_sieve {
    uint32_t words, odds;
    struct small_prime *prime;
    struct group *group;
    uint32_t primes, groups;
};

/* --- tables --------------------------------------------------------------- */

/* The odd primes below limit, by Eratosthenes. */
static cm_err list_primes(struct cm_sieve *s, uint32_t limit, struct cm_error *err)
{
    uint8_t *const composite = calloc(limit, 1);

    s->prime = calloc(limit / 2, sizeof *s->prime);
    if (composite == NULL || s->prime == NULL) {
        free(composite);
        CM_FAIL(err, CM_E_NOMEM, "no memory for the table of small primes");
    }
    for (uint32_t p = 3; p < limit; p += 2) {
        if (composite[p])
            continue;
        s->prime[s->primes++] = (struct small_prime) { .inverse = UINT64_MAX / p, .value = p };
        for (uint64_t m = (uint64_t) p * p; m < limit; m += 2 * p)
            composite[m] = 1;
    }
    free(composite);
    return CM_OK;
}

/* -1/n mod 2^64 for odd n, by Newton: n is its own inverse mod 8, and each step doubles the bits. */
static uint64_t minus_inverse(uint64_t n)
{
    uint64_t x = n;

    for (int i = 0; i < 5; i++)
        x *= 2 - n * x;
    return 0 - x;
}

static void finish_group(const struct cm_sieve *s, struct group *g)
{
    cm_u128 power = 1;

    for (uint32_t i = 0; i <= s->words; i++)
        power = (power << 64) % g->product;
    g->minus_inverse = minus_inverse(g->product);
    g->back = (uint64_t) power;
}

static cm_err make_groups(struct cm_sieve *s, struct cm_error *err)
{
    s->group = calloc(s->primes + TOGETHER, sizeof *s->group);
    if (s->group == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the table of small primes");
    for (uint32_t i = 0; i < s->primes;) {
        struct group *g = &s->group[s->groups++];
        *g = (struct group) { .product = 1, .first = i };
        while (i < s->primes && g->product < (UINT64_C(1) << 63) / s->prime[i].value) {
            g->product *= s->prime[i++].value;
            g->count++;
        }
        finish_group(s, g);
    }
    while (s->groups % TOGETHER != 0) { /* of no primes */
        s->group[s->groups] = (struct group) { .product = 3 };
        finish_group(s, &s->group[s->groups++]);
    }
    return CM_OK;
}

cm_err cm_sieve_open(uint32_t words, uint32_t odds, uint32_t limit, struct cm_sieve **out,
                     struct cm_error *err)
{
    struct cm_sieve *s = calloc(1, sizeof *s);
    cm_err rc = CM_OK;

    CM_ASSERT(words >= 2 && words <= CM_NAT_WORDS && limit > 3 && limit <= 1u << 24);
    CM_ASSERT(odds <= CM_SIEVE_ODDS_MAX && odds % 64 == 0 && odds < CM_RSA_E / 2);
    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for a sieve");
    s->words = words;
    s->odds = odds;
    rc = list_primes(s, limit, err);
    if (rc == CM_OK)
        rc = make_groups(s, err);
    if (rc != CM_OK) {
        cm_sieve_close(s);
        return rc;
    }
    *out = s;
    return CM_OK;
}

void cm_sieve_close(struct cm_sieve *s)
{
    if (s == NULL)
        return;
    free(s->prime);
    free(s->group);
    free(s);
}

/* --- a window -------------------------------------------------------------- */

/* (a + b*product) / 2^64 with the b that makes it whole; below 2^64 as product < 2^63. */
static uint64_t reduce(cm_u128 a, const struct group *g)
{
    const uint64_t b = (uint64_t) a * g->minus_inverse;

    return (uint64_t) ((a + (cm_u128) b * g->product) >> 64);
}

/* start mod product, or that plus product, for a few groups at a time: one alone would wait for
 * each multiplication. */
static void residues(const struct cm_sieve *s, const uint64_t *start, const struct group *g, uint64_t *r)
{
    for (uint32_t k = 0; k < TOGETHER; k++)
        r[k] = 0;
    for (uint32_t i = 0; i < s->words; i++)
        for (uint32_t k = 0; k < TOGETHER; k++)
            r[k] = reduce((cm_u128) r[k] + start[i], &g[k]);
    for (uint32_t k = 0; k < TOGETHER; k++)
        r[k] = reduce((cm_u128) r[k] * g[k].back, &g[k]);
}

static uint32_t residue_small(uint64_t r, const struct small_prime *p)
{
    const uint64_t quotient = (uint64_t) ((cm_u128) r * p->inverse >> 64);
    uint64_t rest = r - quotient * p->value; /* the quotient is right or one too small */

    rest -= rest >= p->value ? p->value : 0;
    return (uint32_t) rest;
}

/* The least i >= 0 with start + 2i = 0 mod p, from r = start mod p. */
static uint32_t first_multiple(uint32_t r, uint32_t p)
{
    const uint32_t back = r == 0 ? 0 : p - r;

    return (back + (back & 1 ? p : 0)) / 2;
}

static void strike(struct cm_sieved *out, uint32_t i)
{
    out->struck[i / 64] |= UINT64_C(1) << (i % 64);
}

static void strike_group(const struct cm_sieve *s, const struct group *g, uint64_t r, struct cm_sieved *out)
{
    for (uint32_t i = g->first; i < g->first + g->count; i++) {
        const uint32_t p = s->prime[i].value;
        for (uint32_t at = first_multiple(residue_small(r, &s->prime[i]), p); at < s->odds; at += p)
            strike(out, at);
    }
}

/* start + 2i = 1 mod e: e is longer than a window, so there is one such number at most. */
static void strike_one_mod_e(const struct cm_sieve *s, const uint64_t *start, struct cm_sieved *out)
{
    uint64_t r = 0;

    for (uint32_t i = s->words; i-- > 0;)
        r = (uint64_t) (((cm_u128) r << 64 | start[i]) % CM_RSA_E);
    const uint32_t i = first_multiple((uint32_t) ((r + CM_RSA_E - 1) % CM_RSA_E), CM_RSA_E);
    if (i < s->odds)
        strike(out, i);
}

void cm_sieve_window(const struct cm_sieve *s, const uint64_t *start, struct cm_sieved *out)
{
    memset(out->struck, 0, sizeof out->struck);
    for (uint32_t k = 0; k < s->groups; k += TOGETHER) {
        uint64_t r[TOGETHER];
        residues(s, start, &s->group[k], r);
        for (uint32_t i = 0; i < TOGETHER; i++)
            strike_group(s, &s->group[k + i], r[i], out);
    }
    strike_one_mod_e(s, start, out);
    out->count = 0;
    for (uint32_t i = 0; i < s->odds; i++) {
        out->left[out->count] = (uint16_t) i;
        out->count += (out->struck[i / 64] >> (i % 64) & 1) == 0;
    }
}
