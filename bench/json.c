#include "bench/bench.h"

#include <jansson.h>

/* json.c - the report as one object, and as lines of a history. A result has the keys
 * `case` and `key`; README.md says what the others mean. */

static json_t *machine_json(const struct cm_bench_report *r)
{
    const struct cm_machine *m = &r->machine;

    return json_pack("{s:s s:i s:i s:s s:s s:s s:s s:s}", "processor", m->processor, "processors",
                     (int) m->cpus, "online", (int) m->online, "kernel", m->kernel, "libcrypto", m->libcrypto,
                     "build", m->build, "filesystem", m->filesystem, "disk", m->disk);
}

static json_t *settings_json(const struct cm_bench_report *r)
{
    const struct cm_bench_conf *c = r->conf;

    return json_pack("{s:s s:s s:s? s:i s:f s:I s:i s:s s:s s:f}", "size", c->size, "ca", c->ca->name,
                     "signature", r->signature, "rounds", (int) c->runs, "seconds", c->seconds, "count",
                     (json_int_t) c->count, "workers", (int) c->workers, "io", r->io, "io_note", r->io_note,
                     "load", r->machine.load);
}

static json_t *floor_json(const struct cm_bench_key *k)
{
    const struct cm_floor_sample *t = &k->total;
    const struct cm_interval interval = cm_floor_interval(t);

    return json_pack("{s:s s:s s:s s:f s:f s:f s:f s:f s:f s:f s:f s:f s:I s:I s:i}", "case", "floor", "key",
                     k->alg->name, "unit", "certificates per processor-second", "rate", cm_floor_rate(t),
                     "rate_median", k->floor.median, "rate_min", k->floor.min, "rate_max", k->floor.max,
                     "rate_mad", k->floor.mad, "rate_low", interval.low, "rate_high", interval.high,
                     "generate_us", 1e6 * t->key_s / (double) t->keys, "sign_us",
                     1e6 * t->sign_s / (double) t->signs, "keys", (json_int_t) t->keys, "signatures",
                     (json_int_t) t->signs, "chunks", (int) k->chunks);
}

static json_t *runs_json(const struct cm_bench_run *run, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count && list != NULL; i++) {
        const struct cm_bench_run *u = &run[i];
        if (json_array_append_new(list, json_pack("{s:I s:f s:f s:f s:f s:f s:f s:f s:i}", "devices",
                                                  (json_int_t) u->devices, "user_s", u->user_s, "system_s",
                                                  u->system_s, "wall_s", u->wall_s, "rate", u->rate, "wall",
                                                  u->wall, "floor", u->floor, "ratio", u->ratio, "rss_kib",
                                                  (int) u->rss_kib)) != 0) {
            json_decref(list);
            list = NULL;
        }
    }
    return list;
}

static json_t *mode_json(const struct cm_bench_key *k, const struct cm_keyalg *ca, enum cm_bench_mode mode)
{
    static const enum cm_bench_case of[] = { CM_BENCH_ENGINE, CM_BENCH_TAR, CM_BENCH_TREE };
    const struct cm_bench_series *s = &k->mode[mode];

    return json_pack("{s:s s:s s:s s:s s:f s:f s:f s:f s:f s:f s:f s:f s:f s:f s:f s:i s:o}", "case",
                     cm_bench_case_names[of[mode]], "key", k->alg->name, "profile",
                     cm_bench_profile(k->alg, ca), "unit", "certificates per processor-second", "rate",
                     s->rate.median, "rate_min", s->rate.min, "rate_max", s->rate.max, "floor",
                     s->floor.median, "ratio", s->ratio.median, "ratio_min", s->ratio.min, "ratio_max",
                     s->ratio.max, "ratio_mad", s->ratio.mad, "ratio_pooled", s->pooled, "ratio_low",
                     s->pooled_low, "wall", s->wall.median, "workers", (int) s->workers, "runs",
                     runs_json(s->run, s->count));
}

static json_t *wall_json(const struct cm_bench_key *k)
{
    const struct cm_bench_series *one = &k->mode[CM_MODE_ONE], *all = &k->mode[CM_MODE_TAR];

    return json_pack("{s:s s:s s:s s:f s:f s:f s:f s:i s:f s:f s:f s:o s:o}", "case", "wall", "key",
                     k->alg->name, "unit", "certificates per second", "one", one->wall.median, "one_ratio",
                     one->ratio.median, "floor", one->floor.median, "all", all->wall.median, "workers",
                     (int) all->workers, "speedup", k->speedup.median, "speedup_min", k->speedup.min,
                     "speedup_max", k->speedup.max, "one_runs", runs_json(one->run, one->count), "all_runs",
                     runs_json(all->run, all->count));
}

static json_t *rss_json(const struct cm_bench_report *r)
{
    json_t *sizes = json_array();

    for (size_t i = 0; i < r->rss_count; i++)
        if (json_array_append_new(sizes, json_pack("{s:I s:i s:f}", "devices", (json_int_t) r->rss[i].devices,
                                                   "rss_kib", (int) r->rss[i].rss_kib, "wall_s",
                                                   r->rss[i].wall_s)) != 0) {
            json_decref(sizes);
            return NULL;
        }
    return json_pack("{s:s s:s s:s s:i s:f s:i s:o}", "case", "rss", "key", r->rss_alg->name, "unit", "KiB",
                     "rss_kib", (int) r->rss[r->rss_count - 1].rss_kib, "growth",
                     (double) r->rss[r->rss_count - 1].rss_kib / (double) r->rss[0].rss_kib, "workers",
                     (int) r->conf->workers, "sizes", sizes);
}

static json_t *check_json(const struct cm_bench_check *c)
{
    const double devices = (double) c->total.devices;

    return json_pack("{s:s s:s s:s s:f s:f s:f s:f s:f s:f s:f s:f s:o}", "case", "verify", "key",
                     c->alg->name, "unit", "processor-microseconds per device", "us", 1e6 / c->rate.median,
                     "floor_us", 1e6 / c->floor.median, "verify_us", 1e6 * c->total.verify_s / devices,
                     "mul_us", 1e6 * c->total.mul_s / devices, "times", c->times.median, "times_min",
                     c->times.min, "times_max", c->times.max, "wall", c->wall.median, "runs",
                     runs_json(c->run, c->count));
}

/* All results that there are, in the order of the tables; NULL: out of memory. */
static json_t *results_json(const struct cm_bench_report *r)
{
    const bool *wanted = r->conf->wanted;
    json_t *list = json_array();
    int failed = list == NULL;

    for (size_t i = 0; i < r->keys; i++) {
        const struct cm_bench_key *k = &r->key[i];
        if (!k->done)
            continue;
        failed |= json_array_append_new(list, floor_json(k));
        if (wanted[CM_BENCH_ENGINE])
            failed |= json_array_append_new(list, mode_json(k, r->conf->ca, CM_MODE_ENGINE));
        if (wanted[CM_BENCH_TAR])
            failed |= json_array_append_new(list, mode_json(k, r->conf->ca, CM_MODE_TAR));
        if (wanted[CM_BENCH_TREE])
            failed |= json_array_append_new(list, mode_json(k, r->conf->ca, CM_MODE_TREE));
        if (wanted[CM_BENCH_WALL])
            failed |= json_array_append_new(list, wall_json(k));
    }
    if (r->rss_count > 0)
        failed |= json_array_append_new(list, rss_json(r));
    if (r->check.count > 0 && r->complete)
        failed |= json_array_append_new(list, check_json(&r->check));
    if (failed) {
        json_decref(list);
        list = NULL;
    }
    return list;
}

json_t *cm_bench_json(const struct cm_bench_report *r)
{
    return json_pack("{s:s s:i s:s s:s s:s s:b s:o s:o s:o}", "format", "certmill-bench", "version", 1, "at",
                     r->machine.at, "commit", r->machine.commit, "engine", r->machine.version, "complete",
                     r->complete, "machine", machine_json(r), "settings", settings_json(r), "results",
                     results_json(r));
}

static cm_err keep_line(const struct cm_bench_report *r, json_t *result, FILE *out, const char *path,
                        struct cm_error *err)
{
    json_t *line =
        json_pack("{s:s s:s s:s s:o s:o}", "at", r->machine.at, "commit", r->machine.commit, "engine",
                  r->machine.version, "machine", machine_json(r), "settings", settings_json(r));

    if (line == NULL || json_object_update(line, result) != 0) {
        json_decref(line);
        CM_FAIL(err, CM_E_NOMEM, "no memory for a line of %s", path);
    }
    const int rc = json_dumpf(line, out, JSON_COMPACT | JSON_REAL_PRECISION(7));
    json_decref(line);
    if (rc != 0 || fputc('\n', out) == EOF)
        CM_FAIL(err, CM_E_IO, "can't write to %s; its last line may be half", path);
    return CM_OK;
}

cm_err cm_bench_keep(const struct cm_bench_report *r, const char *path, struct cm_error *err)
{
    json_t *results = results_json(r);
    FILE *out = fopen(path, "ae");
    cm_err rc = CM_OK;

    if (results == NULL)
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "no memory for the lines of %s", path);
    else if (out == NULL)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't open %s to keep the figures", path);
    else
        for (size_t i = 0; i < json_array_size(results) && rc == CM_OK; i++)
            rc = keep_line(r, json_array_get(results, i), out, path, err);
    if (out != NULL && fclose(out) != 0 && rc == CM_OK)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't write to %s; its last line may be half", path);
    json_decref(results);
    return rc;
}
