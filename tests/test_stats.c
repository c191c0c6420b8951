/* Goal: the interval of a mean is the textbook's. Method: values whose variance is known in closed form. */
#include "bench/stats.h"

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
