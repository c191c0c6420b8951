#ifndef CM_ENGINE_ECCORE_H
#define CM_ENGINE_ECCORE_H

#include "engine/ecway.h"
#include "engine/secret.h"

#include <string.h>

/* eccore.h - the arithmetic of points for a batch, over any arithmetic of field elements.
 *
 * A file that includes this has defined before: CURVE, a struct cm_eccurve; LANES, how many numbers
 * lie side by side in a `vec`; LIMBS of a field element; WIDTH, the bits of a window; CORE, what stands
 * before a function; and
 *
 *   struct element       a field element of each lane, in Montgomery's form
 *   fe_mul, fe_sqr, fe_add, fe_sub   out may be an operand
 *   fe_one, fe_b         constants, the same in all lanes
 *   fe_is_zero, fe_pick  the lanes of zero; out = where ? a : out: constant time
 *   fe_from_words, fe_to_words   plain numbers of LANES places to elements and back
 *   fe_broadcast         one lane's element in all lanes
 *   mask                 one answer for each lane: m_or, m_and, m_not, m_from, m_bits (bit i is lane i's)
 *   v_or, v_shl, v_shr, v_gather     words of the lanes' scalars
 *   invert_lanes         a = 1/a in each lane; there is no 0
 *   find                 an entry of a window's table, constant time
 *
 * Fixed base. An odd scalar k below 2^(WIDTH * windows) has exactly one form
 *
 *   k = sum of d[i] * 2^(WIDTH * i),   d[i] odd, |d[i]| < 2^WIDTH, the last one positive:
 *
 * d[i] = 2u + 1 - 2^WIDTH, where u is the WIDTH bits of k from bit WIDTH * i + 1 on, and a bit is
 * set above the last window. So there is no zero digit, no carry and no point at infinity to
 * begin with. The table holds the odd multiples of 2^(WIDTH * i) * G; the sum of a scalar's
 * entries is formed by affine additions, in rounds that do one addition in each of GROUPS sums of
 * every scalar of the batch and share one inversion (Montgomery's trick; Montgomery, "Speeding the
 * Pollard and elliptic curve methods of factorization", 1987, 10.3.1): 5 products and a square
 * an addition. An even k is replaced by n - k, which is odd, and y by -y.
 *
 * Exceptional cases. An affine addition of A and B fails when A = B or A = -B, and gives a finite
 * sum otherwise; so infinity never arises unless one of these two was overlooked. Both are the
 * same thing: x(A) = x(B), a zero in the shared inversion. The two are sums over different
 * windows, a and b as multiples of G. As whole numbers a and b differ, and so do a and -b: in the
 * lowest window of the two exactly one has its odd digit. That leaves a = b or a = -b modulo n with
 * |a| + |b| >= n, which only a sum with the last window in it can reach; -b is excluded in the last
 * addition (a + b = k is not 0 modulo n), and what remains determines k up to the digits of one
 * addition: a few scalars out of 2^256. Whatever meets it is flagged, one is put in place of the zero
 * so that no other scalar notices, and libcrypto computes that one.
 */
enum { GROUPS = 8, ENTRIES = 1 << (WIDTH - 1) };

/* Two products run side by side through an inversion: each waits for its last step. */
enum { CHAINS = 2 };

struct sum {
    struct element x, y;
};

/* All of one curve's count; `vectors` scalars of LANES each. */
struct work {
    struct element *difference, *product; /* [GROUPS * vectors] */
    struct sum *sum, *entry;              /* [GROUPS * vectors] */
    vec (*scalar)[CM_EC_WORDS + 1];       /* [vectors] */
    mask *even, *bad;                     /* [vectors] */
};

static size_t multiply_octets(uint32_t count)
{
    const size_t vectors = (count + LANES - 1) / LANES;

    return vectors * (GROUPS * (2 * sizeof(struct element) + 2 * sizeof(struct sum)) +
                      sizeof(vec[CM_EC_WORDS + 1]) + 2 * sizeof(mask));
}

static struct work lay_out(void *memory, uint32_t vectors)
{
    struct work w = { .difference = memory };

    w.product = w.difference + (size_t) GROUPS * vectors;
    w.sum = (struct sum *) (w.product + (size_t) GROUPS * vectors);
    w.entry = w.sum + (size_t) GROUPS * vectors;
    w.scalar = (vec(*)[CM_EC_WORDS + 1])(w.entry + (size_t) GROUPS * vectors);
    w.even = (mask *) (w.scalar + vectors);
    w.bad = w.even + vectors;
    return w;
}

CORE void fe_copy(const struct element *a, struct element *out)
{
    for (int i = 0; i < LIMBS; i++)
        out->l[i] = a->l[i];
}

/* Of the way: */
CORE void invert_lanes(struct element *a);
CORE void find(const uint64_t *table, vec u, struct sum *out);

/* --- the fixed base -------------------------------------------------------------- */

/* The entry of window i for each lane's scalar. */
CORE void find_entry(const uint64_t *table, const struct work *w, int i, uint32_t v, struct sum *out)
{
    const int at = WIDTH * i + 1, shift = at % 64;
    const vec *const word = w->scalar[v] + at / 64;
    vec u = v_shr(word[0], shift);

    if (shift + WIDTH > 64)
        u = v_or(u, v_shl(word[1], 64 - shift));
    find(table + (size_t) i * ENTRIES * 2 * (size_t) LIMBS, u, out);
}

/* Zeros among the differences are flagged and replaced by one: the products are formed anew. */
CORE void mend_zeros(const struct work *w, uint32_t count, uint32_t vectors, struct element run[CHAINS])
{
    struct element one;

    fe_one(&one);
    for (int c = 0; c < CHAINS; c++)
        fe_copy(&one, &run[c]);
    for (uint32_t k = 0; k < count; k++) {
        struct element *const d = &w->difference[k];
        const mask zero = fe_is_zero(d);
        w->bad[k % vectors] = m_or(w->bad[k % vectors], zero);
        fe_pick(zero, &one, d);
        fe_copy(&run[k % CHAINS], &w->product[k]);
        fe_mul(&run[k % CHAINS], d, &run[k % CHAINS]);
    }
}

/* (x1, y1) += (x2, y2) by the inverses of x2 - x1, for n <= CHAINS sums, which are independent: step by step
 * for all, so that one fills the time that another waits. */
CORE void add_some(const struct element *inverse, int n, const struct sum *b, struct sum *a)
{
    struct element slope[CHAINS], x3[CHAINS];

    for (int i = 0; i < n; i++) {
        fe_sub(&b[i].y, &a[i].y, &slope[i]);
        fe_mul(&slope[i], &inverse[i], &slope[i]);
    }
    for (int i = 0; i < n; i++) {
        fe_sqr(&slope[i], &x3[i]);
        fe_sub(&x3[i], &b[i].x, &x3[i]);
        fe_sub(&x3[i], &a[i].x, &x3[i]);
        fe_sub(&a[i].x, &x3[i], &a[i].x);
    }
    for (int i = 0; i < n; i++) {
        fe_mul(&slope[i], &a[i].x, &slope[i]);
        fe_sub(&slope[i], &a[i].y, &a[i].y);
        fe_copy(&x3[i], &a[i].x);
    }
}

/* sum[k] += entry[k] for so many of them; k belongs to vector k % vectors. */
CORE void add_all(const struct work *w, uint32_t count, uint32_t vectors)
{
    struct element run[CHAINS], inverse;

    for (int c = 0; c < CHAINS; c++)
        fe_one(&run[c]);
    for (uint32_t k = 0; k < count; k++) {
        struct element *const d = &w->difference[k];
        fe_sub(&w->entry[k].x, &w->sum[k].x, d);
        fe_copy(&run[k % CHAINS], &w->product[k]);
        fe_mul(&run[k % CHAINS], d, &run[k % CHAINS]);
    }
    fe_mul(&run[0], &run[1], &inverse);
    if (m_bits(fe_is_zero(&inverse)) != 0) { /* says only that some scalar goes to libcrypto */
        mend_zeros(w, count, vectors, run);
        fe_mul(&run[0], &run[1], &inverse);
    }
    invert_lanes(&inverse);
    struct element other = run[0];
    fe_mul(&inverse, &run[1], &run[0]);
    fe_mul(&inverse, &other, &run[1]);
    for (uint32_t end = count, n = 0; end > 0; end -= n) {
        struct element each[CHAINS];
        n = (end - 1) % CHAINS + 1; /* a multiple of CHAINS is left */
        for (uint32_t k = end - n; k < end; k++)
            fe_mul(&run[k % CHAINS], &w->product[k], &each[k % CHAINS]);
        for (uint32_t k = end - n; k < end; k++)
            fe_mul(&run[k % CHAINS], &w->difference[k], &run[k % CHAINS]);
        add_some(each, (int) n, &w->entry[end - n], &w->sum[end - n]);
    }
}

/* The points of the scalars in w->scalar, into the first of w->sum. */
CORE void multiply_base(const uint64_t *table, const struct work *w, uint32_t vectors)
{
    const int windows = cm_ec_windows(&CURVE, WIDTH);

    memset(w->bad, 0, vectors * sizeof *w->bad);
    for (int i = 0; i < GROUPS; i++)
        for (uint32_t v = 0; v < vectors; v++)
            find_entry(table, w, i, v, &w->sum[(uint32_t) i * vectors + v]);
    for (int from = GROUPS; from < windows; from += GROUPS) {
        const int here = windows - from < GROUPS ? windows - from : GROUPS;
        for (int i = 0; i < here; i++)
            for (uint32_t v = 0; v < vectors; v++)
                find_entry(table, w, from + i, v, &w->entry[(uint32_t) i * vectors + v]);
        add_all(w, (uint32_t) here * vectors, vectors);
    }
    for (uint32_t groups = GROUPS / 2; groups > 0; groups /= 2) {
        memcpy(w->entry, w->sum + groups * vectors, groups * vectors * sizeof *w->entry);
        add_all(w, groups * vectors, vectors);
    }
}

/* Lane i's scalar: k where it is odd, else n - k; and the bit above the last window. */
static bool make_odd(cm_num *k, uint64_t out[CM_EC_WORDS + 1])
{
    const int top = WIDTH * cm_ec_windows(&CURVE, WIDTH);
    const cm_num zero = { 0 };
    const uint64_t keep = 0 - ((*k)[0] & 1);
    cm_num minus = { 0 };

    cm_mod_sub(CURVE.n, zero, *k, minus);
    memset(out, 0, (CM_EC_WORDS + 1) * sizeof *out);
    for (int i = 0; i < CURVE.n->words; i++)
        out[i] = ((*k)[i] & keep) | (minus[i] & ~keep);
    out[top / 64] |= UINT64_C(1) << (top % 64);
    return keep == 0;
}

/* The last scalar fills the lanes that are over. */
CORE void take_scalars(const struct work *w, cm_num *scalar, uint32_t count)
{
    uint64_t odd[LANES][CM_EC_WORDS + 1];
    bool even[LANES];

    for (uint32_t v = 0; v * LANES < count; v++) {
        for (uint32_t i = 0; i < LANES; i++) {
            const uint32_t at = v * LANES + i;
            even[i] = make_odd(&scalar[at < count ? at : count - 1], odd[i]);
        }
        for (int i = 0; i <= CM_EC_WORDS; i++)
            w->scalar[v][i] = v_gather(&odd[0][i], CM_EC_WORDS + 1);
        w->even[v] = m_from(even);
    }
    cm_secret_wipe(odd, sizeof odd);
}

CORE void multiply(const void *table, void *memory, cm_num *scalar, uint32_t count, struct cm_ecpoint *out,
                   bool *bad)
{
    const uint32_t vectors = (count + LANES - 1) / LANES;
    const struct work w = lay_out(memory, vectors);
    struct element zero = { 0 }, y;
    cm_num words[2][LANES];

    take_scalars(&w, scalar, count);
    multiply_base(table, &w, vectors);
    for (uint32_t v = 0; v < vectors; v++) {
        fe_sub(&zero, &w.sum[v].y, &y);
        fe_pick(w.even[v], &y, &w.sum[v].y);
        fe_to_words(&w.sum[v].x, words[0]);
        fe_to_words(&w.sum[v].y, words[1]);
        for (uint32_t i = 0; i < LANES && v * LANES + i < count; i++) {
            memcpy(out[v * LANES + i].x, words[0][i], sizeof words[0][i]);
            memcpy(out[v * LANES + i].y, words[1][i], sizeof words[1][i]);
            bad[v * LANES + i] = m_bits(w.bad[v]) >> i & 1;
        }
    }
}

#endif
