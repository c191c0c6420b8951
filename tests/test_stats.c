/* Goal: the interval of a mean and percentiles are the textbook's. Method: values whose variance or rank is
 * known in closed form. */
#include "bench/stats.h"
#include "engine/err.h"

#include <criterion/criterion.h>
#include <math.h>

/* 1 ... n: mean (n + 1) / 2, variance over n - 1 exactly n (n + 1) / 12. */
static struct cm_interval of_first(size_t n)
{
    double sum = 0, squares = 0;

    for (size_t i = 1; i <= n; i++) {
        sum += (double) i;
        squares += (double) (i * i);
    }
    return cm_interval_of(sum, squares, n);
}

Test(stats, interval_of_one_to_a_hundred)
{
    const struct cm_interval i = of_first(100);
    const double half = 1.959964 * sqrt(100.0 * 101 / 12 / 100);

    cr_expect(fabs(i.mean - 50.5) < 1e-9);
    cr_expect(fabs(i.low - (50.5 - half)) < 1e-9, "%.9f", i.low);
    cr_expect(fabs(i.high - (50.5 + half)) < 1e-9, "%.9f", i.high);
}

Test(stats, too_few_values_have_no_interval)
{
    const struct cm_interval few = of_first(CM_INTERVAL_LEAST - 1), enough = of_first(CM_INTERVAL_LEAST);
    const struct cm_interval none = cm_interval_of(0, 0, 0);

    cr_expect(few.low >= few.mean && few.high <= few.mean);
    cr_expect(enough.low < enough.mean && enough.mean < enough.high);
    cr_expect(!(none.mean < 0) && !(none.mean > 0));
}

/* The difference of two large sums may come out below zero. */
Test(stats, equal_values_have_no_width)
{
    const double v = 0.1;
    const struct cm_interval i = cm_interval_of(v * 1000, v * v * 1000 * (1 - 1e-15), 1000);

    cr_expect(!isnan(i.low) && i.low <= i.high && i.high - i.low < 1e-7);
}

/* Nearest rank: of 1 ... n the p-th percentile is the least whole number that is not below p n / 100. */
Test(stats, percentiles_of_one_to_n)
{
    static double value[1000];
    static const unsigned percent[] = { 1, 50, 90, 95, 99 };

    for (size_t i = 0; i < 1000; i++)
        value[i] = (double) (1000 - i);
    cm_sort(value, 1000);
    for (size_t n = 1; n <= 1000; n++)
        for (size_t k = 0; k < CM_COUNT(percent); k++) {
            const double want = ceil((double) (percent[k] * n) / 100),
                         got = cm_percentile_of(value, n, percent[k]);
            cr_expect(fabs(got - (want < (double) n ? want : 0)) < 1e-9, "p%u of %zu: %g", percent[k], n,
                      got);
        }
}

Test(stats, percentiles_that_are_known)
{
    /* The textbook's example of nearest rank, and one with equal values. */
    const double five[] = { 15, 20, 35, 40, 50 }, same[] = { 7, 7, 7, 7, 7, 7, 7, 7, 7, 9 };

    cr_expect(fabs(cm_percentile_of(five, 5, 5) - 15) < 1e-9);
    cr_expect(fabs(cm_percentile_of(five, 5, 30) - 20) < 1e-9);
    cr_expect(fabs(cm_percentile_of(five, 5, 40) - 20) < 1e-9);
    cr_expect(fabs(cm_percentile_of(five, 5, 50) - 35) < 1e-9);
    cr_expect(fabs(cm_percentile_of(same, 10, 90) - 7) < 1e-9);
}

/* Where no value lies beyond it, a percentile would be the largest by another name. */
Test(stats, percentiles_take_enough_values)
{
    double value[100] = { 0 };

    for (size_t i = 0; i < 100; i++)
        value[i] = 1 + (double) i;
    cr_expect(cm_percentile_of(value, 99, 99) <= 0 && cm_percentile_of(value, 100, 99) > 0);
    cr_expect(cm_percentile_of(value, 19, 95) <= 0 && cm_percentile_of(value, 20, 95) > 0);
    cr_expect(cm_percentile_of(value, 9, 90) <= 0 && cm_percentile_of(value, 10, 90) > 0);
    cr_expect(cm_percentile_of(value, 1, 50) <= 0 && cm_percentile_of(value, 2, 50) > 0);
}
