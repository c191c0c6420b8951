#include "bench/bench.h"

#include "bench/rounds.h"
#include "bench/stage.h"

#include <string.h>

const char *const cm_bench_case_names[CM_BENCH_CASES + 1] = { "floor", "engine", "tar",     "tree",
                                                              "scale", "ladder", "keytime", "bytes",
                                                              "rss",   "verify", NULL };

int cm_bench_cpu(const struct cm_bench_conf *c)
{
    return c->cpu[c->cpus - 1];
}

/* Both layouts; as many devices as a run at the floor's rate has. */
static cm_err bench_bytes(const struct cm_bench_conf *c, struct cm_stage *s, struct cm_bench_pair *p,
                          struct cm_bench_report *r, struct cm_error *err)
{
    static const size_t rungs[] = { CM_RUNG_TAR, CM_RUNG_TREE };

    for (size_t i = 0; i < CM_COUNT(rungs); i++) {
        const struct cm_stage_mint what = {
            .key = p->key,
            .ca = p->ca,
            .rung = &cm_rungs[rungs[i]],
            .workers = c->workers,
            .devices = cm_rounds_devices(c, p->key, c->workers, cm_floor_rate(&p->total), c->seconds)
        };
        struct cm_bench_bytes b = { p->key, p->ca, what.rung, what.devices, 0, 0, 0, 0, 0 };
        struct cm_bench_run run;
        cm_bench_say(c, "%s below %s: bytes of %llu devices, %s", p->key->name, p->ca->name,
                     (unsigned long long) what.devices, what.rung->name);
        CM_TRY(cm_stage_mint(s, &what, &run, err));
        CM_TRY(cm_stage_measure(s, &b, err));
        r->bytes[r->bytes_count++] = b;
    }
    return CM_OK;
}

/* Both generators of every key algorithm. RSA keys take long and scatter widely. */
static cm_err bench_keytime(const struct cm_bench_conf *c, const struct cm_keyalg *key,
                            struct cm_bench_report *r, struct cm_error *err)
{
    const uint64_t rsa = key->bits >= 4096 ? c->rsa_keys / 4 : c->rsa_keys;
    const struct cm_keytime_conf conf = { .cpu = cm_bench_cpu(c),
                                          .seconds = c->keytime_s,
                                          .least = key->family == CM_KEYFAM_RSA && rsa > 0 ? rsa : 1,
                                          .most = c->keytime_n,
                                          .stop = c->stop };

    for (int maker = 0; maker < CM_KEYTIME_MAKERS; maker++) {
        cm_bench_say(c, "%s: times of single keys by %s", key->name,
                     cm_keytime_name((enum cm_keytime_maker) maker));
        CM_TRY(cm_keytime_measure(key, (enum cm_keytime_maker) maker, &conf, &r->keytime[r->keytimes], err));
        r->keytimes++;
    }
    return CM_OK;
}

/* The first algorithm whose keys are made fast enough for a large fleet. */
static cm_err bench_rss(const struct cm_bench_conf *c, struct cm_stage *s, struct cm_bench_report *r,
                        struct cm_error *err)
{
    struct cm_stage_mint what = { .ca = c->ca[0], .rung = &cm_rungs[CM_RUNG_TAR], .workers = c->workers };

    for (size_t i = 0; i < c->keys && r->rss_key == NULL; i++)
        if (c->key[i]->family != CM_KEYFAM_RSA)
            r->rss_key = c->key[i];
    what.key = r->rss_key;
    for (size_t i = 0; r->rss_key != NULL && i < CM_BENCH_SIZES; i++) {
        what.devices = c->rss[i];
        cm_bench_say(c, "%s: peak memory of %llu devices", what.key->name, (unsigned long long) c->rss[i]);
        CM_TRY(cm_stage_mint(s, &what, &r->rss[i], err));
        r->rss_count++;
    }
    return CM_OK;
}

static bool needs_stage(const struct cm_bench_conf *c)
{
    for (size_t i = 0; i < CM_BENCH_CASES; i++)
        if (c->wanted[i] && i != CM_BENCH_FLOOR && i != CM_BENCH_KEYTIME)
            return true;
    return false;
}

static cm_err run_all(const struct cm_bench_conf *c, struct cm_stage *s, struct cm_bench_report *r,
                      struct cm_error *err)
{
    if (needs_stage(c))
        CM_TRY(cm_stage_open(s, c, r, err));
    for (size_t i = 0; i < c->keys * c->cas; i++) {
        struct cm_bench_pair *p = &r->pair[r->pairs++];
        p->key = c->key[i / c->cas];
        p->ca = c->ca[i % c->cas];
        CM_TRY(cm_rounds_run(c, s, p, err));
        if (c->wanted[CM_BENCH_BYTES])
            CM_TRY(bench_bytes(c, s, p, r, err));
        cm_stage_drop_fleets(s);
    }
    for (size_t i = 0; i < c->keys && c->wanted[CM_BENCH_KEYTIME]; i++)
        CM_TRY(bench_keytime(c, c->key[i], r, err));
    if (c->wanted[CM_BENCH_RSS])
        CM_TRY(bench_rss(c, s, r, err));
    if (c->wanted[CM_BENCH_VERIFY])
        CM_TRY(cm_rounds_verify(c, s, &r->check, err));
    r->complete = true;
    return CM_OK;
}

cm_err cm_bench(const struct cm_bench_conf *conf, struct cm_bench_report *out, struct cm_error *err)
{
    struct cm_stage stage = { .exe_fd = -1 };
    struct cm_error late = { 0 };
    cm_err rc = CM_OK;

    CM_ASSERT(conf->keys <= CM_BENCH_KEYS_MAX && conf->cas >= 1 && conf->cas <= CM_BENCH_KEYS_MAX &&
              conf->runs >= 1 && conf->runs <= CM_BENCH_RUNS_MAX);
    out->conf = conf;
    cm_machine_look(conf->out, conf->cpus, &out->machine);
    out->pair = calloc(conf->keys * conf->cas, sizeof *out->pair);
    out->bytes = calloc(2 * conf->keys * conf->cas, sizeof *out->bytes);
    if (out->pair == NULL || out->bytes == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the figures");
    rc = run_all(conf, &stage, out, err);
    cm_bench_say(conf, "removing the fleets");
    if (cm_stage_close(&stage, &late) != CM_OK)
        (void) snprintf(out->left, sizeof out->left, "%s", late.what);
    return rc;
}

void cm_bench_done(struct cm_bench_report *r)
{
    free(r->pair);
    free(r->bytes);
    r->pair = NULL;
    r->bytes = NULL;
}
