#ifndef CM_ENGINE_MONTVEC_H
#define CM_ENGINE_MONTVEC_H

#include "engine/limbs.h"

/* montvec.h - Montgomery's multiplication of LANES numbers side by side, one in each lane of a
 * vector, by multiply-adds of 52 bits; R = 2^(52 * limbs).
 *
 * mont8.h and mont4.h bring vec8.h or vec4.h, and define before:
 *
 *   start_at             what a column starts from
 *   quotient_block       BLOCK limbs of the quotient
 *
 * Limbs lie in vectors, least significant first. Products are summed up column by column,
 * BLOCK columns at a time in registers; a sum takes less than 4 * limbs products below
 * 2^52, so that 64 bits hold it. R is at least 2^16 times the modulus m: a product of two
 * numbers below 8m comes out below m * (1 + 2^-10), and nothing is ever subtracted to
 * get it below m. No branch and no address depends on a number.
 *
 * Every function is inline, for a number of limbs that is a constant where it is called:
 * 20, 30 or 40.
 */
struct mont {
    limb m[LIMBS_MAX], quotient[LIMBS_MAX];
    limb inverse[INVERSE]; /* -1/m mod 2^(52 * INVERSE) */
    vec product[2 * LIMBS_MAX];
    uint64_t start[SUMS][COLUMNS]; /* set_starts() makes it; public */
};

/* --- sums of products ----------------------------------------------------------- */

/* acc[i + j] += a[i] * b[j], low and high halves, for BLOCK limbs by BLOCK. */
INLINE void add_block(vec acc[2 * BLOCK], const limb *a, const limb *b)
{
    UNROLL for (int i = 0; i < BLOCK; i++) add_row(acc + i, a[i], b, 0, BLOCK);
}

/* The same of a with itself, each product of two different limbs once. */
INLINE void add_triangle(vec acc[2 * BLOCK], const limb *a)
{
    UNROLL for (int i = 0; i < BLOCK; i++) add_row(acc + i, a[i], a, i + 1, BLOCK);
}

INLINE void begin(const struct mont *c, enum mont_sum of, vec acc[2 * BLOCK])
{
    UNROLL for (int r = 0; r < 2 * BLOCK; r++) acc[r] = start_at(&c->start[of][r]);
}

/* On to the columns from `to` on. */
INLINE void move_on(const struct mont *c, enum mont_sum of, int to, vec acc[2 * BLOCK])
{
    UNROLL for (int r = 0; r < BLOCK; r++)
    {
        acc[r] = acc[r + BLOCK];
        acc[r + BLOCK] = start_at(&c->start[of][to + BLOCK + r]);
    }
}

/* BLOCK columns of a square from k * BLOCK on: twice the products of different limbs, and the squares. */
INLINE void square_columns(int blocks, int k, int odd, struct mont *c, vec acc[2 * BLOCK], const limb *a)
{
    for (int i = k < blocks ? 0 : k - blocks + 1; i < k - i; i++)
        add_block(acc, a + i * BLOCK, a + (k - i) * BLOCK);
    if (!odd)
        add_triangle(acc, a + k / 2 * BLOCK);
    UNROLL for (int r = 0; r < BLOCK; r++)
    {
        const limb one = a[(k * BLOCK + r) / 2];
        vec sum = v_add(acc[r], acc[r]);
        if (((odd + r) & 1) == 0)
            add_low(&sum, one, one);
        else
            add_high(&sum, one, one);
        c->product[k * BLOCK + r] = sum;
    }
    move_on(c, SQUARE, (k + 1) * BLOCK, acc);
}

/* c->product = a * a */
INLINE void square(int limbs, struct mont *c, const limb *a)
{
    vec acc[2 * BLOCK];

    begin(c, SQUARE, acc);
    for (int k = 0; k < 2 * limbs / BLOCK; k += 2) {
        square_columns(limbs / BLOCK, k, 0, c, acc, a);
        square_columns(limbs / BLOCK, k + 1, 1, c, acc, a);
    }
}

/* c->product = a * b */
INLINE void multiply(int limbs, struct mont *c, const limb *a, const limb *b)
{
    const int blocks = limbs / BLOCK;
    vec acc[2 * BLOCK];

    begin(c, PRODUCT, acc);
    for (int k = 0; k < 2 * blocks; k++) {
        for (int i = k < blocks ? 0 : k - blocks + 1; i < blocks && i <= k; i++)
            add_block(acc, a + i * BLOCK, b + (k - i) * BLOCK);
        UNROLL for (int r = 0; r < BLOCK; r++) c->product[k * BLOCK + r] = acc[r];
        move_on(c, PRODUCT, (k + 1) * BLOCK, acc);
    }
}

/* --- Montgomery's reduction -------------------------------------------------------- */

INLINE void add_columns(vec acc[2 * BLOCK], const vec *columns)
{
    UNROLL for (int r = 0; r < BLOCK; r++) acc[r] = v_add(acc[r], columns[r]);
}

/* out = c->product / R * 2^shift, modulo m and below m * 2^shift * (1 + product / (m * R)). */
INLINE void reduce(int limbs, struct mont *c, vec shift, limb *out)
{
    const int blocks = limbs / BLOCK;
    vec acc[2 * BLOCK], carry = v_set(0);

    begin(c, REDUCTION, acc);
    for (int k = 0; k < blocks; k++) {
        add_columns(acc, c->product + k * BLOCK);
        for (int i = 0; i < k; i++)
            add_block(acc, c->quotient + i * BLOCK, c->m + (k - i) * BLOCK);
        quotient_block(acc, c->m, c->inverse, c->quotient + k * BLOCK);
        move_on(c, REDUCTION, (k + 1) * BLOCK, acc);
    }
    for (int k = blocks; k < 2 * blocks; k++) {
        add_columns(acc, c->product + k * BLOCK);
        for (int i = k - blocks + 1; i < blocks; i++)
            add_block(acc, c->quotient + i * BLOCK, c->m + (k - i) * BLOCK);
        UNROLL for (int r = 0; r < BLOCK; r++)
        {
            carry = v_add(carry, v_shl_each(acc[r], shift));
            out[(k - blocks) * BLOCK + r] = l_low(carry);
            carry = v_shr(carry, 52);
        }
        move_on(c, REDUCTION, (k + 1) * BLOCK, acc);
    }
}

#endif
