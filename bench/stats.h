#ifndef CM_BENCH_STATS_H
#define CM_BENCH_STATS_H

#include <stddef.h>

/* stats.h - what some repeated measurements say together. */
struct cm_spread {
    double mean, median, min, max;
    double mad; /* median distance from the median */
    size_t n;   /* 0: nothing was measured, all others are 0 */
};

/* A mean and where it lies with 95 % certainty; low = high = mean where that is unknown:
 * fewer than CM_INTERVAL_LEAST values. */
struct cm_interval {
    double mean, low, high;
};

enum { CM_INTERVAL_LEAST = 30 };

/* Of n values with this sum and this sum of squares, by the normal law of their mean:
 * from CM_INTERVAL_LEAST on it is narrower than Student's by a twentieth at most. */
struct cm_interval cm_interval_of(double sum, double squares, size_t n);

/* The nearest-rank percentile of n sorted values: the least that `percent` of 100 of them
 * do not exceed. 0 where no value lies beyond it, since that would be the largest by
 * another name: p99 takes 100 values, p90 takes 10. */
double cm_percentile_of(const double *sorted, size_t n, unsigned percent);
void cm_sort(double *value, size_t n);

/* At most 128 values. */
struct cm_spread cm_spread_of(const double *value, size_t n);

#endif
