#include "bench/json.h"

#include "bench/stage.h"
#include "io/file.h"

#include <fcntl.h>
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

static json_t *machine_json(const struct cm_bench_report *r)
{
    const struct cm_machine *m = &r->machine;

    return json_pack("{s:s s:i s:i s:s s:s s:s s:s s:s s:s}", "processor", m->processor, "processors",
                     (int) m->cpus, "online", (int) m->online, "kernel", m->kernel, "libcrypto", m->libcrypto,
                     "libc", m->libc, "build", m->build, "filesystem", m->filesystem, "disk", m->disk);
}

static json_t *settings_json(const struct cm_bench_report *r)
{
    const struct cm_bench_conf *c = r->conf;

    json_t *cases = json_array();

    for (size_t i = 0; i < CM_BENCH_CASES; i++)
        if (c->wanted[i])
            (void) json_array_append_new(cases, json_string(cm_bench_case_names[i]));
    return json_pack("{s:o s:s s:i s:f s:I s:i s:s s:s s:s s:s s:f}", "cases", cases, "size", c->size,
                     "rounds", (int) c->runs, "seconds", c->seconds, "count", (json_int_t) c->count,
                     "workers", (int) c->workers, "io", r->io, "io_note", r->io_note, "server", r->server,
                     "server_note", r->server_note, "load", r->machine.load);
}

static double mean_us(double seconds, uint64_t n)
{
    return 1e6 * seconds / (double) n;
}

static json_t *floor_json(const struct cm_bench_pair *p)
{
    const struct cm_floor_sample *t = &p->total;
    const struct cm_interval interval = cm_floor_interval(t);

    return json_pack("{s:s s:s s:s s:s s:f s:f s:f s:f s:f s:f s:f s:f s:f s:I s:I s:i}", "case", "floor",
                     "key", p->key->name, "ca", p->ca->name, "signature", p->signature, "rate",
                     cm_floor_rate(t), "rate_median", p->floor.median, "rate_min", p->floor.min, "rate_max",
                     p->floor.max, "rate_mad", p->floor.mad, "rate_low", interval.low, "rate_high",
                     interval.high, "generate_us", mean_us(t->key_s, t->keys), "sign_us",
                     mean_us(t->sign_s, t->signs), "keys", (json_int_t) t->keys, "signatures",
                     (json_int_t) t->signs, "chunks", (int) p->chunks);
}

static json_t *run_json(const struct cm_bench_run *u)
{
    return json_pack("{s:I s:f s:f s:f s:f s:f s:f s:f s:i}", "devices", (json_int_t) u->devices, "user_s",
                     u->user_s, "system_s", u->system_s, "wall_s", u->wall_s, "rate", u->rate, "wall",
                     u->wall, "floor", u->floor, "ratio", u->ratio, "rss_kib", (int) u->rss_kib);
}

static json_t *runs_json(const struct cm_bench_run *run, size_t count)
{
    json_t *list = json_array();

    for (size_t i = 0; i < count && list != NULL; i++)
        if (json_array_append_new(list, run_json(&run[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

static double system_percent(const struct cm_bench_series *s)
{
    double system = 0, all = 0;

    for (size_t i = 0; i < s->count; i++) {
        system += s->run[i].system_s;
        all += s->run[i].system_s + s->run[i].user_s;
    }
    return 100 * system / all;
}

/* Adds the members of `more`, whose reference it takes, to `result`; NULL: out of memory. */
static json_t *with(json_t *result, json_t *more)
{
    if (result == NULL || more == NULL || json_object_update(result, more) != 0) {
        json_decref(result);
        result = NULL;
    }
    json_decref(more);
    return result;
}

/* A median as `name`, and name_min, name_max. */
static json_t *spread_json(const char *name, const struct cm_spread *s)
{
    char min[32], max[32];

    (void) snprintf(min, sizeof min, "%s_min", name);
    (void) snprintf(max, sizeof max, "%s_max", name);
    return json_pack("{s:f s:f s:f}", name, s->median, min, s->min, max, s->max);
}

/* What every series of mint has, as a result of that case. */
static json_t *series_json(const char *of_case, const struct cm_bench_pair *p,
                           const struct cm_bench_series *s)
{
    json_t *json = json_pack("{s:s s:s s:s s:s s:s s:i s:i s:I}", "case", of_case, "key", p->key->name, "ca",
                             p->ca->name, "signature", p->signature, "profile",
                             cm_stage_profile(p->key, p->ca), "workers", (int) s->workers, "processors",
                             (int) s->cpus, "devices", (json_int_t) s->run[0].devices);

    json = with(json, spread_json("rate", &s->rate));
    json = with(json, spread_json("ratio", &s->ratio));
    json = with(json, spread_json("cpu_us", &s->cpu_us));
    json = with(json, spread_json("wall", &s->wall));
    return with(json, json_pack("{s:f s:f s:f s:o s:f s:o}", "floor", s->floor.median, "ratio_mad",
                                s->ratio.mad, "ratio_pooled", s->pooled, "ratio_low",
                                s->pooled_low > 0 ? json_real(s->pooled_low) : json_null(), "system_percent",
                                system_percent(s), "runs", runs_json(s->run, s->count)));
}

static json_t *scale_json(const struct cm_bench_pair *p, const struct cm_bench_series *s)
{
    const struct cm_bench_series *one = cm_bench_scale_of(p, 1);
    double times[CM_BENCH_RUNS_MAX];
    char what[12];

    for (size_t i = 0; i < s->count; i++)
        times[i] = s->run[i].wall / one->run[i].wall;
    const struct cm_spread speedup = cm_spread_of(times, s->count);
    (void) snprintf(what, sizeof what, "%u", s->workers);
    return with(with(series_json("scale", p, s), json_pack("{s:s}", "what", what)),
                spread_json("speedup", &speedup));
}

/* A rung, and how much more than the one below it a device costs, round by round. */
static json_t *rung_json(const struct cm_bench_report *r, const struct cm_bench_pair *p,
                         const struct cm_rung *rung)
{
    const struct cm_bench_series *s = cm_bench_series_of(r, p, rung), *below = NULL;
    double step[CM_BENCH_RUNS_MAX];

    json_t *json = with(series_json("ladder", p, s), json_pack("{s:s s:s s:s?}", "what", rung->name, "label",
                                                               rung->label, "over", rung->over));
    if (rung->over == NULL)
        return with(json, json_pack("{s:n s:n s:n}", "step_us", "step_us_min", "step_us_max"));
    below = cm_bench_series_of(r, p, cm_rung_find(rung->over));
    for (size_t i = 0; i < s->count; i++)
        step[i] = 1e6 / s->run[i].rate - 1e6 / below->run[i].rate;
    const struct cm_spread spread = cm_spread_of(step, s->count);
    return with(json, spread_json("step_us", &spread));
}

/* Microseconds a row; the server's, and so all, may not be known. */
static json_t *load_run_json(const struct cm_bench_load *l, bool has_server)
{
    const double rows = (double) l->rows, own = 1e6 * l->own_s / rows, server = 1e6 * l->server_s / rows;
    const bool known = l->server_s >= 0;

    return json_pack("{s:I s:f s:f s:o s:o}", "devices", (json_int_t) l->rows, "wall", rows / l->wall_s,
                     "own_us", own, "server_us", has_server && known ? json_real(server) : json_null(),
                     "cpu_us", known ? json_real(own + server) : json_null());
}

/* A median of the runs' figures of that name, and its range; null where they are not known. */
static json_t *load_spread_json(const char *name, const json_t *runs)
{
    double value[CM_BENCH_RUNS_MAX];

    for (size_t i = 0; i < json_array_size(runs); i++) {
        const json_t *v = json_object_get(json_array_get(runs, i), name);
        if (!json_is_number(v))
            return json_pack("{s:n}", name);
        value[i] = json_number_value(v);
    }
    const struct cm_spread spread = cm_spread_of(value, json_array_size(runs));
    return spread_json(name, &spread);
}

/* What loading a rung's fleet into a new database costs, a row. */
static json_t *load_json(const struct cm_bench_report *r, const struct cm_bench_pair *p,
                         const struct cm_rung *rung)
{
    static const char *const names[] = { "cpu_us", "own_us", "server_us", "wall" };
    const struct cm_bench_series *s = cm_bench_series_of(r, p, rung);
    json_t *runs = json_array();
    int failed = runs == NULL;

    for (size_t i = 0; i < s->count; i++)
        failed |= json_array_append_new(runs, load_run_json(&s->load[i], rung->server));
    json_t *json =
        json_pack("{s:s s:s s:s s:s s:s s:I}", "case", "load", "key", p->key->name, "ca", p->ca->name, "what",
                  rung->name, "label", rung->label, "devices", (json_int_t) s->load[0].rows);
    for (size_t i = 0; i < CM_COUNT(names); i++)
        json = with(json, load_spread_json(names[i], runs));
    if (failed) {
        json_decref(json);
        json = NULL;
    }
    return with(json, json_pack("{s:o}", "runs", runs));
}

static json_t *bins_json(const struct cm_keytime *t)
{
    json_t *list = json_array();

    for (size_t i = 0; i < CM_KEYTIME_BINS && list != NULL; i++)
        if (t->bin[i] > 0 &&
            json_array_append_new(list, json_pack("{s:f s:f s:i}", "from_us", cm_keytime_bin_us(i), "to_us",
                                                  cm_keytime_bin_us(i + 1), "samples", (int) t->bin[i])) !=
                0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

static json_t *keytime_json(const struct cm_keytime *t)
{
    json_t *json =
        json_pack("{s:s s:s s:s s:I s:I s:i s:f s:f s:f s:o}", "case", "keytime", "key", t->key->name, "what",
                  cm_keytime_name(t->maker), "samples", (json_int_t) t->samples, "keys", (json_int_t) t->keys,
                  "batch", (int) t->batch, "min_us", t->min_us, "mean_us", t->mean_us, "max_us", t->max_us,
                  "histogram", bins_json(t));

    for (size_t i = 0; i < CM_KEYTIME_PERCENTILES; i++) {
        const double us = t->percentile_us[i];
        char name[16];
        (void) snprintf(name, sizeof name, "p%u_us", cm_keytime_percent[i]);
        json = with(json, us > 0 ? json_pack("{s:f}", name, us) : json_pack("{s:n}", name));
    }
    return json;
}

static json_t *bytes_json(const struct cm_bench_bytes *b)
{
    const double n = (double) b->devices;
    const uint64_t all = b->chains + b->keys + b->manifest + b->other;

    return json_pack("{s:s s:s s:s s:s s:I s:f s:f s:f s:f s:f s:f}", "case", "bytes", "key", b->key->name,
                     "ca", b->ca->name, "what", b->rung->name, "devices", (json_int_t) b->devices,
                     "chain_bytes", (double) b->chains / n, "key_bytes", (double) b->keys / n, "row_bytes",
                     (double) b->manifest / n, "other_bytes", (double) b->other / n, "total_bytes",
                     (double) all / n, "disk_bytes", (double) b->blocks / n);
}

static json_t *rss_json(const struct cm_bench_report *r, const struct cm_bench_run *run)
{
    char what[24];

    (void) snprintf(what, sizeof what, "%llu", (unsigned long long) run->devices);
    return json_pack("{s:s s:s s:s s:s s:I s:i s:f s:i}", "case", "rss", "key", r->rss_key->name, "ca",
                     r->conf->ca[0]->name, "what", what, "devices", (json_int_t) run->devices, "rss_kib",
                     (int) run->rss_kib, "wall_s", run->wall_s, "workers", (int) r->conf->workers);
}

static json_t *check_json(const struct cm_bench_report *r)
{
    const struct cm_bench_check *c = &r->check;

    return json_pack("{s:s s:s s:s s:i s:I s:f s:f s:f s:f s:f s:f s:f s:f s:i s:o}", "case", "verify", "key",
                     c->key->name, "ca", r->conf->ca[0]->name, "workers", (int) r->conf->workers, "devices",
                     (json_int_t) c->run[0].devices, "cpu_us", 1e6 / c->rate.median, "floor_us",
                     1e6 / c->floor.median, "verify_us", mean_us(c->total.verify_s, c->total.devices),
                     "mul_us", mean_us(c->total.mul_s, c->total.devices), "times", c->times.median,
                     "times_min", c->times.min, "times_max", c->times.max, "wall", c->wall.median, "rss_kib",
                     (int) c->run[c->count - 1].rss_kib, "runs", runs_json(c->run, c->count));
}

static int append_pair(const struct cm_bench_report *r, const struct cm_bench_pair *p, json_t *list)
{
    static const struct {
        enum cm_bench_case of;
        size_t rung;
    } modes[] = { { CM_BENCH_ENGINE, CM_RUNG_NONE },
                  { CM_BENCH_TAR, CM_RUNG_TAR },
                  { CM_BENCH_TREE, CM_RUNG_TREE } };
    const bool *wanted = r->conf->wanted;
    int failed = json_array_append_new(list, floor_json(p));

    for (size_t i = 0; i < CM_COUNT(modes); i++)
        if (wanted[modes[i].of])
            failed |=
                json_array_append_new(list, series_json(cm_bench_case_names[modes[i].of], p,
                                                        cm_bench_series_of(r, p, &cm_rungs[modes[i].rung])));
    /* Below the other CAs no one worker was measured, though the tar may have been by all. */
    for (size_t i = 0; wanted[CM_BENCH_SCALE] && p->ca == r->conf->ca[0] && cm_bench_scale_at(r->conf, i) > 0;
         i++)
        failed |=
            json_array_append_new(list, scale_json(p, cm_bench_scale_of(p, cm_bench_scale_at(r->conf, i))));
    return failed;
}

static int append_ladder(const struct cm_bench_report *r, json_t *list)
{
    const struct cm_bench_pair *p = &r->pair[0];
    int failed = 0;

    for (size_t i = 0; i < cm_rungs_count; i++)
        if (cm_bench_has_rung(r->conf, &cm_rungs[i]))
            failed |= json_array_append_new(list, rung_json(r, p, &cm_rungs[i]));
    for (size_t i = 0; i < cm_rungs_count; i++)
        if (cm_rungs[i].load != NULL && cm_bench_has_rung(r->conf, &cm_rungs[i]))
            failed |= json_array_append_new(list, load_json(r, p, &cm_rungs[i]));
    return failed;
}

/* All results that there are, in the order in which they were measured; NULL: out of memory. */
static json_t *results_json(const struct cm_bench_report *r)
{
    json_t *list = json_array();
    int failed = list == NULL;

    for (size_t i = 0; i < r->pairs; i++)
        if (r->pair[i].done)
            failed |= append_pair(r, &r->pair[i], list);
    if (r->conf->wanted[CM_BENCH_LADDER] && r->pairs > 0 && r->pair[0].done)
        failed |= append_ladder(r, list);
    for (size_t i = 0; i < r->keytimes; i++)
        failed |= json_array_append_new(list, keytime_json(&r->keytime[i]));
    for (size_t i = 0; i < r->bytes_count; i++)
        failed |= json_array_append_new(list, bytes_json(&r->bytes[i]));
    for (size_t i = 0; i < r->rss_count; i++)
        failed |= json_array_append_new(list, rss_json(r, &r->rss[i]));
    if (r->check.count > 0 && r->complete)
        failed |= json_array_append_new(list, check_json(r));
    if (failed) {
        json_decref(list);
        list = NULL;
    }
    return list;
}

json_t *cm_bench_json(const struct cm_bench_report *r)
{
    return json_pack("{s:s s:i s:s s:s s:s s:b s:o s:o s:o}", "format", "certmill-bench", "version", 2, "at",
                     r->machine.at, "commit", r->machine.commit, "engine", r->machine.version, "complete",
                     r->complete, "machine", machine_json(r), "settings", settings_json(r), "results",
                     results_json(r));
}

static cm_err keep_line(const json_t *common, json_t *result, FILE *out, const char *path,
                        struct cm_error *err)
{
    json_t *line = json_copy((json_t *) (uintptr_t) common); /* which jansson only reads */

    if (line == NULL || json_object_update(line, result) != 0) {
        json_decref(line);
        CM_FAIL(err, CM_E_NOMEM, "no memory for a line of %s", path);
    }
    const int rc = json_dumpf(line, out, JSON_COMPACT | JSON_REAL_PRECISION(CM_BENCH_DIGITS));
    json_decref(line);
    if (rc != 0 || fputc('\n', out) == EOF)
        CM_FAIL(err, CM_E_IO, "can't write to %s; its last line may be half", path);
    return CM_OK;
}

/* Does the file hold something, and its last line no end? What can't be looked at may: an empty line does no
 * harm. */
static bool lacks_end(FILE *out, const char *path)
{
    struct stat st;
    char last = '\0';

    if (fstat(fileno(out), &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0)
        return false;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    const bool ended = fd >= 0 && pread(fd, &last, 1, st.st_size - 1) == 1 && last == '\n';
    cm_fd_close(&fd);
    return !ended;
}

cm_err cm_bench_keep(const json_t *report, const char *path, struct cm_error *err)
{
    static const char *const common_names[] = { "at", "commit", "engine", "machine", "settings" };
    const json_t *results = json_object_get(report, "results");
    json_t *common = json_object();
    FILE *out = fopen(path, "ae");
    cm_err rc = CM_OK;

    for (size_t i = 0; i < CM_COUNT(common_names); i++)
        if (json_object_set(common, common_names[i], json_object_get(report, common_names[i])) != 0)
            rc = CM_E_NOMEM;
    if (rc != CM_OK)
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "no memory for the lines of %s", path);
    else if (out == NULL)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't open %s to keep the figures", path);
    else if (lacks_end(out, path))
        (void) fputc('\n', out); /* fclose tells */
    for (size_t i = 0; rc == CM_OK && i < json_array_size(results); i++)
        rc = keep_line(common, json_array_get(results, i), out, path, err);
    if (out != NULL && fclose(out) != 0 && rc == CM_OK)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't write to %s; its last line may be half", path);
    json_decref(common);
    return rc;
}
