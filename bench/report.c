#include "bench/bench.h"

#include <string.h>

/* report.c - the tables. A row is a key algorithm, a table is a case; units stand in
 * the header, what lies between [ ] is the least and the most of the rounds. */
struct text {
    char at[32];
};

/* 21,050 from a hundred on, three digits below: 0.312, 7.85, 64.2. */
static struct text number(double v)
{
    struct text t, plain;
    size_t n = 0;

    if (v < 99.95) {
        (void) snprintf(t.at, sizeof t.at, "%.*f", v < 0.9995 ? 3 : v < 9.995 ? 2 : 1, v);
        return t;
    }
    (void) snprintf(plain.at, sizeof plain.at, "%.0f", v < 1e15 ? v : 1e15);
    const size_t len = strlen(plain.at);
    for (size_t i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            t.at[n++] = ',';
        t.at[n++] = plain.at[i];
    }
    t.at[n] = '\0';
    return t;
}

static struct text whole(uint64_t n)
{
    struct text t = number((double) n);

    if (n < 100)
        (void) snprintf(t.at, sizeof t.at, "%u", (unsigned) n);
    return t;
}

static struct text range(double min, double max)
{
    struct text t;

    (void) snprintf(t.at, sizeof t.at, "[%.3f-%.3f]", min, max);
    return t;
}

static struct text rates(double min, double max)
{
    struct text t;

    (void) snprintf(t.at, sizeof t.at, "[%.12s-%.12s]", number(min).at, number(max).at);
    return t;
}

static void print_heading(const struct cm_bench_report *r, FILE *out)
{
    const struct cm_machine *m = &r->machine;
    const struct cm_bench_conf *c = r->conf;

    (void) fprintf(out, "certmill %s, commit %s, %s; %s\n", m->version, m->commit, m->build, m->libcrypto);
    (void) fprintf(out, "%s, %zu of %ld processors; %s; load %.2f before; %s\n", m->processor, m->cpus,
                   m->online, m->kernel, m->load, m->at);
    if (r->io[0] != '\0')
        (void) fprintf(out, "%s on %s, segments by %s%s%s\n", m->filesystem, m->disk, r->io,
                       r->io_note[0] != '\0' ? ": " : "", r->io_note);
    (void) fprintf(out, "CA key %s%s%s; %s size: %u rounds", c->ca->name, r->signature != NULL ? ", " : "",
                   r->signature != NULL ? r->signature : "", c->size, c->runs);
    if (c->count > 0)
        (void) fprintf(out, " of %llu devices", (unsigned long long) c->count);
    (void) fprintf(out, ", %.3g s each\n", c->seconds);
}

static void print_floor(const struct cm_bench_report *r, FILE *out)
{
    (void) fprintf(out, "\nFLOOR of one core: EVP_PKEY_generate + EVP_PKEY_sign, nothing else\n");
    (void) fprintf(out, "%-9s %12s %10s %12s %12s  %-21s %9s\n", "key", "generate", "sign", "floor", "median",
                   "chunks", "keys");
    (void) fprintf(out, "%-9s %12s %10s %12s %12s  %-21s %9s\n", "", "us", "us", "cert/cpu-s", "cert/cpu-s",
                   "[least-most]", "made");
    for (size_t i = 0; i < r->keys; i++) {
        const struct cm_bench_key *k = &r->key[i];
        if (!k->done)
            continue;
        (void) fprintf(out, "%-9s %12s %10s %12s %12s  %-21s %9s\n", k->alg->name,
                       number(1e6 * k->total.key_s / (double) k->total.keys).at,
                       number(1e6 * k->total.sign_s / (double) k->total.signs).at,
                       number(cm_floor_rate(&k->total)).at, number(k->floor.median).at,
                       rates(k->floor.min, k->floor.max).at, whole(k->total.keys).at);
    }
}

/* RSA only: of the others so many keys are made that the interval is not worth a line. */
static void print_rsa(const struct cm_bench_report *r, FILE *out)
{
    for (size_t i = 0; i < r->keys; i++) {
        const struct cm_bench_key *k = &r->key[i];
        const struct cm_interval f = cm_floor_interval(&k->total);
        if (!k->done || f.low >= f.high)
            continue;
        (void) fprintf(out,
                       "\n%s: floor %.12s, 95 %% interval %s of %s keys; ratio at its low end:", k->alg->name,
                       number(f.mean).at, rates(f.low, f.high).at, whole(k->total.keys).at);
        for (size_t m = 0; m < CM_MODES; m++)
            if (k->mode[m].count > 0)
                (void) fprintf(out, " %s %.3f", cm_bench_mode_name((enum cm_bench_mode) m),
                               k->mode[m].pooled_low);
        (void) fputc('\n', out);
    }
}

static void print_mode(const struct cm_bench_report *r, enum cm_bench_mode mode, const char *title, FILE *out)
{
    (void) fprintf(out, "\n%s, %u worker%s\n", title, r->conf->workers, r->conf->workers == 1 ? "" : "s");
    (void) fprintf(out, "%-9s %12s %12s %8s  %-15s %8s %12s %9s\n", "key", "certmill", "floor", "ratio",
                   "rounds", "system", "wall", "devices");
    (void) fprintf(out, "%-9s %12s %12s %8s  %-15s %8s %12s %9s\n", "", "cert/cpu-s", "cert/cpu-s",
                   "to floor", "[least-most]", "% of cpu", "cert/s", "a round");
    for (size_t i = 0; i < r->keys; i++) {
        const struct cm_bench_series *s = &r->key[i].mode[mode];
        double system = 0, all = 0;
        if (!r->key[i].done)
            continue;
        for (size_t j = 0; j < s->count; j++) {
            system += s->run[j].system_s;
            all += s->run[j].system_s + s->run[j].user_s;
        }
        (void) fprintf(out, "%-9s %12s %12s %8.3f  %-15s %8.1f %12s %9s\n", r->key[i].alg->name,
                       number(s->rate.median).at, number(s->floor.median).at, s->ratio.median,
                       range(s->ratio.min, s->ratio.max).at, 100 * system / all, number(s->wall.median).at,
                       whole(s->run[0].devices).at);
    }
}

static void print_wall(const struct cm_bench_report *r, FILE *out)
{
    const unsigned n = r->conf->workers;
    char all[32];

    (void) snprintf(all, sizeof all, "%u worker%s", n, n == 1 ? "" : "s");
    (void) fprintf(out, "\nWALL CLOCK, tar on disk: one worker on processor %d, and %u on %zu\n",
                   r->conf->cpu, n, r->conf->cpus);
    (void) fprintf(out, "%-9s %12s %8s %14s %9s  %-17s %9s\n", "key", "1 worker", "ratio", all, "speed-up",
                   "rounds", "devices");
    (void) fprintf(out, "%-9s %12s %8s %14s %9s  %-17s %9s\n", "", "cert/s", "to floor", "cert/s", "times",
                   "[least-most]", "1 worker");
    for (size_t i = 0; i < r->keys; i++) {
        const struct cm_bench_key *k = &r->key[i];
        if (!k->done)
            continue;
        (void) fprintf(out, "%-9s %12s %8.3f %14s %9.2f  %-17s %9s\n", k->alg->name,
                       number(k->mode[CM_MODE_ONE].wall.median).at, k->mode[CM_MODE_ONE].ratio.median,
                       number(k->mode[CM_MODE_TAR].wall.median).at, k->speedup.median,
                       range(k->speedup.min, k->speedup.max).at,
                       whole(k->mode[CM_MODE_ONE].run[0].devices).at);
    }
}

static void print_rss(const struct cm_bench_report *r, FILE *out)
{
    (void) fprintf(out, "\nMEMORY, tar on disk, %u workers\n", r->conf->workers);
    (void) fprintf(out, "%-9s %12s %12s %12s\n", "key", "devices", "peak", "wall");
    (void) fprintf(out, "%-9s %12s %12s %12s\n", "", "", "MiB", "s");
    for (size_t i = 0; i < r->rss_count; i++)
        (void) fprintf(out, "%-9s %12s %12.1f %12.1f\n", r->rss_alg->name, whole(r->rss[i].devices).at,
                       (double) r->rss[i].rss_kib / 1024, r->rss[i].wall_s);
    if (r->rss_alg == NULL)
        (void) fprintf(out, "not measured: RSA only; add --key P-256\n");
}

static void print_check(const struct cm_bench_report *r, FILE *out)
{
    const struct cm_bench_check *c = &r->check;

    (void) fprintf(out,
                   "\nVERIFY, every signature and every key pair of a tar fleet, %u workers; floor of a "
                   "device: EVP_PKEY_verify +\nEC_POINT_mul\n",
                   r->conf->workers);
    (void) fprintf(out, "%-9s %12s %9s %9s %12s %8s  %-15s %12s %9s\n", "key", "certmill", "verify", "mul",
                   "floor", "times", "rounds", "wall", "peak");
    (void) fprintf(out, "%-9s %12s %9s %9s %12s %8s  %-15s %12s %9s\n", "", "us of cpu", "us", "us",
                   "us of cpu", "floor", "[least-most]", "devices/s", "MiB");
    if (c->count == 0) {
        (void) fprintf(out, "not measured: it takes EC device keys and a CA key that is not Ed25519\n");
        return;
    }
    (void) fprintf(out, "%-9s %12s %9s %9s %12s %8.3f  %-15s %12s %9.1f\n", c->alg->name,
                   number(1e6 / c->rate.median).at,
                   number(1e6 * c->total.verify_s / (double) c->total.devices).at,
                   number(1e6 * c->total.mul_s / (double) c->total.devices).at,
                   number(1e6 / c->floor.median).at, c->times.median, range(c->times.min, c->times.max).at,
                   number(c->wall.median).at, (double) c->run[c->count - 1].rss_kib / 1024);
}

/* One RSA key may take five times as long as another. */
static bool scattered(const struct cm_bench_report *r)
{
    for (size_t i = 0; i < r->keys; i++)
        if (r->key[i].done && r->key[i].alg->family == CM_KEYFAM_RSA && r->key[i].total.keys < 100)
            return true;
    return false;
}

void cm_bench_print(const struct cm_bench_report *r, FILE *out)
{
    const bool *wanted = r->conf->wanted;

    print_heading(r, out);
    if (r->keys > 0 && r->key[0].done) {
        print_floor(r, out);
        if (wanted[CM_BENCH_ENGINE])
            print_mode(r, CM_MODE_ENGINE, "ENGINE, --layout none: nothing is written", out);
        if (wanted[CM_BENCH_TAR])
            print_mode(r, CM_MODE_TAR, "TAR, on disk and durable", out);
        if (wanted[CM_BENCH_TREE])
            print_mode(r, CM_MODE_TREE, "TREE, two files a device, on disk and durable", out);
        if (wanted[CM_BENCH_WALL])
            print_wall(r, out);
        print_rsa(r, out);
    }
    if (wanted[CM_BENCH_RSS] && (r->rss_count > 0 || r->complete))
        print_rss(r, out);
    if (wanted[CM_BENCH_VERIFY] && (r->check.count > 0 || r->complete))
        print_check(r, out);
    if (scattered(r))
        (void) fprintf(out,
                       "\nThe time of an RSA key is a matter of luck: with so few of them the RSA ratios say "
                       "little (--full).");
    (void) fprintf(out,
                   "\ncert/cpu-s: certificates per processor-second, user + system of the whole process. "
                   "Medians of the rounds;\nratio: each run over the floor of its own round.\n");
}
