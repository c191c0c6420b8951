#define CURVE cm_p256
#define CURVE_BITS 256
#define LIMBS 4

#include "engine/ec_plain.h"

#include <criterion/criterion.h>

/* Goal: a zero in the shared inversion is flagged, and every other sum is as if it were not there. Method:
 * points that meet themselves or their opposites, first, middle, last, two and all. */

enum { POINTS = 9 };

static const struct cm_ecway way = {
    .work = work_octets, .fill = fill, .multiply = multiply, .weigh = weigh
};
static const struct cm_ecfew few = { .multiples = multiples, .combine = combine, .invert = invert };

static struct cm_ecpoint point[1 << 11];
static uint64_t memory[1 << 16] __attribute__((aligned(64)));

static struct work lay(void)
{
    struct work w = lay_out(memory, POINTS);

    cr_assert(way.work(POINTS) <= sizeof memory && few.multiples(WIDTH, point));
    memset(w.bad, 0, POINTS * sizeof *w.bad);
    for (int k = 0; k < POINTS; k++) {
        take_points(&point[k], 1, &w.sum[k].x, &w.sum[k].y);
        take_points(&point[100 + k], 1, &w.entry[k].x, &w.entry[k].y);
    }
    return w;
}

static void plant(const struct work *w, int k, bool minus)
{
    const struct element zero = { 0 };

    w->entry[k] = w->sum[k];
    if (minus)
        fe_sub(&zero, &w->sum[k].y, &w->entry[k].y);
}

Test(eccore, zeros_stay_alone)
{
    static const uint32_t planted[] = {
        0, 1, 1u << (POINTS / 2), 1u << (POINTS - 1), 5, 3, (1u << POINTS) - 1
    };
    struct sum want[POINTS];

    for (size_t i = 0; i < 2 * sizeof planted / sizeof *planted; i++) {
        const struct work w = lay();
        for (int k = 0; k < POINTS; k++)
            if (planted[i / 2] >> k & 1)
                plant(&w, k, i % 2 == 1);
        add_all(&w, POINTS, POINTS);
        if (i == 0)
            memcpy(want, w.sum, sizeof want);
        for (int k = 0; k < POINTS; k++) {
            const bool bad = planted[i / 2] >> k & 1;
            cr_assert_eq(m_bits(w.bad[k]), bad, "pattern %zu, sum %d", i, k);
            if (!bad)
                cr_assert_arr_eq(&w.sum[k], &want[k], sizeof want[k], "pattern %zu, sum %d", i, k);
        }
    }
}

Test(eccore, sums_lie_on_the_curve)
{
    const struct work w = lay();

    add_all(&w, POINTS, POINTS);
    for (int k = 0; k < POINTS; k++) {
        cr_assert_eq(m_bits(off_curve(&w.sum[k].x, &w.sum[k].y)), 0);
        w.sum[k].y.l[k % LIMBS] ^= 1;
        cr_assert_eq(m_bits(off_curve(&w.sum[k].x, &w.sum[k].y)), 1);
    }
}

/* The chain of runs of ones reaches p - 2. */
Test(eccore, inverses)
{
    const struct cm_modulus *const p = cm_p256.p;
    const cm_num plain_one = { 1 };
    cm_num one, a, b, product;

    cm_mod_mul(p, plain_one, p->rr, one);
    for (uint64_t i = 0; i < 200; i++) {
        const cm_num n = { i < 100 ? i : i * i << 40, i * 77, i << (i % 40), i };
        memcpy(a, n, sizeof a);
        memcpy(b, n, sizeof b);
        few.invert(&b);
        cm_mod_mul(p, a, p->rr, a);
        cm_mod_mul(p, b, p->rr, b);
        cm_mod_mul(p, a, b, product);
        if (i == 0)
            memset(one, 0, sizeof one); /* 0 of 0 */
        cr_assert_arr_eq(product, one, sizeof(uint64_t[4]), "%lu", (unsigned long) i);
        if (i == 0)
            cm_mod_mul(p, plain_one, p->rr, one);
    }
}
