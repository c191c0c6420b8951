#ifndef CM_BENCH_STATS_H
#define CM_BENCH_STATS_H

#include <stddef.h>

/* stats.h - what some repeated measurements say together. */
struct cm_spread {
    double mean, median, min, max;
    double mad; /* median distance from the median */
    size_t n;   /* 0: nothing was measured, all others are 0 */
};

/* At most 128 values. */
struct cm_spread cm_spread_of(const double *value, size_t n);

#endif
