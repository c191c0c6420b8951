#ifndef CM_BENCH_BENCH_H
#define CM_BENCH_BENCH_H

#include "bench/checkfloor.h"
#include "bench/floor.h"
#include "bench/keytime.h"
#include "bench/machine.h"
#include "bench/rungs.h"
#include "bench/stats.h"
#include "engine/err.h"
#include "engine/keyalg.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

/* bench.h - measures certmill against what libcrypto needs at least.
 *
 * For each pair of a key algorithm and a CA's some rounds; a round is: half of the floor
 * (floor.h), each kind of run once, in an order that turns from round to round, the
 * other half of the floor. So a machine that drifts drifts under both alike, and a run
 * is divided by the floor of its own round. A run is a whole child process, this very
 * program with `mint`; what it cost is what the kernel says of the process when it has
 * ended.
 *
 *  Threads    one; the children have theirs.
 *  Ownership  conf and what it points to are the caller's; cm_bench_done frees what the
 *             report holds.
 *  Files      everything goes into one new directory below conf->out, which is removed
 *             on every way out; and into new databases of conf->to, likewise.
 *             report->left names what could not be removed.
 *  Signals    *conf->stop, set by the caller's handler, ends the bench: the child is
 *             killed, CM_E_CLOSED is returned, finished pairs stay in the report.
 */
enum cm_bench_case {
    CM_BENCH_FLOOR,
    CM_BENCH_ENGINE,  /* mint --layout none */
    CM_BENCH_TAR,     /* mint --layout tar */
    CM_BENCH_TREE,    /* mint --layout tree */
    CM_BENCH_SCALE,   /* tar by 1, 2, 4 … workers on as many processors; the first CA */
    CM_BENCH_LADDER,  /* every rung of rungs.h that there is; the first key, the first CA */
    CM_BENCH_KEYTIME, /* how the times of single keys are distributed */
    CM_BENCH_BYTES,   /* what a device takes on disk */
    CM_BENCH_RSS,     /* peak memory at two sizes */
    CM_BENCH_VERIFY,  /* verify of a fleet, against its own floor */
    CM_BENCH_CASES,
};
extern const char *const cm_bench_case_names[CM_BENCH_CASES + 1]; /* NULL-terminated */

enum {
    CM_BENCH_RUNS_MAX = 50,
    CM_BENCH_KEYS_MAX = 16,
    CM_BENCH_SIZES = 2,
    CM_BENCH_SCALES_MAX = 16,
    CM_BENCH_SERIES_MAX = CM_RUNGS_MAX + CM_BENCH_SCALES_MAX,
};

struct cm_bench_conf {
    const struct cm_keyalg *key[CM_BENCH_KEYS_MAX];
    size_t keys;
    const struct cm_keyalg *ca[CM_BENCH_KEYS_MAX]; /* of the CAs that sign */
    size_t cas;
    bool wanted[CM_BENCH_CASES]; /* FLOOR is measured always */
    const char *size;            /* "smoke", "ordinary", "full": for the report */
    uint32_t runs;
    double seconds;     /* about so long is a run, and a round's floor */
    uint64_t count;     /* devices in a run; 0: what `seconds` asks for */
    uint64_t rsa_keys;  /* RSA: at least so many in all rounds together (a quarter for 4096) */
    double keytime_s;   /* about so long each generator is looked at, */
    uint64_t keytime_n; /* and no longer than for so many samples */
    uint64_t rss[CM_BENCH_SIZES];
    uint32_t workers;
    uint32_t scale_most; /* workers of the last point of the scale: at most cpus */
    const int *cpu;      /* the processors that this process may use */
    size_t cpus;
    const char *out; /* an existing directory */
    const char *to;  /* the URL of a PostgreSQL for the ladder; NULL: none */
    volatile sig_atomic_t *stop;
    void (*say)(void *arg, const char *doing); /* progress; NULL: none */
    void *say_arg;
};

/* Where the floor runs, and one worker: processor 0 tends to get the interrupts. */
int cm_bench_cpu(const struct cm_bench_conf *c);

/* One run: a whole process. */
struct cm_bench_run {
    uint64_t devices;
    double user_s, system_s, wall_s;
    double rate;  /* devices per processor-second, user + system */
    double wall;  /* devices per second, from fork to the end of the process */
    double floor; /* of the same round */
    double ratio; /* rate / floor */
    long rss_kib; /* peak; or what the bench itself had at the fork, where that was more */
};

/* A run of `certmill load`, of a rung's fleet into a new database. */
struct cm_bench_load {
    uint64_t rows;
    double own_s, wall_s; /* user + system of the process; by the clock */
    double server_s;      /* of all processes of the server, 0 where there is none; below 0: not known */
};

/* The runs of one kind, a round each. */
struct cm_bench_series {
    const struct cm_rung *rung;
    uint32_t workers;
    size_t cpus;     /* that it was confined to */
    double expected; /* its rate in the warm-up, by which its runs are sized */
    struct cm_bench_run run[CM_BENCH_RUNS_MAX];
    struct cm_bench_load load[CM_BENCH_RUNS_MAX]; /* where the rung has that */
    uint32_t count;
    struct cm_spread rate, wall, floor, ratio;
    struct cm_spread cpu_us; /* processor time of a device */
    double pooled;           /* all devices per all processor-seconds, over the floor of all chunks */
    double pooled_low; /* over the high end of that floor's 95 % interval: what RSA is judged by; 0: none */
};

/* A key algorithm below a CA. */
struct cm_bench_pair {
    const struct cm_keyalg *key, *ca;
    const char *signature;
    bool done;
    struct cm_floor_sample chunk[2 * CM_BENCH_RUNS_MAX], total;
    uint32_t chunks;
    struct cm_spread floor; /* over the chunks */
    struct cm_bench_series series[CM_BENCH_SERIES_MAX];
    size_t series_count;
};

struct cm_bench_report;
/* The series of a rung on all processors, or NULL. */
const struct cm_bench_series *cm_bench_series_of(const struct cm_bench_report *r,
                                                 const struct cm_bench_pair *p, const struct cm_rung *rung);
/* Is the rung one of those that are measured? */
bool cm_bench_has_rung(const struct cm_bench_conf *c, const struct cm_rung *rung);
/* How many workers the i-th point of the scale has: 1, 2, 4 … all; 0: there is none. */
uint32_t cm_bench_scale_at(const struct cm_bench_conf *c, size_t i);
/* The series of a number of workers on as many processors, or NULL. Below another CA than the first it is
 * there for all workers at most. */
const struct cm_bench_series *cm_bench_scale_of(const struct cm_bench_pair *p, uint32_t workers);

/* What a fleet takes on disk. */
struct cm_bench_bytes {
    const struct cm_keyalg *key, *ca;
    const struct cm_rung *rung;
    uint64_t devices;
    uint64_t chains, keys, manifest, other; /* octets in files */
    uint64_t blocks;                        /* octets allocated for all of them, directories too */
};

/* Rounds of `certmill verify` of one fleet, all signatures and all keys. In a run, rate
 * is devices per processor-second, floor the same of checkfloor.h, and ratio the times
 * that a device costs of its floor, which is floor / rate. */
struct cm_bench_check {
    const struct cm_keyalg *key; /* NULL: none that has such a floor was asked for */
    struct cm_checkfloor_sample total;
    struct cm_bench_run run[CM_BENCH_RUNS_MAX];
    uint32_t count;
    struct cm_spread rate, wall, floor, times;
};

struct cm_bench_report {
    const struct cm_bench_conf *conf;
    struct cm_machine machine;
    char io[96], io_note[200];  /* how segments were written */
    char server[64];            /* "PostgreSQL 15.8"; empty: none was given */
    char server_note[200];      /* why its processor time is not known; empty: it is */
    struct cm_bench_pair *pair; /* keys × CAs */
    size_t pairs;               /* begun; the last may not be done */
    struct cm_keytime keytime[CM_BENCH_KEYS_MAX * CM_KEYTIME_MAKERS];
    size_t keytimes;
    struct cm_bench_bytes *bytes; /* keys × CAs × 2 */
    size_t bytes_count;
    const struct cm_keyalg *rss_key;
    struct cm_bench_run rss[CM_BENCH_SIZES];
    uint32_t rss_count;
    struct cm_bench_check check;
    bool complete;
    char left[CM_ERROR_TEXT]; /* what could not be removed, and why; empty: nothing */
};

/* *out is zeroed by the caller, and after success and failure cm_bench_done's. */
CM_MUST_CHECK cm_err cm_bench(const struct cm_bench_conf *conf, struct cm_bench_report *out,
                              struct cm_error *err);
void cm_bench_done(struct cm_bench_report *r);

#endif
