#ifndef CM_ENGINE_MONT8_H
#define CM_ENGINE_MONT8_H

#include <immintrin.h>
#include <stdint.h>

/* mont8.h - Montgomery's multiplication of eight numbers side by side, one in each lane
 * of a 512-bit vector, by the 52-bit multiply-adds of AVX-512 IFMA; R = 2^(52 * limbs).
 *
 * Limbs lie in vectors, least significant first. Products are summed up column by column,
 * five columns at a time in registers; a sum takes less than 4 * limbs products below
 * 2^52, so that 64 bits hold it. R is at least 2^16 times the modulus m: a product of two
 * numbers below 8m comes out below m * (1 + 2^-10), and nothing is ever subtracted to
 * get it below m. No branch and no address depends on a number.
 *
 * Every function is inline, for a number of limbs that is a constant where it is called:
 * 20, 30 or 40.
 */
enum { LANES = 8, LIMBS_MAX = 40, BLOCK = 5 };

static const uint64_t limb_mask = (UINT64_C(1) << 52) - 1;

typedef __m512i vec;

struct mont8 {
    vec m[LIMBS_MAX];
    vec product[2 * LIMBS_MAX], quotient[LIMBS_MAX];
    vec k0; /* -1/m mod 2^52 */
};

#define TARGET __attribute__((target("avx512f,avx512ifma")))
#define INLINE TARGET __attribute__((always_inline)) static inline
#define UNROLL _Pragma("GCC unroll 10")

/* --- sums of products ----------------------------------------------------------- */

/* acc[i + j] += a[i] * b[j], low and high halves, for five limbs by five. */
INLINE void add_block(vec acc[2 * BLOCK], const vec *a, const vec *b)
{
    UNROLL for (int i = 0; i < BLOCK; i++)
    {
        UNROLL for (int j = 0; j < BLOCK; j++) acc[i + j] = _mm512_madd52lo_epu64(acc[i + j], a[i], b[j]);
        UNROLL for (int j = 0; j < BLOCK; j++) acc[i + j + 1] =
            _mm512_madd52hi_epu64(acc[i + j + 1], a[i], b[j]);
    }
}

/* The same of a with itself, each product of two different limbs once. */
INLINE void add_triangle(vec acc[2 * BLOCK], const vec *a)
{
    UNROLL for (int i = 0; i < BLOCK; i++)
    {
        UNROLL for (int j = i + 1; j < BLOCK; j++) acc[i + j] = _mm512_madd52lo_epu64(acc[i + j], a[i], a[j]);
        UNROLL for (int j = i + 1; j < BLOCK; j++) acc[i + j + 1] =
            _mm512_madd52hi_epu64(acc[i + j + 1], a[i], a[j]);
    }
}

/* On to the next five columns. */
INLINE void move_on(vec acc[2 * BLOCK])
{
    UNROLL for (int r = 0; r < BLOCK; r++)
    {
        acc[r] = acc[r + BLOCK];
        acc[r + BLOCK] = _mm512_setzero_si512();
    }
}

INLINE void clear(vec acc[2 * BLOCK])
{
    UNROLL for (int r = 0; r < 2 * BLOCK; r++) acc[r] = _mm512_setzero_si512();
}

/* Five columns of a square from k * BLOCK on: twice the products of different limbs, and the squares. */
INLINE void square_columns(int blocks, int k, int odd, vec acc[2 * BLOCK], const vec *a, vec *out)
{
    for (int i = k < blocks ? 0 : k - blocks + 1; i < k - i; i++)
        add_block(acc, a + i * BLOCK, a + (k - i) * BLOCK);
    if (!odd)
        add_triangle(acc, a + k / 2 * BLOCK);
    UNROLL for (int r = 0; r < BLOCK; r++)
    {
        const vec twice = _mm512_add_epi64(acc[r], acc[r]), limb = a[(k * BLOCK + r) / 2];
        out[k * BLOCK + r] = ((odd + r) & 1) == 0 ? _mm512_madd52lo_epu64(twice, limb, limb)
                                                  : _mm512_madd52hi_epu64(twice, limb, limb);
    }
    move_on(acc);
}

INLINE void square(int limbs, const vec *a, vec *out)
{
    vec acc[2 * BLOCK];

    clear(acc);
    for (int k = 0; k < 2 * limbs / BLOCK; k += 2) {
        square_columns(limbs / BLOCK, k, 0, acc, a, out);
        square_columns(limbs / BLOCK, k + 1, 1, acc, a, out);
    }
}

INLINE void multiply(int limbs, const vec *a, const vec *b, vec *out)
{
    const int blocks = limbs / BLOCK;
    vec acc[2 * BLOCK];

    clear(acc);
    for (int k = 0; k < 2 * blocks; k++) {
        for (int i = k < blocks ? 0 : k - blocks + 1; i < blocks && i <= k; i++)
            add_block(acc, a + i * BLOCK, b + (k - i) * BLOCK);
        UNROLL for (int r = 0; r < BLOCK; r++) out[k * BLOCK + r] = acc[r];
        move_on(acc);
    }
}

/* --- Montgomery's reduction -------------------------------------------------------- */

/* Five limbs of the quotient: each makes the lowest column that is left a multiple of 2^52. */
INLINE void quotient_block(vec acc[2 * BLOCK], const vec *m, vec k0, vec *q)
{
    UNROLL for (int r = 0; r < BLOCK; r++)
    {
        const vec digit = _mm512_madd52lo_epu64(_mm512_setzero_si512(), acc[r], k0);
        UNROLL for (int j = 0; j < BLOCK; j++) acc[r + j] = _mm512_madd52lo_epu64(acc[r + j], digit, m[j]);
        UNROLL for (int j = 0; j < BLOCK; j++) acc[r + j + 1] =
            _mm512_madd52hi_epu64(acc[r + j + 1], digit, m[j]);
        acc[r + 1] = _mm512_add_epi64(acc[r + 1], _mm512_srli_epi64(acc[r], 52));
        q[r] = digit;
    }
}

INLINE void add_columns(vec acc[2 * BLOCK], const vec *columns)
{
    UNROLL for (int r = 0; r < BLOCK; r++) acc[r] = _mm512_add_epi64(acc[r], columns[r]);
}

/* out = product / R * 2^shift, modulo m and below m * 2^shift * (1 + product / (m * R)), in limbs of 52 bits.
 */
INLINE void reduce(int limbs, struct mont8 *c, vec shift, vec *out)
{
    const int blocks = limbs / BLOCK;
    const vec mask = _mm512_set1_epi64((long long) limb_mask), k0 = c->k0;
    vec acc[2 * BLOCK], carry = _mm512_setzero_si512();

    clear(acc);
    for (int k = 0; k < blocks; k++) {
        add_columns(acc, c->product + k * BLOCK);
        for (int i = 0; i < k; i++)
            add_block(acc, c->quotient + i * BLOCK, c->m + (k - i) * BLOCK);
        quotient_block(acc, c->m, k0, c->quotient + k * BLOCK);
        move_on(acc);
    }
    for (int k = blocks; k < 2 * blocks; k++) {
        add_columns(acc, c->product + k * BLOCK);
        for (int i = k - blocks + 1; i < blocks; i++)
            add_block(acc, c->quotient + i * BLOCK, c->m + (k - i) * BLOCK);
        UNROLL for (int r = 0; r < BLOCK; r++)
        {
            carry = _mm512_add_epi64(carry, _mm512_sllv_epi64(acc[r], shift));
            out[(k - blocks) * BLOCK + r] = _mm512_and_si512(carry, mask);
            carry = _mm512_srli_epi64(carry, 52);
        }
        move_on(acc);
    }
}

#endif
