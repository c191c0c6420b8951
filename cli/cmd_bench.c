#include "bench/bench.h"
#include "bench/csv.h"
#include "bench/draw.h"
#include "bench/json.h"
#include "bench/publish.h"
#include "bench/tables.h"
#include "cli/cmd.h"
#include "cli/cores.h"
#include "cli/msg.h"
#include "cli/signals.h"
#include "io/dburl.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

struct opts {
    struct cm_strs keys, cas, cases;
    const char *out, *to, *keep, *csv, *report;
    uint32_t runs, seconds, workers;
    uint64_t count;
    bool smoke, full;
};

#define OPT(field) offsetof(struct opts, field)

static const struct cm_arg args[] = {
    { "key", CM_ARG_STRS, OPT(keys), 0, 0, NULL, "ALG", "a device key algorithm, repeat it for more; all" },
    { "ca-key-alg", CM_ARG_STRS, OPT(cas), 0, 0, NULL, "ALG",
      "of the CA that signs, repeat it for more: each key with each CA; P-256" },
    { "case", CM_ARG_STRS, OPT(cases), 0, 0, NULL, "CASE",
      "floor, engine, tar, tree, scale, ladder, keytime, bytes, rss or verify, repeat it for more; floor, "
      "engine, "
      "tar, scale" },
    { "runs", CM_ARG_U32, OPT(runs), 1, CM_BENCH_RUNS_MAX, NULL, "N", "rounds; 5" },
    { "seconds", CM_ARG_U32, OPT(seconds), 1, 3600, NULL, "N",
      "about so long is each run, and each floor; 1" },
    { "count", CM_ARG_U64, OPT(count), 1, 1000000000, NULL, "N",
      "devices in each run; what --seconds asks for" },
    { "workers", CM_ARG_U32, OPT(workers), 1, 1024, NULL, "N", "of the runs on all processors; one a core" },
    { "full", CM_ARG_FLAG, OPT(full), 0, 0, NULL, NULL,
      "all cases, 7 rounds of 5 s, at least 400 RSA keys (100 of 4096 bits), rss up to 1,000,000 devices" },
    { "smoke", CM_ARG_FLAG, OPT(smoke), 0, 0, NULL, NULL,
      "does it work at all? P-256 and Ed25519, every case, in a few seconds, with figures that mean little" },
    { "out", CM_ARG_STR, OPT(out), 0, 0, NULL, "DIR",
      "where fleets are written, in a new directory that is removed; the current one" },
    { "to", CM_ARG_STR, OPT(to), 0, 0, NULL, "URL",
      "postgresql://…: the ladder has a rung for it, in databases that are made for that and dropped" },
    { "keep", CM_ARG_STR, OPT(keep), 0, 0, NULL, "FILE",
      "append a line for each result to FILE, such as bench/history.ndjson" },
    { "csv", CM_ARG_STR, OPT(csv), 0, 0, NULL, "FILE", "write all figures to FILE as CSV" },
    { "report", CM_ARG_STR, OPT(report), 0, 0, NULL, "DIR",
      "a page and plots into DIR, new or with an earlier report, of all cases but rss and verify" },
};

/* --- what was asked for -------------------------------------------------- */

static cm_err add_alg(const char *option, const char *name, const struct cm_keyalg **list, size_t *count,
                      struct cm_error *err)
{
    const struct cm_keyalg *alg = cm_keyalg_find(name);

    if (alg == NULL)
        CM_FAIL(err, CM_E_USAGE, "%s: no key algorithm \"%.60s\"; there are: %s", option, name,
                cm_keyalg_names());
    for (size_t i = 0; i < *count; i++)
        if (list[i] == alg)
            CM_FAIL(err, CM_E_USAGE, "%s: %s was given twice; say it once", option, alg->name);
    CM_ASSERT(*count < CM_BENCH_KEYS_MAX);
    list[(*count)++] = alg;
    return CM_OK;
}

static cm_err choose_keys(const struct opts *o, struct cm_bench_conf *c, struct cm_error *err)
{
    for (size_t i = 0; i < o->cas.count; i++)
        CM_TRY(add_alg("--ca-key-alg", o->cas.item[i], c->ca, &c->cas, err));
    if (o->cas.count == 0)
        CM_TRY(add_alg("--ca-key-alg", "P-256", c->ca, &c->cas, err));
    for (size_t i = 0; i < o->keys.count; i++)
        CM_TRY(add_alg("--key", o->keys.item[i], c->key, &c->keys, err));
    for (size_t i = 0; i < cm_keyalg_count() && o->keys.count == 0; i++) {
        const char *name = cm_keyalg_at(i)->name;
        if (!o->smoke || strcmp(name, "P-256") == 0 || strcmp(name, "Ed25519") == 0)
            CM_TRY(add_alg("--key", name, c->key, &c->keys, err));
    }
    return CM_OK;
}

static cm_err choose_cases(const struct opts *o, struct cm_bench_conf *c, struct cm_error *err)
{
    for (size_t i = 0; i < o->cases.count; i++) {
        const char *name = o->cases.item[i];
        size_t found = 0;
        while (found < CM_BENCH_CASES && strcasecmp(name, cm_bench_case_names[found]) != 0)
            found++;
        if (found == CM_BENCH_CASES) {
            const char *nearest = cm_args_nearest(name, cm_bench_case_names);
            CM_FAIL(err, CM_E_USAGE, "--case: no case \"%.60s\"; certmill help bench names them%s%s", name,
                    nearest != NULL ? "; did you mean " : "", nearest != NULL ? nearest : "");
        }
        c->wanted[found] = true;
    }
    c->wanted[CM_BENCH_FLOOR] = true;
    if (o->cases.count > 0)
        return CM_OK;
    const bool all = o->smoke || o->full, most = all || o->report != NULL;
    c->wanted[CM_BENCH_ENGINE] = c->wanted[CM_BENCH_TAR] = c->wanted[CM_BENCH_SCALE] = true;
    c->wanted[CM_BENCH_TREE] = most;
    c->wanted[CM_BENCH_LADDER] = most || o->to != NULL;
    c->wanted[CM_BENCH_KEYTIME] = c->wanted[CM_BENCH_BYTES] = most;
    c->wanted[CM_BENCH_RSS] = c->wanted[CM_BENCH_VERIFY] = all;
    return CM_OK;
}

static void choose_sizes(const struct opts *o, struct cm_bench_conf *c)
{
    c->size = o->smoke ? "smoke" : o->full ? "full" : "ordinary";
    c->runs = o->runs > 0 ? o->runs : o->smoke ? 2 : o->full ? 7 : 5;
    c->seconds = o->seconds > 0 ? o->seconds : o->smoke ? 0.05 : o->full ? 5 : 1;
    c->count = o->count > 0 ? o->count : o->smoke ? 100 : 0;
    c->rsa_keys = o->full ? 400 : 0;
    c->keytime_s = 20 * c->seconds;
    c->keytime_n = o->smoke ? 200 : o->full ? 10000 : 1000;
    c->rss[0] = o->smoke ? 100 : 20000;
    c->rss[1] = o->smoke ? 300 : o->full ? 1000000 : 100000;
}

/* The case that --to is for. */
static cm_err choose_server(const struct opts *o, struct cm_bench_conf *c, struct cm_error *err)
{
    char public[CM_DB_URL_MAX];
    enum cm_db_kind kind = CM_DB_SQLITE;

    if (o->to == NULL)
        return CM_OK;
    CM_TRY(cm_db_url_kind(o->to, "--to", &kind, err));
    if (kind != CM_DB_POSTGRESQL)
        CM_FAIL(err, CM_E_USAGE, "--to: the ladder has SQLite anyway; name a PostgreSQL: %s",
                cm_db_url_form(CM_DB_POSTGRESQL));
    CM_TRY(cm_db_url_public(o->to, "--to", public, sizeof public, err));
    if (!c->wanted[CM_BENCH_LADDER])
        CM_FAIL(err, CM_E_USAGE, "--to is for the ladder, and no --case is that; add --case ladder");
    c->to = o->to;
    return CM_OK;
}

static cm_err check_files(const struct opts *o, const struct cm_bench_conf *c, struct cm_error *err)
{
    struct stat st;

    if (stat(c->out, &st) != 0)
        CM_FAIL(err, CM_E_IO, "--out %s can't be used (make it, or name another)", c->out);
    if (!S_ISDIR(st.st_mode))
        CM_FAIL(err, CM_E_USAGE, "--out %s is no directory; name one that exists", c->out);
    if (o->keep != NULL) {
        /* Now, rather than when everything has been measured. */
        const int fd = open(o->keep, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
        if (fd < 0)
            CM_FAIL(err, CM_E_IO, "--keep %s can't be written", o->keep);
        (void) close(fd);
    }
    if (o->csv != NULL)
        CM_TRY(cm_bench_csv_check(o->csv, err));
    return o->report != NULL ? cm_publish_check(o->report, err) : CM_OK;
}

static cm_err choose(const struct opts *o, struct cm_bench_conf *c, struct cm_error *err)
{
    static struct cm_cores cores;

    if (o->smoke && o->full)
        CM_FAIL(err, CM_E_USAGE, "--smoke and --full contradict each other; leave one out");
    cm_cores_look(&cores);
    if (cores.count == 0)
        CM_FAIL(err, CM_E_LIMIT, "can't learn which processors may be used; look at: certmill doctor");
    c->cpus = cores.count;
    c->cpu = cores.cpu;
    c->scale_most = cm_cores_workers(&cores); /* no more than the cgroup allows, too */
    c->workers = o->workers > 0 ? o->workers : cm_cores_workers(&cores);
    c->out = o->out != NULL ? o->out : ".";
    choose_sizes(o, c);
    CM_TRY(choose_keys(o, c, err));
    CM_TRY(choose_cases(o, c, err));
    CM_TRY(choose_server(o, c, err));
    return check_files(o, c, err);
}

/* --- while it runs ------------------------------------------------------- */

static void show(void *arg, const char *doing)
{
    (void) arg;
    (void) fprintf(stderr, "\r\033[K%s", doing);
}

/* --- when it is over ----------------------------------------------------- */

static cm_err print_json(const json_t *report, struct cm_error *err)
{
    errno = 0;
    if (json_dumpf(report, stdout, JSON_COMPACT | JSON_REAL_PRECISION(CM_BENCH_DIGITS)) != 0 ||
        fputc('\n', stdout) == EOF)
        CM_FAIL(err, CM_E_IO, "can't write the result to standard output");
    return CM_OK;
}

/* The files that were asked for. Half a measurement can be kept, but makes no table and no page. */
static cm_err write_files(const struct opts *o, const struct cm_bench_report *r, const json_t *report,
                          struct cm_error *err)
{
    if (o->keep != NULL)
        CM_TRY(cm_bench_keep(report, o->keep, err));
    if (!r->complete)
        return CM_OK;
    if (o->csv != NULL)
        CM_TRY(cm_bench_csv_file(report, o->csv, err));
    if (o->report != NULL)
        CM_TRY(cm_publish(report, o->report, r->conf->stop, err));
    return CM_OK;
}

static cm_err tell(const struct opts *o, const struct cm_bench_report *r, const struct cm_common *common,
                   struct cm_error *err)
{
    json_t *report = cm_bench_json(r);
    cm_err rc = CM_OK;

    if (report == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the result");
    const bool some = json_array_size(json_object_get(report, "results")) > 0;
    if (common->json)
        rc = print_json(report, err);
    else if (some)
        cm_bench_print(report, stdout);
    if (rc == CM_OK && some)
        rc = write_files(o, r, report, err);
    const bool busy = cm_bench_busy(report);
    json_decref(report);
    if (rc == CM_OK && r->complete && o->report != NULL && !common->quiet)
        cm_msg_note("the report: %s/index.html", o->report);
    if (!common->quiet && busy)
        cm_msg_note("the machine was busy before the first run (load %.2f): wall-clock figures are too low",
                    r->machine.load);
    return rc;
}

/* What a signal left, and what not. */
static void tell_stop(const struct opts *o, const struct cm_bench_report *r, int number)
{
    size_t done = 0;

    for (size_t i = 0; i < r->pairs; i++)
        done += r->pair[i].done;
    cm_msg_note("interrupted by SIG%s%s; %zu of %zu pairs of a key and a CA were measured to the end%s%s%s",
                sigabbrev_np(number), r->left[0] == '\0' ? ": all that was made to measure is removed" : "",
                done, r->conf->keys * r->conf->cas, done > 0 && o->keep != NULL ? ", and kept in " : "",
                done > 0 && o->keep != NULL ? o->keep : "",
                o->report != NULL                ? "; no report was written"
                : o->csv != NULL && !r->complete ? "; no CSV was written"
                                                 : "");
}

static cm_err bench(const struct opts *o, struct cm_bench_conf *c, const struct cm_common *common,
                    struct cm_bench_report *r, struct cm_error *err)
{
    const bool shown = !common->quiet && isatty(STDERR_FILENO) == 1;
    struct cm_error late = { 0 };
    cm_err rc = CM_OK, after = CM_OK;

    c->stop = &cm_signals_arrived;
    c->say = shown ? show : NULL;
    if (o->report != NULL && !cm_draw_possible())
        cm_msg_note("no gnuplot in PATH: the report will have tables and no plots (Debian: apt-get install "
                    "gnuplot-nox)");
    cm_signals_catch();
    rc = cm_bench(c, r, err);
    if (shown)
        (void) fputs("\r\033[K", stderr);
    /* What was measured until then is worth having after a failure too. */
    after = tell(o, r, common, &late);
    if (r->left[0] != '\0')
        cm_msg_note("%s", r->left);
    if (rc == CM_OK && after != CM_OK) {
        rc = after;
        *err = late;
    }
    if (rc == CM_E_CLOSED)
        tell_stop(o, r, err->os);
    if (rc == CM_OK && r->left[0] != '\0') {
        *err = (struct cm_error) { .code = CM_E_LIMIT }; /* the note has said it */
        rc = CM_E_LIMIT;
    }
    return rc;
}

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    const struct opts *o = opts;
    struct cm_bench_conf c = { 0 };
    struct cm_bench_report *r = NULL;
    cm_err rc = CM_OK;

    (void) operands;
    CM_TRY(choose(o, &c, err));
    r = calloc(1, sizeof *r);
    if (r == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the figures");
    rc = bench(o, &c, common, r, err);
    cm_bench_done(r);
    free(r);
    return rc;
}

const struct cm_cmd cm_cmd_bench = {
    .name = "bench",
    .usage = "[--key ALG]… [--ca-key-alg ALG]… [--case CASE]… [--full|--smoke] [--report DIR] [OPTIONS]",
    .summary = "measure certmill here against what libcrypto needs at least",
    .notes =
        "The floor is 1 / (mean EVP_PKEY_generate + mean EVP_PKEY_sign) of one core. engine, tar and tree "
        "are\n"
        "certificates per processor-second (user + system of a whole `certmill mint` process) and their\n"
        "ratio to the floor of the same round; scale is certificates per second by 1, 2, 4 … workers on as\n"
        "many processors; ladder is what each way to store the fleet adds (first --key, first CA), and what "
        "a\n"
        "row costs to load into a database, over all processes, PostgreSQL's where --to names one; keytime "
        "is\n"
        "the percentiles of single keys' times; bytes is what a device takes on disk; rss is the peak "
        "memory\n"
        "of two sizes; verify is what `certmill verify` takes a device, and how often that is "
        "EVP_PKEY_verify\n"
        "+ EC_POINT_mul. Plots are drawn by gnuplot. bench/README.md tells more;\n"
        "bench/compare and bench/history read what --keep has kept.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .operands_max = 0,
    .run = run,
};
