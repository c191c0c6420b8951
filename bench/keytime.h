#ifndef CM_BENCH_KEYTIME_H
#define CM_BENCH_KEYTIME_H

#include "engine/err.h"
#include "engine/keyalg.h"

#include <signal.h>
#include <stdint.h>

/* keytime.h - how long single keys take: EVP_PKEY_generate alone, as in floor.h, and
 * certmill's own generator, which hands the key out as numbers (engine/keymake.h).
 *
 *  Clock    processor time of the calling thread, pinned to one processor meanwhile.
 *  Samples  a key each; of keys that are made many at a time, such a batch is one
 *           sample, its time divided by its keys.
 *  Keys     lie in locked memory and are wiped after each.
 */
enum cm_keytime_maker { CM_KEYTIME_LIBCRYPTO, CM_KEYTIME_OWN, CM_KEYTIME_MAKERS };
const char *cm_keytime_name(enum cm_keytime_maker maker); /* "libcrypto", "own" */

/* A value is kept only where at least one sample lies beyond it: p90 from 10 samples
 * on, p95 from 20, p99 from 100; else 0. */
enum { CM_KEYTIME_P50, CM_KEYTIME_P90, CM_KEYTIME_P95, CM_KEYTIME_P99, CM_KEYTIME_PERCENTILES };
extern const unsigned cm_keytime_percent[CM_KEYTIME_PERCENTILES];

/* Bin i: from 10^(i/10) up to 10^((i+1)/10) microseconds. The last: up to a day. */
enum { CM_KEYTIME_BINS = 110 };
double cm_keytime_bin_us(size_t i); /* where bin i begins */

struct cm_keytime {
    const struct cm_keyalg *key;
    enum cm_keytime_maker maker;
    uint64_t samples, keys;
    uint32_t batch; /* keys in a sample */
    double min_us, mean_us, max_us;
    double percentile_us[CM_KEYTIME_PERCENTILES];
    uint32_t bin[CM_KEYTIME_BINS];
};

/* For about `seconds`, at least `least` samples and at most `most`. CM_E_CLOSED when *stop
 * is set meanwhile. */
struct cm_keytime_conf {
    int cpu;
    double seconds;
    uint64_t least, most;
    volatile sig_atomic_t *stop;
};
CM_MUST_CHECK cm_err cm_keytime_measure(const struct cm_keyalg *key, enum cm_keytime_maker maker,
                                        const struct cm_keytime_conf *conf, struct cm_keytime *out,
                                        struct cm_error *err);

#endif
