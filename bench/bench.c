#include "bench/bench.h"

#include "bench/child.h"
#include "bench/place.h"
#include "io/file.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdarg.h>
#include <string.h>

const char *const cm_bench_case_names[CM_BENCH_CASES + 1] = { "floor", "engine", "tar",    "tree",
                                                              "wall",  "rss",    "verify", NULL };

static const struct {
    const char *name, *layout;
    bool one; /* worker, on one processor */
} modes[CM_MODES] = {
    [CM_MODE_ENGINE] = { "engine", "none", false },
    [CM_MODE_TAR] = { "tar", "tar", false },
    [CM_MODE_TREE] = { "tree", "tree", false },
    [CM_MODE_ONE] = { "one", "tar", true },
};

const char *cm_bench_mode_name(enum cm_bench_mode mode)
{
    return modes[mode].name;
}

/* What a device takes on disk, with its row and its place in the index: about 4 KiB,
 * more for RSA keys; a file of its own takes whole blocks. */
enum { DEVICE_BYTES = 8192, WARM_UP = 64 };

/* AWS IoT knows no Ed25519, and its profile refuses it. */
const char *cm_bench_profile(const struct cm_keyalg *key, const struct cm_keyalg *ca)
{
    return key->family == CM_KEYFAM_ED25519 || ca->family == CM_KEYFAM_ED25519 ? "tls-client" : "aws-iot";
}

struct bench {
    const struct cm_bench_conf *conf;
    struct cm_bench_report *r;
    struct cm_place place;
    bool place_open;
    int exe_fd;
    struct cm_floor *floor;
    struct cm_checkfloor *checkfloor;
    char fleet[CM_PLACE_NAME]; /* the last one that was written */
};

static void say(const struct bench *b, const char *fmt, ...) CM_PRINTF(2, 3);
static void say(const struct bench *b, const char *fmt, ...)
{
    char text[160];
    va_list ap;

    if (b->conf->say == NULL)
        return;
    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    b->conf->say(b->conf->say_arg, text);
}

static bool mode_wanted(const struct cm_bench_conf *c, enum cm_bench_mode mode)
{
    switch (mode) {
    case CM_MODE_ENGINE:
        return c->wanted[CM_BENCH_ENGINE];
    case CM_MODE_TAR:
        return c->wanted[CM_BENCH_TAR] || c->wanted[CM_BENCH_WALL];
    case CM_MODE_TREE:
        return c->wanted[CM_BENCH_TREE];
    case CM_MODE_ONE:
        return c->wanted[CM_BENCH_WALL];
    case CM_MODES:
        break;
    }
    return false;
}

/* --- one child ---------------------------------------------------------- */

static struct cm_child child(const struct bench *b, const char *const *argv)
{
    return (struct cm_child) {
        .exe_fd = b->exe_fd, .dir_fd = b->place.fd, .cpu = -1, .argv = argv, .stop = b->conf->stop
    };
}

static cm_err make_ca(const struct bench *b, struct cm_error *err)
{
    const char *const argv[] = { "certmill",        "ca",      "init", "--out", "ca", "--key",
                                 b->conf->ca->name, "--quiet", NULL };
    const struct cm_child c = child(b, argv);
    struct cm_child_use use;

    return cm_child_run(&c, &use, err);
}

/* Did it mint what it was told to, and how did it write? */
static cm_err read_result(struct bench *b, const struct cm_child *c, uint64_t devices, bool tar,
                          struct cm_error *err)
{
    json_t *json = NULL;
    const char *io = NULL, *note = NULL;
    json_int_t minted = -1;

    CM_TRY(cm_child_json(c, &json, err));
    (void) json_unpack(json, "{s?I s?s s?s}", "devices", &minted, "io", &io, "io_note", &note);
    if (tar && io != NULL)
        (void) snprintf(b->r->io, sizeof b->r->io, "%s", io);
    if (tar && note != NULL)
        (void) snprintf(b->r->io_note, sizeof b->r->io_note, "%s", note);
    json_decref(json);
    if (minted < 0 || (uint64_t) minted != devices)
        CM_FAIL(err, CM_E_LIMIT,
                "certmill mint was to make %llu devices and reports %lld; "
                "run it by hand with --json",
                (unsigned long long) devices, (long long) minted);
    return CM_OK;
}

static cm_err mint(struct bench *b, const struct cm_keyalg *alg, enum cm_bench_mode mode, uint64_t devices,
                   struct cm_bench_run *out, struct cm_error *err)
{
    char count[24], workers[12], what[48];
    const char *argv[24] = {
        "certmill",         "mint",   "--ca",      "ca/ca.pem", "--ca-key",
        "ca/ca.key",        "--key",  alg->name,   "--profile", cm_bench_profile(alg, b->conf->ca),
        "--count",          count,    "--workers", workers,     "--layout",
        modes[mode].layout, "--json", "--quiet"
    };
    size_t n = 18;
    struct cm_child_use use = { 0 };

    (void) snprintf(count, sizeof count, "%llu", (unsigned long long) devices);
    (void) snprintf(workers, sizeof workers, "%u", modes[mode].one ? 1 : b->conf->workers);
    if (mode != CM_MODE_ENGINE) {
        (void) snprintf(what, sizeof what, "%s-%s", alg->name, modes[mode].name);
        CM_TRY(cm_place_fleet(&b->place, what, devices * DEVICE_BYTES, b->fleet, err));
        argv[n++] = "--out";
        argv[n++] = b->fleet;
        argv[n++] = "--plaintext-keys";
    }
    struct cm_child c = child(b, argv);
    if (modes[mode].one)
        c.cpu = b->conf->cpu;
    CM_TRY(cm_child_run(&c, &use, err));
    CM_TRY(read_result(b, &c, devices, mode == CM_MODE_TAR, err));
    const double cpu = use.user_s + use.system_s;
    if (cpu <= 0 || use.wall_s <= 0)
        CM_FAIL(err, CM_E_LIMIT, "the kernel counted no time for %llu devices; take more with --count",
                (unsigned long long) devices);
    *out = (struct cm_bench_run) { .devices = devices,
                                   .user_s = use.user_s,
                                   .system_s = use.system_s,
                                   .wall_s = use.wall_s,
                                   .rate = (double) devices / cpu,
                                   .wall = (double) devices / use.wall_s,
                                   .rss_kib = use.rss_kib };
    return CM_OK;
}

/* --- one key algorithm -------------------------------------------------- */

/* How many RSA keys must be made in one of `parts`: their times scatter widely. */
static uint64_t rsa_least(const struct bench *b, const struct cm_keyalg *alg, uint64_t parts)
{
    const uint64_t all = alg->bits >= 4096 ? b->conf->rsa_keys / 4 : b->conf->rsa_keys;

    return alg->family == CM_KEYFAM_RSA ? (all + parts - 1) / parts : 0;
}

/* Devices for a run of about `seconds`. Where it is many, every worker gets whole
 * batches, as many as the others. */
static uint64_t run_size(const struct bench *b, const struct cm_keyalg *alg, enum cm_bench_mode mode,
                         double rate)
{
    const uint64_t workers = modes[mode].one ? 1 : b->conf->workers;
    const uint64_t share = workers * alg->batch, least = rsa_least(b, alg, b->conf->runs);
    uint64_t n = b->conf->count;

    if (n > 0)
        return n;
    n = (uint64_t) (rate * (double) workers * b->conf->seconds);
    if (n < least)
        n = least;
    if (n < 2 * workers)
        n = 2 * workers;
    return n < 4 * share ? n : n / share * share;
}

/* Half of a round's floor, kept as a chunk of its own. */
static cm_err measure_floor(struct bench *b, struct cm_bench_key *k, struct cm_floor_sample *round,
                            struct cm_error *err)
{
    struct cm_floor_sample s = { 0 };

    CM_TRY(cm_floor_measure(b->floor, b->conf->seconds / 2,
                            rsa_least(b, k->alg, 2 * (uint64_t) b->conf->runs), b->conf->stop, &s, err));
    k->chunk[k->chunks++] = s;
    cm_floor_add(&k->total, &s);
    cm_floor_add(round, &s);
    return CM_OK;
}

static cm_err run_round(struct bench *b, struct cm_bench_key *k, uint32_t round, double rate,
                        struct cm_error *err)
{
    struct cm_floor_sample floor = { 0 };

    say(b, "%s: round %u of %u, floor", k->alg->name, round + 1, b->conf->runs);
    CM_TRY(measure_floor(b, k, &floor, err));
    for (uint32_t i = 0; i < CM_MODES; i++) {
        const enum cm_bench_mode mode = (enum cm_bench_mode)((i + round) % CM_MODES);
        if (!mode_wanted(b->conf, mode))
            continue;
        const uint64_t n = run_size(b, k->alg, mode, rate);
        say(b, "%s: round %u of %u, %s: %llu devices", k->alg->name, round + 1, b->conf->runs,
            modes[mode].one ? "tar by one worker" : modes[mode].name, (unsigned long long) n);
        CM_TRY(mint(b, k->alg, mode, n, &k->mode[mode].run[round], err));
        k->mode[mode].count = round + 1;
        k->mode[mode].workers = modes[mode].one ? 1 : b->conf->workers;
    }
    say(b, "%s: round %u of %u, floor again", k->alg->name, round + 1, b->conf->runs);
    CM_TRY(measure_floor(b, k, &floor, err));
    for (uint32_t i = 0; i < CM_MODES; i++) {
        struct cm_bench_run *run = &k->mode[i].run[round];
        run->floor = cm_floor_rate(&floor);
        run->ratio = run->rate / run->floor;
    }
    return CM_OK;
}

static void sum_up(struct cm_bench_key *k)
{
    double rate[CM_BENCH_RUNS_MAX], wall[CM_BENCH_RUNS_MAX], floor[2 * CM_BENCH_RUNS_MAX],
        ratio[CM_BENCH_RUNS_MAX];

    for (size_t m = 0; m < CM_MODES; m++) {
        struct cm_bench_series *s = &k->mode[m];
        double devices = 0, cpu = 0;
        for (size_t i = 0; i < s->count; i++) {
            rate[i] = s->run[i].rate;
            wall[i] = s->run[i].wall;
            floor[i] = s->run[i].floor;
            ratio[i] = s->run[i].ratio;
            devices += (double) s->run[i].devices;
            cpu += s->run[i].user_s + s->run[i].system_s;
        }
        s->rate = cm_spread_of(rate, s->count);
        s->wall = cm_spread_of(wall, s->count);
        s->floor = cm_spread_of(floor, s->count);
        s->ratio = cm_spread_of(ratio, s->count);
        s->pooled = cpu > 0 ? devices / cpu / cm_floor_rate(&k->total) : 0;
        s->pooled_low = cpu > 0 ? devices / cpu / cm_floor_interval(&k->total).high : 0;
    }
    for (size_t i = 0; i < k->chunks; i++)
        floor[i] = cm_floor_rate(&k->chunk[i]);
    k->floor = cm_spread_of(floor, k->chunks);
    for (size_t i = 0; i < k->mode[CM_MODE_ONE].count; i++)
        k->speedup_of[i] = k->mode[CM_MODE_TAR].run[i].wall / k->mode[CM_MODE_ONE].run[i].wall;
    k->speedup = cm_spread_of(k->speedup_of, k->mode[CM_MODE_ONE].count);
}

static cm_err measure_key(struct bench *b, struct cm_bench_key *k, struct cm_error *err)
{
    struct cm_floor_sample warm = { 0 };
    struct cm_bench_run run;

    say(b, "%s: warming up", k->alg->name);
    CM_TRY(cm_floor_measure(b->floor, b->conf->seconds / 4, 0, b->conf->stop, &warm, err));
    if (b->place_open)
        CM_TRY(mint(b, k->alg, CM_MODE_ENGINE, k->alg->family == CM_KEYFAM_RSA ? 2 : WARM_UP, &run, err));
    const double rate = cm_floor_rate(&warm);
    for (uint32_t round = 0; round < b->conf->runs; round++)
        CM_TRY(run_round(b, k, round, rate, err));
    sum_up(k);
    k->done = true;
    return CM_OK;
}

static cm_err bench_key(struct bench *b, const struct cm_keyalg *alg, struct cm_error *err)
{
    struct cm_bench_key *k = &b->r->key[b->r->keys++];
    cm_err rc = CM_OK;

    k->alg = alg;
    CM_TRY(cm_floor_open(alg, b->conf->ca, b->conf->cpu, &b->floor, err));
    b->r->signature = cm_floor_signature(b->floor);
    rc = measure_key(b, k, err);
    cm_floor_close(b->floor);
    b->floor = NULL;
    return rc;
}

/* The first algorithm whose keys are made fast enough for a large fleet. */
static cm_err bench_rss(struct bench *b, struct cm_error *err)
{
    for (size_t i = 0; i < b->conf->keys && b->r->rss_alg == NULL; i++)
        if (b->conf->key[i]->family != CM_KEYFAM_RSA)
            b->r->rss_alg = b->conf->key[i];
    for (size_t i = 0; b->r->rss_alg != NULL && i < CM_BENCH_SIZES; i++) {
        say(b, "%s: peak memory of %llu devices", b->r->rss_alg->name, (unsigned long long) b->conf->rss[i]);
        CM_TRY(mint(b, b->r->rss_alg, CM_MODE_TAR, b->conf->rss[i], &b->r->rss[i], err));
        b->r->rss_count++;
    }
    return CM_OK;
}

/* --- verify --------------------------------------------------------------- */

static cm_err read_checked(const struct cm_child *c, uint64_t devices, struct cm_error *err)
{
    json_t *json = NULL;
    json_int_t checked = -1;

    CM_TRY(cm_child_json(c, &json, err));
    (void) json_unpack(json, "{s?I}", "checked", &checked);
    json_decref(json);
    if (checked < 0 || (uint64_t) checked != devices)
        CM_FAIL(err, CM_E_LIMIT, "certmill verify was to check %llu devices and reports %lld",
                (unsigned long long) devices, (long long) checked);
    return CM_OK;
}

static cm_err check_fleet(struct bench *b, uint64_t devices, struct cm_bench_run *out, struct cm_error *err)
{
    char workers[12];
    const char *const argv[] = { "certmill", "verify", b->fleet,  "--workers",
                                 workers,    "--json", "--quiet", NULL };
    const struct cm_child c = child(b, argv);
    struct cm_child_use use = { 0 };

    (void) snprintf(workers, sizeof workers, "%u", b->conf->workers);
    CM_TRY(cm_child_run(&c, &use, err));
    CM_TRY(read_checked(&c, devices, err));
    const double cpu = use.user_s + use.system_s;
    if (cpu <= 0 || use.wall_s <= 0)
        CM_FAIL(err, CM_E_LIMIT, "the kernel counted no time for %llu devices; take more with --count",
                (unsigned long long) devices);
    *out = (struct cm_bench_run) { .devices = devices,
                                   .user_s = use.user_s,
                                   .system_s = use.system_s,
                                   .wall_s = use.wall_s,
                                   .rate = (double) devices / cpu,
                                   .wall = (double) devices / use.wall_s,
                                   .rss_kib = use.rss_kib };
    return CM_OK;
}

static double check_floor_rate(const struct cm_checkfloor_sample *s)
{
    return (double) s->devices / (s->verify_s + s->mul_s);
}

static cm_err check_round(struct bench *b, uint64_t devices, struct cm_error *err)
{
    struct cm_bench_check *c = &b->r->check;
    struct cm_bench_run *run = &c->run[c->count];
    struct cm_checkfloor_sample floor = { 0 };
    const double half = b->conf->seconds / 2;

    say(b, "verify: round %u of %u, floor", c->count + 1, b->conf->runs);
    CM_TRY(cm_checkfloor_measure(b->checkfloor, half, b->conf->stop, &floor, err));
    say(b, "verify: round %u of %u, %llu devices", c->count + 1, b->conf->runs, (unsigned long long) devices);
    CM_TRY(check_fleet(b, devices, run, err));
    CM_TRY(cm_checkfloor_measure(b->checkfloor, half, b->conf->stop, &floor, err));
    run->floor = check_floor_rate(&floor);
    run->ratio = run->floor / run->rate;
    c->total.devices += floor.devices;
    c->total.verify_s += floor.verify_s;
    c->total.mul_s += floor.mul_s;
    c->count++;
    return CM_OK;
}

static void sum_up_check(struct cm_bench_check *c)
{
    double rate[CM_BENCH_RUNS_MAX], wall[CM_BENCH_RUNS_MAX], floor[CM_BENCH_RUNS_MAX],
        times[CM_BENCH_RUNS_MAX];

    for (size_t i = 0; i < c->count; i++) {
        rate[i] = c->run[i].rate;
        wall[i] = c->run[i].wall;
        floor[i] = c->run[i].floor;
        times[i] = c->run[i].ratio;
    }
    c->rate = cm_spread_of(rate, c->count);
    c->wall = cm_spread_of(wall, c->count);
    c->floor = cm_spread_of(floor, c->count);
    c->times = cm_spread_of(times, c->count);
}

/* One fleet, of the first EC algorithm, checked again and again. */
static cm_err bench_check(struct bench *b, struct cm_error *err)
{
    const struct cm_bench_conf *conf = b->conf;
    struct cm_bench_check *c = &b->r->check;
    struct cm_checkfloor_sample warm = { 0 };
    struct cm_bench_run made;

    for (size_t i = conf->keys; i-- > 0;)
        if (conf->key[i]->family == CM_KEYFAM_EC && conf->ca->family != CM_KEYFAM_ED25519)
            c->alg = conf->key[i];
    if (c->alg == NULL)
        return CM_OK;
    say(b, "verify: warming up");
    CM_TRY(cm_checkfloor_open(c->alg, conf->ca, conf->cpu, &b->checkfloor, err));
    CM_TRY(cm_checkfloor_measure(b->checkfloor, conf->seconds / 4, conf->stop, &warm, err));
    const double runs_for = check_floor_rate(&warm) * conf->workers * conf->seconds;
    const uint64_t devices = conf->count > 0 ? conf->count : (uint64_t) runs_for;
    CM_TRY(mint(b, c->alg, CM_MODE_TAR, devices > 0 ? devices : 1, &made, err));
    while (c->count < conf->runs)
        CM_TRY(check_round(b, made.devices, err));
    sum_up_check(c);
    return CM_OK;
}

static cm_err run_all(struct bench *b, struct cm_error *err)
{
    bool children = b->conf->wanted[CM_BENCH_RSS] || b->conf->wanted[CM_BENCH_VERIFY];

    for (size_t m = 0; m < CM_MODES; m++)
        children = children || mode_wanted(b->conf, (enum cm_bench_mode) m);
    if (children) {
        b->exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
        if (b->exe_fd < 0)
            CM_FAIL(err, CM_E_IO,
                    "can't open this very program (/proc/self/exe) to run it; is /proc mounted?");
        b->place_open = true;
        CM_TRY(cm_place_open(b->conf->out, &b->place, err));
        CM_TRY(make_ca(b, err));
    }
    for (size_t i = 0; i < b->conf->keys; i++)
        CM_TRY(bench_key(b, b->conf->key[i], err));
    if (b->conf->wanted[CM_BENCH_RSS])
        CM_TRY(bench_rss(b, err));
    if (b->conf->wanted[CM_BENCH_VERIFY])
        CM_TRY(bench_check(b, err));
    b->r->complete = true;
    return CM_OK;
}

cm_err cm_bench(const struct cm_bench_conf *conf, struct cm_bench_report *out, struct cm_error *err)
{
    struct bench b = { .conf = conf, .r = out, .exe_fd = -1 };
    struct cm_error late = { 0 };
    cm_err rc = CM_OK;

    CM_ASSERT(conf->keys <= CM_BENCH_KEYS_MAX && conf->runs >= 1 && conf->runs <= CM_BENCH_RUNS_MAX);
    *out = (struct cm_bench_report) { .conf = conf };
    cm_machine_look(conf->out, conf->cpus, &out->machine);
    rc = run_all(&b, err);
    cm_checkfloor_close(b.checkfloor);
    say(&b, "removing the fleets");
    if (b.place_open && cm_place_close(&b.place, &late) != CM_OK)
        (void) snprintf(out->left, sizeof out->left, "%s", late.what);
    cm_fd_close(&b.exe_fd);
    return rc;
}
