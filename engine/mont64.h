#ifndef CM_ENGINE_MONT64_H
#define CM_ENGINE_MONT64_H

#include <stdint.h>
#include <string.h>

/* mont64.h - Montgomery's arithmetic modulo a prime of 256, 384 or 521 bits, in 64-bit words;
 * R = 2^(64 * words).
 *
 * Numbers are below the modulus before and after every call, least significant word first.
 * No branch and no address depends on a number; a modulus, an exponent and a count of words
 * are public. Every function is inline, for a modulus that is constant where it is called:
 * then its words and their number are known to the compiler.
 */
enum { CM_EC_WORDS = 9 };

typedef uint64_t cm_num[CM_EC_WORDS];

struct cm_modulus {
    int words;
    uint64_t k0; /* -1/m mod 2^64 */
    cm_num m;
    cm_num rr; /* R^2 mod m: the way into Montgomery's form */
};

#define CM_MONT64 __attribute__((always_inline)) static inline
#define CM_UNROLL _Pragma("GCC unroll 9")

__extension__ typedef unsigned __int128 cm_wide;

/* out = x - m where x, with its carry above, is not below m; else x. */
CM_MONT64 void cm_mod_trim(const struct cm_modulus *f, uint64_t carry, const uint64_t *x, uint64_t *out)
{
    cm_num less = { 0 };
    uint64_t borrow = 0;

    CM_UNROLL for (int i = 0; i < f->words; i++)
    {
        const cm_wide t = (cm_wide) x[i] - f->m[i] - borrow;
        less[i] = (uint64_t) t;
        borrow = (uint64_t) (t >> 64) & 1;
    }
    const uint64_t keep = 0 - (borrow & ~carry & 1); /* all ones: x is below m */
    CM_UNROLL for (int i = 0; i < f->words; i++) out[i] = (x[i] & keep) | (less[i] & ~keep);
}

CM_MONT64 void cm_mod_add(const struct cm_modulus *f, const uint64_t *a, const uint64_t *b, uint64_t *out)
{
    cm_num sum = { 0 };
    uint64_t carry = 0;

    CM_UNROLL for (int i = 0; i < f->words; i++)
    {
        const cm_wide t = (cm_wide) a[i] + b[i] + carry;
        sum[i] = (uint64_t) t;
        carry = (uint64_t) (t >> 64);
    }
    cm_mod_trim(f, carry, sum, out);
}

CM_MONT64 void cm_mod_sub(const struct cm_modulus *f, const uint64_t *a, const uint64_t *b, uint64_t *out)
{
    cm_num less = { 0 };
    uint64_t borrow = 0, carry = 0;

    CM_UNROLL for (int i = 0; i < f->words; i++)
    {
        const cm_wide t = (cm_wide) a[i] - b[i] - borrow;
        less[i] = (uint64_t) t;
        borrow = (uint64_t) (t >> 64) & 1;
    }
    CM_UNROLL for (int i = 0; i < f->words; i++)
    {
        const cm_wide t = (cm_wide) less[i] + (f->m[i] & (0 - borrow)) + carry;
        out[i] = (uint64_t) t;
        carry = (uint64_t) (t >> 64);
    }
}

/* out = a * b / R mod m. Row by row: the products of one word of a, then the multiple of m that
 * makes the lowest word zero; the sum stays below 2m. */
CM_MONT64 void cm_mod_mul(const struct cm_modulus *f, const uint64_t *a, const uint64_t *b, uint64_t *out)
{
    const int n = f->words;
    uint64_t t[CM_EC_WORDS + 2] = { 0 };

    CM_UNROLL for (int i = 0; i < n; i++)
    {
        cm_wide c = 0;
        CM_UNROLL for (int j = 0; j < n; j++)
        {
            c += (cm_wide) a[i] * b[j] + t[j];
            t[j] = (uint64_t) c;
            c >>= 64;
        }
        c += t[n];
        t[n] = (uint64_t) c;
        t[n + 1] = (uint64_t) (c >> 64);
        const uint64_t q = t[0] * f->k0;
        c = ((cm_wide) q * f->m[0] + t[0]) >> 64;
        CM_UNROLL for (int j = 1; j < n; j++)
        {
            c += (cm_wide) q * f->m[j] + t[j];
            t[j - 1] = (uint64_t) c;
            c >>= 64;
        }
        c += t[n];
        t[n - 1] = (uint64_t) c;
        t[n] = t[n + 1] + (uint64_t) (c >> 64);
    }
    cm_mod_trim(f, t[n], t, out);
}

/* Out of Montgomery's form. */
CM_MONT64 void cm_mod_leave(const struct cm_modulus *f, const uint64_t *a, uint64_t *out)
{
    const cm_num one = { 1 };

    cm_mod_mul(f, a, one, out);
}

/* All ones where a is zero. */
CM_MONT64 uint64_t cm_mod_is_zero(const struct cm_modulus *f, const uint64_t *a)
{
    uint64_t any = 0;

    CM_UNROLL for (int i = 0; i < f->words; i++) any |= a[i];
    return ((any | (0 - any)) >> 63) - 1;
}

/* Word i of m - 2. */
CM_MONT64 uint64_t cm_mod_minus_two(const struct cm_modulus *f, int i)
{
    return i == 0 ? f->m[0] - 2 : f->m[i]; /* an odd prime above 2^64 whose last word is not 1 */
}

#endif
