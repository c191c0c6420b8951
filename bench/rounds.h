#ifndef CM_BENCH_ROUNDS_H
#define CM_BENCH_ROUNDS_H

#include "bench/bench.h"
#include "bench/stage.h"

/* rounds.h - the interleaved rounds of bench.h: of one pair, and of verify. */

/* Devices for a run of about `seconds` at `rate` certificates a processor-second; conf->count, where
 * that is given. Where it is many, every worker gets whole batches, as many as the others. */
uint64_t cm_rounds_devices(const struct cm_bench_conf *c, const struct cm_keyalg *key, uint32_t workers,
                           double rate, double seconds);
/* Warms up, which tells how large the runs must be, then measures the floor and every series that conf asks
 * for; p names key and CA. s is open if conf asks for more than floors. */
CM_MUST_CHECK cm_err cm_rounds_run(const struct cm_bench_conf *c, struct cm_stage *s, struct cm_bench_pair *p,
                                   struct cm_error *err);
/* One fleet of the first EC algorithm, checked again and again; nothing, where none has the floor that
 * is needed. */
CM_MUST_CHECK cm_err cm_rounds_verify(const struct cm_bench_conf *c, struct cm_stage *s,
                                      struct cm_bench_check *check, struct cm_error *err);

#endif
