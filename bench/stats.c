#include "bench/stats.h"
#include "engine/err.h"

#include <math.h>
#include <string.h>

enum { VALUES_MAX = 128 };

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

void cm_sort(double *value, size_t n)
{
    qsort(value, n, sizeof *value, by_size);
}

double cm_percentile_of(const double *sorted, size_t n, unsigned percent)
{
    const size_t rank = (n * percent + 99) / 100;

    CM_ASSERT(percent >= 1 && percent <= 99);
    return rank < n ? sorted[rank - 1] : 0;
}

static double middle(double *value, size_t n)
{
    cm_sort(value, n);
    return n % 2 == 1 ? value[n / 2] : (value[n / 2 - 1] + value[n / 2]) / 2;
}

struct cm_interval cm_interval_of(double sum, double squares, size_t n)
{
    static const double quantile = 1.959964; /* 0.975 of the normal law */
    struct cm_interval i = { 0 };

    if (n == 0)
        return i;
    i.mean = i.low = i.high = sum / (double) n;
    if (n < CM_INTERVAL_LEAST)
        return i;
    /* Rounding may leave less than nothing of equal values. */
    const double variance = fmax(0, (squares - sum * i.mean) / (double) (n - 1));
    const double half = quantile * sqrt(variance / (double) n);
    i.low = i.mean - half;
    i.high = i.mean + half;
    return i;
}

struct cm_spread cm_spread_of(const double *value, size_t n)
{
    struct cm_spread s = { .n = n };
    double work[VALUES_MAX];

    CM_ASSERT(n <= VALUES_MAX);
    if (n == 0)
        return s;
    memcpy(work, value, n * sizeof *value);
    s.median = middle(work, n);
    s.min = work[0];
    s.max = work[n - 1];
    for (size_t i = 0; i < n; i++) {
        s.mean += value[i] / (double) n;
        work[i] = fabs(value[i] - s.median);
    }
    s.mad = middle(work, n);
    return s;
}
