#ifndef CM_ENGINE_ECINVERT_H
#define CM_ENGINE_ECINVERT_H

#include "engine/eccore.h"

/* ecinvert.h - inverses of field elements, each lane's by itself, over the arithmetic of eccore.h. */

/* Ones of p - 2 from bit `at` on downwards. */
static int ones_from(int at)
{
    int run = 0;

    while (run <= at && (cm_mod_minus_two(CURVE.p, (at - run) / 64) >> ((at - run) % 64) & 1) == 1)
        run++;
    return run;
}

/* out = a^(p-2) = 1/a; 0 of 0. The exponent is public: nearly all of it are long runs of ones, which are
 * taken by a^(2^(2^k) - 1), as many as the run at its beginning has room for. */
CORE void fe_invert(const struct element *a, struct element *out)
{
    struct element ones[10], x;
    int at = CURVE.bits - 1, known = 0;

    fe_copy(a, &ones[0]);
    for (; 2 << known <= ones_from(at); known++) {
        fe_copy(&ones[known], &x);
        for (int i = 0; i < 1 << known; i++)
            fe_sqr(&x, &x);
        fe_mul(&x, &ones[known], &ones[known + 1]);
    }
    fe_copy(&ones[known], &x);
    at -= 1 << known;
    while (at >= 0) {
        const int run = ones_from(at);
        int k = 0, bits = 1;
        for (; k < known && 2 << k <= run; k++)
            bits = 2 << k;
        for (int i = 0; i < bits; i++)
            fe_sqr(&x, &x);
        if (run > 0)
            fe_mul(&x, &ones[k], &x);
        at -= bits;
    }
    fe_copy(&x, out);
}

CORE void invert_lanes(struct element *a)
{
    fe_invert(a, a);
}

#endif
