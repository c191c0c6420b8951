#ifndef CM_BENCH_BENCH_H
#define CM_BENCH_BENCH_H

#include "bench/checkfloor.h"
#include "bench/floor.h"
#include "bench/machine.h"
#include "bench/stats.h"
#include "engine/err.h"
#include "engine/keyalg.h"

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>

struct json_t;

/* bench.h - measures certmill against what libcrypto needs at least.
 *
 * For each key algorithm some rounds; a round is: half of the floor (floor.h), each
 * kind of run once, in an order that turns from round to round, the other half of the
 * floor. So a machine that drifts drifts under both alike, and a run is divided by the
 * floor of its own round. A run is a whole child process, this very program with
 * `mint`; what it cost is what the kernel says of the process when it has ended.
 *
 *  Threads    one; the children have theirs.
 *  Ownership  conf and what it points to are the caller's; the report is plain data.
 *  Files      everything goes into one new directory below conf->out, which is removed
 *             on every way out. report->left names what could not be removed.
 *  Signals    *conf->stop, set by the caller's handler, ends the bench: the child is
 *             killed, CM_E_CLOSED is returned, finished algorithms stay in the report.
 */
enum cm_bench_case {
    CM_BENCH_FLOOR,
    CM_BENCH_ENGINE, /* mint --layout none */
    CM_BENCH_TAR,    /* mint --layout tar */
    CM_BENCH_TREE,   /* mint --layout tree */
    CM_BENCH_WALL,   /* tar with one worker on one processor, against all */
    CM_BENCH_RSS,    /* peak memory at two sizes */
    CM_BENCH_VERIFY, /* verify of a fleet, against its own floor */
    CM_BENCH_CASES,
};
extern const char *const cm_bench_case_names[CM_BENCH_CASES + 1]; /* NULL-terminated */

/* The kinds of runs that the cases are made of. */
enum cm_bench_mode { CM_MODE_ENGINE, CM_MODE_TAR, CM_MODE_TREE, CM_MODE_ONE, CM_MODES };

const char *cm_bench_mode_name(enum cm_bench_mode mode); /* static storage */

enum { CM_BENCH_RUNS_MAX = 50, CM_BENCH_KEYS_MAX = 16, CM_BENCH_SIZES = 2 };

struct cm_bench_conf {
    const struct cm_keyalg *key[CM_BENCH_KEYS_MAX];
    size_t keys;
    const struct cm_keyalg *ca;  /* of the CA that signs */
    bool wanted[CM_BENCH_CASES]; /* FLOOR is measured always */
    const char *size;            /* "smoke", "ordinary", "full": for the report */
    uint32_t runs;
    double seconds;    /* about so long is a run, and a round's floor */
    uint64_t count;    /* devices in a run; 0: what `seconds` asks for */
    uint64_t rsa_keys; /* RSA: at least so many in all rounds together (a quarter for 4096) */
    uint64_t rss[CM_BENCH_SIZES];
    uint32_t workers;
    int cpu;         /* where the floor and the one worker run */
    size_t cpus;     /* that this process may use */
    const char *out; /* an existing directory */
    volatile sig_atomic_t *stop;
    void (*say)(void *arg, const char *doing); /* progress; NULL: none */
    void *say_arg;
};

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

struct cm_bench_series {
    struct cm_bench_run run[CM_BENCH_RUNS_MAX];
    uint32_t count, workers;
    struct cm_spread rate, wall, floor, ratio;
    double pooled;     /* all devices per all processor-seconds, over the floor of all chunks */
    double pooled_low; /* over the high end of that floor's 95 % interval: what RSA is judged by */
};

struct cm_bench_key {
    const struct cm_keyalg *alg;
    bool done;
    struct cm_floor_sample chunk[2 * CM_BENCH_RUNS_MAX], total;
    uint32_t chunks;
    struct cm_spread floor; /* over the chunks */
    struct cm_bench_series mode[CM_MODES];
    double speedup_of[CM_BENCH_RUNS_MAX]; /* per round: all workers' rate over one's */
    struct cm_spread speedup;
};

/* Rounds of `certmill verify` of one fleet, all signatures and all keys. In a run, rate
 * is devices per processor-second, floor the same of checkfloor.h, and ratio the times
 * that a device costs of its floor, which is floor / rate. */
struct cm_bench_check {
    const struct cm_keyalg *alg; /* NULL: none that has such a floor was asked for */
    struct cm_checkfloor_sample total;
    struct cm_bench_run run[CM_BENCH_RUNS_MAX];
    uint32_t count;
    struct cm_spread rate, wall, floor, times;
};

struct cm_bench_report {
    const struct cm_bench_conf *conf;
    struct cm_machine machine;
    const char *signature;
    char io[96], io_note[200]; /* how segments were written */
    struct cm_bench_key key[CM_BENCH_KEYS_MAX];
    size_t keys; /* begun; the last may not be done */
    const struct cm_keyalg *rss_alg;
    struct cm_bench_run rss[CM_BENCH_SIZES];
    uint32_t rss_count;
    struct cm_bench_check check;
    bool complete;
    char left[CM_ERROR_TEXT]; /* what could not be removed, and why; empty: nothing */
};

CM_MUST_CHECK cm_err cm_bench(const struct cm_bench_conf *conf, struct cm_bench_report *out,
                              struct cm_error *err);

/* Which shipped profile the certificates follow. */
const char *cm_bench_profile(const struct cm_keyalg *key, const struct cm_keyalg *ca);

/* report.c: the tables, for people. */
void cm_bench_print(const struct cm_bench_report *r, FILE *out);
/* json.c: all of it as one object; NULL: out of memory. */
struct json_t *cm_bench_json(const struct cm_bench_report *r);
/* Appends one line per case and key that is done to the file at path. */
CM_MUST_CHECK cm_err cm_bench_keep(const struct cm_bench_report *r, const char *path, struct cm_error *err);

#endif
