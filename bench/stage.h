#ifndef CM_BENCH_STAGE_H
#define CM_BENCH_STAGE_H

#include "bench/bench.h"
#include "bench/place.h"
#include "bench/server.h"

/* stage.h - where the measured processes run: a directory of their own with the CAs in
 * it, and this very program, opened once.
 */
struct cm_stage {
    const struct cm_bench_conf *conf;
    struct cm_place place;
    struct cm_server server; /* of conf->to */
    bool open;
    int exe_fd;
    char fleet[CM_PLACE_NAME];      /* the last one that was written; empty: it is gone */
    bool many_files;                /* it is a tree */
    struct cm_bench_report *report; /* gets io and io_note */
};

/* What to mint, and where it may run. */
struct cm_stage_mint {
    const struct cm_keyalg *key, *ca;
    const struct cm_rung *rung;
    uint64_t devices;
    uint32_t workers;
    size_t cpus; /* so many, the last of conf->cpu; 0: all */
};

CM_MUST_CHECK cm_err cm_stage_open(struct cm_stage *s, const struct cm_bench_conf *conf,
                                   struct cm_bench_report *r, struct cm_error *err);
/* The fleet before it goes, but for trees (place.h). */
CM_MUST_CHECK cm_err cm_stage_mint(struct cm_stage *s, const struct cm_stage_mint *what,
                                   struct cm_bench_run *out, struct cm_error *err);
/* `certmill verify` of the last fleet. */
CM_MUST_CHECK cm_err cm_stage_verify(struct cm_stage *s, uint64_t devices, struct cm_bench_run *out,
                                     struct cm_error *err);
/* `certmill load` of the last fleet into a new database, as the rung says. */
CM_MUST_CHECK cm_err cm_stage_load(struct cm_stage *s, const struct cm_rung *rung, uint64_t devices,
                                   struct cm_bench_load *out, struct cm_error *err);
/* What the last fleet takes on disk; only the sizes are set. */
CM_MUST_CHECK cm_err cm_stage_measure(const struct cm_stage *s, struct cm_bench_bytes *out,
                                      struct cm_error *err);
/* Nothing needs any of the fleets any more. */
void cm_stage_drop_fleets(struct cm_stage *s);
/* Removes everything. CM_E_IO, CM_E_DB: something is left; err says where, and whether keys are in it. */
CM_MUST_CHECK cm_err cm_stage_close(struct cm_stage *s, struct cm_error *err);

/* Which shipped profile the certificates follow: AWS IoT knows no Ed25519. */
const char *cm_stage_profile(const struct cm_keyalg *key, const struct cm_keyalg *ca);
/* Progress, if anybody listens. */
void cm_bench_say(const struct cm_bench_conf *c, const char *fmt, ...) CM_PRINTF(2, 3);

#endif
