#include "bench/rounds.h"

/* --- which runs ---------------------------------------------------------- */

uint32_t cm_bench_scale_at(const struct cm_bench_conf *c, size_t i)
{
    uint64_t n = 1;

    for (size_t k = 0; k < i; k++) {
        if (n == c->scale_most)
            return 0;
        n = 2 * n < c->scale_most ? 2 * n : c->scale_most;
    }
    return (uint32_t) n;
}

static const struct cm_bench_series *find(const struct cm_bench_pair *p, const struct cm_rung *rung,
                                          uint32_t workers, size_t cpus)
{
    for (size_t i = 0; i < p->series_count; i++) {
        const struct cm_bench_series *s = &p->series[i];
        if (s->rung == rung && s->workers == workers && s->cpus == cpus)
            return s;
    }
    return NULL;
}

const struct cm_bench_series *cm_bench_series_of(const struct cm_bench_report *r,
                                                 const struct cm_bench_pair *p, const struct cm_rung *rung)
{
    return find(p, rung, r->conf->workers, r->conf->cpus);
}

const struct cm_bench_series *cm_bench_scale_of(const struct cm_bench_pair *p, uint32_t workers)
{
    return find(p, &cm_rungs[CM_RUNG_TAR], workers, workers);
}

bool cm_bench_has_rung(const struct cm_bench_conf *c, const struct cm_rung *rung)
{
    return !rung->server || c->to != NULL;
}

static void add(struct cm_bench_pair *p, const struct cm_rung *rung, uint32_t workers, size_t cpus)
{
    if (find(p, rung, workers, cpus) != NULL)
        return; /* wanted twice, measured once */
    CM_ASSERT(p->series_count < CM_BENCH_SERIES_MAX);
    struct cm_bench_series *s = &p->series[p->series_count++];
    s->rung = rung;
    s->workers = workers;
    s->cpus = cpus;
}

static void choose(const struct cm_bench_conf *c, struct cm_bench_pair *p)
{
    const bool first_ca = p->ca == c->ca[0],
               ladder = c->wanted[CM_BENCH_LADDER] && first_ca && p->key == c->key[0];
    const bool wanted[] = { [CM_RUNG_NONE] = c->wanted[CM_BENCH_ENGINE],
                            [CM_RUNG_TAR_UNSYNCED] = false,
                            [CM_RUNG_TAR] = c->wanted[CM_BENCH_TAR],
                            [CM_RUNG_TREE] = c->wanted[CM_BENCH_TREE] };

    for (size_t i = 0; i < cm_rungs_count; i++)
        if ((ladder && cm_bench_has_rung(c, &cm_rungs[i])) || (i < CM_COUNT(wanted) && wanted[i]))
            add(p, &cm_rungs[i], c->workers, c->cpus);
    for (size_t i = 0; c->wanted[CM_BENCH_SCALE] && first_ca && cm_bench_scale_at(c, i) > 0; i++)
        add(p, &cm_rungs[CM_RUNG_TAR], cm_bench_scale_at(c, i), cm_bench_scale_at(c, i));
}

/* --- how many ------------------------------------------------------------ */

/* How many RSA keys must be made in one of `parts`: their times scatter widely. */
static uint64_t rsa_least(const struct cm_bench_conf *c, const struct cm_keyalg *key, uint64_t parts)
{
    const uint64_t all = key->bits >= 4096 ? c->rsa_keys / 4 : c->rsa_keys;

    return key->family == CM_KEYFAM_RSA ? (all + parts - 1) / parts : 0;
}

uint64_t cm_rounds_devices(const struct cm_bench_conf *c, const struct cm_keyalg *key, uint32_t workers,
                           double rate, double seconds)
{
    const uint64_t share = (uint64_t) workers * key->batch, least = rsa_least(c, key, c->runs);
    uint64_t n = c->count;

    if (n > 0)
        return n;
    n = (uint64_t) (rate * (double) workers * seconds);
    if (n < least)
        n = least;
    if (n < 2 * (uint64_t) workers)
        n = 2 * (uint64_t) workers;
    return n < 4 * share ? n : n / share * share;
}

/* --- the rounds ---------------------------------------------------------- */

struct rounds {
    const struct cm_bench_conf *conf;
    struct cm_stage *stage;
    struct cm_bench_pair *pair;
    struct cm_floor *floor;
};

static cm_err mint(struct rounds *b, const struct cm_bench_series *s, uint64_t devices,
                   struct cm_bench_run *run, struct cm_error *err)
{
    const struct cm_stage_mint what = { .key = b->pair->key,
                                        .ca = b->pair->ca,
                                        .rung = s->rung,
                                        .devices = devices,
                                        .workers = s->workers,
                                        .cpus = s->cpus };

    return cm_stage_mint(b->stage, &what, run, err);
}

/* Half of a round's floor, kept as a chunk of its own. */
static cm_err measure_floor(struct rounds *b, struct cm_floor_sample *round, struct cm_error *err)
{
    const struct cm_bench_conf *c = b->conf;
    struct cm_floor_sample s = { 0 };

    CM_TRY(cm_floor_measure(b->floor, c->seconds / 2, rsa_least(c, b->pair->key, 2 * (uint64_t) c->runs),
                            c->stop, &s, err));
    b->pair->chunk[b->pair->chunks++] = s;
    cm_floor_add(&b->pair->total, &s);
    cm_floor_add(round, &s);
    return CM_OK;
}

static cm_err run_round(struct rounds *b, uint32_t round, struct cm_error *err)
{
    struct cm_bench_pair *p = b->pair;
    struct cm_floor_sample floor = { 0 };

    cm_bench_say(b->conf, "%s below %s: round %u of %u, floor", p->key->name, p->ca->name, round + 1,
                 b->conf->runs);
    CM_TRY(measure_floor(b, &floor, err));
    for (size_t i = 0; i < p->series_count; i++) {
        struct cm_bench_series *s = &p->series[(i + round) % p->series_count];
        const uint64_t n = cm_rounds_devices(b->conf, p->key, s->workers, s->expected, b->conf->seconds);
        cm_bench_say(b->conf, "%s below %s: round %u of %u, %s by %u: %llu devices", p->key->name,
                     p->ca->name, round + 1, b->conf->runs, s->rung->name, s->workers,
                     (unsigned long long) n);
        CM_TRY(mint(b, s, n, &s->run[round], err));
        if (s->rung->load != NULL)
            CM_TRY(cm_stage_load(b->stage, s->rung, n, &s->load[round], err));
        s->count = round + 1;
    }
    cm_bench_say(b->conf, "%s below %s: round %u of %u, floor again", p->key->name, p->ca->name, round + 1,
                 b->conf->runs);
    CM_TRY(measure_floor(b, &floor, err));
    for (size_t i = 0; i < p->series_count; i++) {
        struct cm_bench_run *run = &p->series[i].run[round];
        run->floor = cm_floor_rate(&floor);
        run->ratio = run->rate / run->floor;
    }
    return CM_OK;
}

static void sum_up_series(struct cm_bench_series *s, const struct cm_floor_sample *floor_total)
{
    double rate[CM_BENCH_RUNS_MAX], wall[CM_BENCH_RUNS_MAX], floor[CM_BENCH_RUNS_MAX],
        ratio[CM_BENCH_RUNS_MAX], us[CM_BENCH_RUNS_MAX];
    double devices = 0, cpu = 0;

    for (size_t i = 0; i < s->count; i++) {
        rate[i] = s->run[i].rate;
        wall[i] = s->run[i].wall;
        floor[i] = s->run[i].floor;
        ratio[i] = s->run[i].ratio;
        us[i] = 1e6 / s->run[i].rate;
        devices += (double) s->run[i].devices;
        cpu += s->run[i].user_s + s->run[i].system_s;
    }
    s->rate = cm_spread_of(rate, s->count);
    s->wall = cm_spread_of(wall, s->count);
    s->floor = cm_spread_of(floor, s->count);
    s->ratio = cm_spread_of(ratio, s->count);
    s->cpu_us = cm_spread_of(us, s->count);
    s->pooled = devices / cpu / cm_floor_rate(floor_total);
    const struct cm_interval interval = cm_floor_interval(floor_total);
    s->pooled_low = interval.low < interval.high ? devices / cpu / interval.high : 0;
}

static void sum_up(struct cm_bench_pair *p)
{
    double floor[2 * CM_BENCH_RUNS_MAX];

    for (size_t i = 0; i < p->series_count; i++)
        sum_up_series(&p->series[i], &p->total);
    for (size_t i = 0; i < p->chunks; i++)
        floor[i] = cm_floor_rate(&p->chunk[i]);
    p->floor = cm_spread_of(floor, p->chunks);
}

/* Own keys may be made thirty times as fast as the floor says, and a tree be written ten times as slowly:
 * each series is tried for a quarter of its time. */
static cm_err warm_up(struct rounds *b, struct cm_error *err)
{
    const struct cm_bench_conf *c = b->conf;
    struct cm_bench_pair *p = b->pair;
    struct cm_floor_sample warm = { 0 };

    cm_bench_say(c, "%s below %s: warming up", p->key->name, p->ca->name);
    CM_TRY(cm_floor_measure(b->floor, c->seconds / 4, 0, c->stop, &warm, err));
    for (size_t i = 0; i < p->series_count; i++) {
        struct cm_bench_series *s = &p->series[i];
        struct cm_bench_run run;
        const double rate = cm_floor_rate(&warm);
        CM_TRY(mint(b, s, cm_rounds_devices(c, p->key, s->workers, rate, c->seconds / 4), &run, err));
        s->expected = run.rate;
    }
    return CM_OK;
}

static cm_err measure(struct rounds *b, struct cm_error *err)
{
    CM_TRY(warm_up(b, err));
    for (uint32_t round = 0; round < b->conf->runs; round++)
        CM_TRY(run_round(b, round, err));
    sum_up(b->pair);
    b->pair->done = true;
    return CM_OK;
}

cm_err cm_rounds_run(const struct cm_bench_conf *c, struct cm_stage *s, struct cm_bench_pair *p,
                     struct cm_error *err)
{
    struct rounds b = { .conf = c, .stage = s, .pair = p };

    choose(c, p);
    CM_TRY(cm_floor_open(p->key, p->ca, cm_bench_cpu(c), &b.floor, err));
    p->signature = cm_floor_signature(b.floor);
    const cm_err rc = measure(&b, err);
    cm_floor_close(b.floor);
    return rc;
}

/* --- verify --------------------------------------------------------------- */

static double check_rate(const struct cm_checkfloor_sample *s)
{
    return (double) s->devices / (s->verify_s + s->mul_s);
}

static cm_err check_round(const struct cm_bench_conf *conf, struct cm_stage *s, struct cm_checkfloor *f,
                          uint64_t devices, struct cm_bench_check *c, struct cm_error *err)
{
    struct cm_bench_run *run = &c->run[c->count];
    struct cm_checkfloor_sample floor = { 0 };
    const double half = conf->seconds / 2;

    cm_bench_say(conf, "verify: round %u of %u, floor", c->count + 1, conf->runs);
    CM_TRY(cm_checkfloor_measure(f, half, conf->stop, &floor, err));
    cm_bench_say(conf, "verify: round %u of %u, %llu devices", c->count + 1, conf->runs,
                 (unsigned long long) devices);
    CM_TRY(cm_stage_verify(s, devices, run, err));
    CM_TRY(cm_checkfloor_measure(f, half, conf->stop, &floor, err));
    run->floor = check_rate(&floor);
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

static cm_err check(const struct cm_bench_conf *conf, struct cm_stage *s, struct cm_checkfloor *f,
                    struct cm_bench_check *c, struct cm_error *err)
{
    struct cm_checkfloor_sample warm = { 0 };
    struct cm_bench_run made;

    CM_TRY(cm_checkfloor_measure(f, conf->seconds / 4, conf->stop, &warm, err));
    const double all = check_rate(&warm) * conf->workers * conf->seconds;
    const struct cm_stage_mint what = { .key = c->key,
                                        .ca = conf->ca[0],
                                        .rung = &cm_rungs[CM_RUNG_TAR],
                                        .devices = conf->count > 0 ? conf->count : (uint64_t) (all + 1),
                                        .workers = conf->workers };
    CM_TRY(cm_stage_mint(s, &what, &made, err));
    while (c->count < conf->runs)
        CM_TRY(check_round(conf, s, f, made.devices, c, err));
    sum_up_check(c);
    return CM_OK;
}

cm_err cm_rounds_verify(const struct cm_bench_conf *conf, struct cm_stage *s, struct cm_bench_check *c,
                        struct cm_error *err)
{
    struct cm_checkfloor *f = NULL;

    for (size_t i = conf->keys; i-- > 0;)
        if (conf->key[i]->family == CM_KEYFAM_EC && conf->ca[0]->family != CM_KEYFAM_ED25519)
            c->key = conf->key[i];
    if (c->key == NULL)
        return CM_OK;
    cm_bench_say(conf, "verify: warming up");
    CM_TRY(cm_checkfloor_open(c->key, conf->ca[0], cm_bench_cpu(conf), &f, err));
    const cm_err rc = check(conf, s, f, c, err);
    cm_checkfloor_close(f);
    return rc;
}
