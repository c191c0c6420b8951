#include "bench/stage.h"

#include "bench/child.h"
#include "io/file.h"

#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <stdarg.h>
#include <string.h>

/* What a device takes on disk, with its row and its place in the index: about 4 KiB,
 * more for RSA keys; a file of its own takes whole blocks. */
enum { DEVICE_BYTES = 8192, ARGV_MAX = 32, NAME = CM_PLACE_NAME + 64 };

const char *cm_stage_profile(const struct cm_keyalg *key, const struct cm_keyalg *ca)
{
    return key->family == CM_KEYFAM_ED25519 || ca->family == CM_KEYFAM_ED25519 ? "tls-client" : "aws-iot";
}

void cm_bench_say(const struct cm_bench_conf *c, const char *fmt, ...)
{
    char text[160];
    va_list ap;

    if (c->say == NULL)
        return;
    va_start(ap, fmt);
    (void) vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->say(c->say_arg, text);
}

static struct cm_child child(const struct cm_stage *s, const char *const *argv)
{
    return (
        struct cm_child) { .exe_fd = s->exe_fd, .dir_fd = s->place.fd, .argv = argv, .stop = s->conf->stop };
}

static cm_err make_ca(const struct cm_stage *s, const struct cm_keyalg *ca, struct cm_error *err)
{
    char dir[NAME];
    const char *const argv[] = { "certmill", "ca", "init", "--out", dir, "--key", ca->name, "--quiet", NULL };
    const struct cm_child c = child(s, argv);
    struct cm_child_use use;

    (void) snprintf(dir, sizeof dir, "ca-%s", ca->name);
    return cm_child_run(&c, &use, err);
}

cm_err cm_stage_open(struct cm_stage *s, const struct cm_bench_conf *conf, struct cm_bench_report *r,
                     struct cm_error *err)
{
    *s = (struct cm_stage) { .conf = conf, .exe_fd = -1, .report = r };
    s->exe_fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    if (s->exe_fd < 0)
        CM_FAIL(err, CM_E_IO, "can't open this very program (/proc/self/exe) to run it; is /proc mounted?");
    s->open = true;
    if (conf->to != NULL) {
        CM_TRY(cm_server_open(conf->to, &s->server, err));
        (void) snprintf(r->server, sizeof r->server, "PostgreSQL %s",
                        cm_pgscratch_version(s->server.scratch));
        (void) snprintf(r->server_note, sizeof r->server_note, "%s", s->server.why);
    }
    CM_TRY(cm_place_open(conf->out, &s->place, err));
    for (size_t i = 0; i < conf->cas; i++)
        CM_TRY(make_ca(s, conf->ca[i], err));
    return CM_OK;
}

cm_err cm_stage_close(struct cm_stage *s, struct cm_error *err)
{
    if (!s->open)
        return CM_OK;
    struct cm_error late = { 0 };
    cm_fd_close(&s->exe_fd);
    s->open = false;
    const cm_err rc = cm_server_close(&s->server, &late);
    const cm_err placed = cm_place_close(&s->place, err);
    if (rc == CM_OK)
        return placed;
    if (placed != CM_OK)
        CM_FAIL(err, placed, "%.200s; %.250s", err->what, late.what);
    *err = late;
    return rc;
}

static cm_err check_count(const struct cm_child *c, uint64_t devices, json_int_t got, struct cm_error *err)
{
    if (got < 0 || (uint64_t) got != devices)
        CM_FAIL(err, CM_E_LIMIT,
                "certmill %s was given %llu devices and reports %lld; run it by hand with --json", c->argv[1],
                (unsigned long long) devices, (long long) got);
    return CM_OK;
}

/* The child's own count must be ours; for a tar, how it was written goes into the report. */
static cm_err read_result(struct cm_stage *s, const struct cm_child *c, const char *count, uint64_t devices,
                          bool tar, struct cm_error *err)
{
    json_t *json = NULL;
    const char *io = NULL, *note = NULL;
    json_int_t got = -1;

    CM_TRY(cm_child_json(c, &json, err));
    (void) json_unpack(json, "{s?I s?s s?s}", count, &got, "io", &io, "io_note", &note);
    if (tar && io != NULL)
        (void) snprintf(s->report->io, sizeof s->report->io, "%s", io);
    if (tar && note != NULL)
        (void) snprintf(s->report->io_note, sizeof s->report->io_note, "%s", note);
    json_decref(json);
    return check_count(c, devices, got, err);
}

static cm_err figures(const struct cm_child_use *use, uint64_t devices, struct cm_bench_run *out,
                      struct cm_error *err)
{
    const double cpu = use->user_s + use->system_s;

    if (cpu <= 0 || use->wall_s <= 0)
        CM_FAIL(err, CM_E_LIMIT, "the kernel counted no time for %llu devices; take more with --count",
                (unsigned long long) devices);
    *out = (struct cm_bench_run) { .devices = devices,
                                   .user_s = use->user_s,
                                   .system_s = use->system_s,
                                   .wall_s = use->wall_s,
                                   .rate = (double) devices / cpu,
                                   .wall = (double) devices / use->wall_s,
                                   .rss_kib = use->rss_kib };
    return CM_OK;
}

/* What a rung says, with the fleet's name in the place of {fleet}; or the server's URL. */
static const char *fill_in(const struct cm_stage *s, const char *option, char out[NAME])
{
    static const char mark[] = "{fleet}";
    const char *at = strstr(option, mark), *fleet = s->fleet;

    if (strcmp(option, CM_RUNG_SERVER) == 0)
        return cm_pgscratch_url(s->server.scratch);
    if (at == NULL)
        (void) snprintf(out, NAME, "%s", option);
    else
        (void) snprintf(out, NAME, "%.*s%s%s", (int) (at - option), option, fleet, at + sizeof mark - 1);
    return out;
}

void cm_stage_drop_fleets(struct cm_stage *s)
{
    if (s->open)
        cm_place_drop_all(&s->place);
    s->fleet[0] = '\0';
}

static cm_err make_room(struct cm_stage *s, const struct cm_stage_mint *what, struct cm_error *err)
{
    char name[NAME];

    if (s->fleet[0] != '\0' && !s->many_files)
        cm_place_drop(&s->place, s->fleet);
    s->fleet[0] = '\0';
    if (!what->rung->stored)
        return CM_OK;
    (void) snprintf(name, sizeof name, "%s-%s", what->key->name, what->rung->name);
    s->many_files = what->rung == &cm_rungs[CM_RUNG_TREE];
    return cm_place_fleet(&s->place, name, what->devices * DEVICE_BYTES, s->fleet, err);
}

cm_err cm_stage_mint(struct cm_stage *s, const struct cm_stage_mint *what, struct cm_bench_run *out,
                     struct cm_error *err)
{
    char count[24], workers[12], cert[NAME], key[NAME], option[CM_RUNG_OPTIONS][NAME];
    const char *argv[ARGV_MAX] = {
        "certmill", "mint",  "--ca",          cert,        "--ca-key",
        key,        "--key", what->key->name, "--profile", cm_stage_profile(what->key, what->ca),
        "--count",  count,   "--workers",     workers,     "--json",
        "--quiet"
    };
    size_t n = 16;
    struct cm_child_use use = { 0 };

    (void) snprintf(count, sizeof count, "%llu", (unsigned long long) what->devices);
    (void) snprintf(workers, sizeof workers, "%u", what->workers);
    (void) snprintf(cert, sizeof cert, "ca-%s/ca.pem", what->ca->name);
    (void) snprintf(key, sizeof key, "ca-%s/ca.key", what->ca->name);
    CM_TRY(make_room(s, what, err));
    if (what->rung->stored) {
        argv[n++] = "--out";
        argv[n++] = s->fleet;
        argv[n++] = "--plaintext-keys";
    }
    if (what->rung->server)
        CM_TRY(cm_pgscratch_make(s->server.scratch, err));
    for (size_t i = 0; i < CM_RUNG_OPTIONS && what->rung->option[i] != NULL; i++)
        argv[n++] = fill_in(s, what->rung->option[i], option[i]);
    CM_ASSERT(n < ARGV_MAX);
    struct cm_child c = child(s, argv);
    CM_ASSERT(what->cpus <= s->conf->cpus);
    c.cpus = s->conf->cpu + s->conf->cpus - what->cpus;
    c.cpu_count = what->cpus;
    CM_TRY(cm_child_run(&c, &use, err));
    CM_TRY(read_result(s, &c, "devices", what->devices, what->rung == &cm_rungs[CM_RUNG_TAR], err));
    if (what->rung->server)
        CM_TRY(cm_pgscratch_drop(s->server.scratch, err));
    return figures(&use, what->devices, out, err);
}

cm_err cm_stage_verify(struct cm_stage *s, uint64_t devices, struct cm_bench_run *out, struct cm_error *err)
{
    char workers[12];
    const char *const argv[] = { "certmill", "verify", s->fleet,  "--workers",
                                 workers,    "--json", "--quiet", NULL };
    const struct cm_child c = child(s, argv);
    struct cm_child_use use = { 0 };

    (void) snprintf(workers, sizeof workers, "%u", s->conf->workers);
    CM_TRY(cm_child_run(&c, &use, err));
    CM_TRY(read_result(s, &c, "checked", devices, false, err));
    return figures(&use, devices, out, err);
}

static cm_err load(struct cm_stage *s, const char *to, uint64_t devices, struct cm_child_use *use,
                   struct cm_error *err)
{
    const char *const argv[] = { "certmill", "load", s->fleet, "--to", to, "--json", "--quiet", NULL };
    const struct cm_child c = child(s, argv);
    json_t *json = NULL;
    json_int_t rows = -1;

    CM_TRY(cm_child_run(&c, use, err));
    CM_TRY(cm_child_json(&c, &json, err));
    (void) json_unpack(json, "{s:[{s:I}]}", "databases", "rows", &rows);
    json_decref(json);
    return check_count(&c, devices, rows, err);
}

cm_err cm_stage_load(struct cm_stage *s, const struct cm_rung *rung, uint64_t devices,
                     struct cm_bench_load *out, struct cm_error *err)
{
    struct cm_child_use use = { 0 };
    char to[NAME];
    double before = 0, after = 0;

    if (rung->server) {
        CM_TRY(cm_pgscratch_make(s->server.scratch, err));
        CM_TRY(cm_server_cpu(&s->server, &before, err));
    }
    CM_TRY(load(s, fill_in(s, rung->load, to), devices, &use, err));
    if (rung->server) {
        CM_TRY(cm_server_cpu(&s->server, &after, err));
        CM_TRY(cm_pgscratch_drop(s->server.scratch, err));
    }
    *out = (struct cm_bench_load) { .rows = devices,
                                    .own_s = use.user_s + use.system_s,
                                    .wall_s = use.wall_s,
                                    .server_s = before < 0 ? -1 : after - before };
    return CM_OK;
}

/* nftw hands its callback nothing of the caller's. */
static struct cm_bench_bytes *counted;

static int count_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    const uint64_t octets = kind == FTW_F ? (uint64_t) st->st_size : 0;
    const char *name = path + ftw->base;

    if (strstr(path, "/chains/") != NULL)
        counted->chains += octets;
    else if (strstr(path, "/keys/") != NULL)
        counted->keys += octets;
    else if (strcmp(name, "manifest.ndjson") == 0)
        counted->manifest += octets;
    else
        counted->other += octets;
    counted->blocks += 512 * (uint64_t) st->st_blocks;
    return kind == FTW_DNR || kind == FTW_NS ? -1 : 0;
}

cm_err cm_stage_measure(const struct cm_stage *s, struct cm_bench_bytes *out, struct cm_error *err)
{
    char path[PATH_MAX + CM_PLACE_NAME];

    (void) snprintf(path, sizeof path, "%s/%s", s->place.path, s->fleet);
    counted = out;
    if (nftw(path, count_one, 16, FTW_PHYS) != 0)
        CM_FAIL(err, CM_E_IO, "can't look at all files of %s", path);
    return CM_OK;
}
