#include "bench/csv.h"

#include "bench/json.h"
#include "bench/textfile.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Where a column's figure stands, and what it is called here: with its unit. */
struct column {
    const char *object; /* of the report: NULL: itself */
    const char *name, *column;
};

static const struct column common[] = {
    { NULL, "at", "at" },
    { NULL, "commit", "commit" },
    { NULL, "engine", "certmill_version" },
    { "machine", "build", "build" },
    { "machine", "processor", "processor" },
    { "machine", "processors", "usable_processors" },
    { "machine", "kernel", "kernel" },
    { "machine", "libcrypto", "libcrypto" },
    { "machine", "libc", "libc" },
    { "machine", "filesystem", "filesystem" },
    { "machine", "disk", "disk" },
    { "settings", "io", "io" },
    { "settings", "server", "server" },
    { "settings", "size", "size" },
    { "settings", "load", "load_before" },
};

static const struct column figures[] = {
    { NULL, "case", "case" },
    { NULL, "key", "key" },
    { NULL, "ca", "ca_key" },
    { NULL, "what", "what" },
    { NULL, "round", "round" },
    { NULL, "label", "label" },
    { NULL, "over", "over" },
    { NULL, "signature", "signature" },
    { NULL, "profile", "profile" },
    { NULL, "workers", "workers" },
    { NULL, "processors", "processors" },
    { NULL, "devices", "devices" },
    { NULL, "user_s", "user_s" },
    { NULL, "system_s", "system_s" },
    { NULL, "wall_s", "wall_s" },
    { NULL, "rate", "rate_per_processor_s" },
    { NULL, "rate_median", "rate_median_per_processor_s" },
    { NULL, "rate_min", "rate_min_per_processor_s" },
    { NULL, "rate_max", "rate_max_per_processor_s" },
    { NULL, "rate_mad", "rate_mad_per_processor_s" },
    { NULL, "rate_low", "rate_low_95_per_processor_s" },
    { NULL, "rate_high", "rate_high_95_per_processor_s" },
    { NULL, "floor", "floor_per_processor_s" },
    { NULL, "ratio", "ratio_to_floor" },
    { NULL, "ratio_min", "ratio_min_to_floor" },
    { NULL, "ratio_max", "ratio_max_to_floor" },
    { NULL, "ratio_mad", "ratio_mad_to_floor" },
    { NULL, "ratio_pooled", "ratio_pooled_to_floor" },
    { NULL, "ratio_low", "ratio_low_to_floor" },
    { NULL, "wall", "wall_per_s" },
    { NULL, "wall_min", "wall_min_per_s" },
    { NULL, "wall_max", "wall_max_per_s" },
    { NULL, "speedup", "speedup_times" },
    { NULL, "speedup_min", "speedup_min_times" },
    { NULL, "speedup_max", "speedup_max_times" },
    { NULL, "cpu_us", "processor_us_per_device" },
    { NULL, "cpu_us_min", "processor_us_min_per_device" },
    { NULL, "cpu_us_max", "processor_us_max_per_device" },
    { NULL, "step_us", "step_us_per_device" },
    { NULL, "step_us_min", "step_us_min_per_device" },
    { NULL, "step_us_max", "step_us_max_per_device" },
    { NULL, "own_us", "certmill_us_per_device" },
    { NULL, "own_us_min", "certmill_us_min_per_device" },
    { NULL, "own_us_max", "certmill_us_max_per_device" },
    { NULL, "server_us", "server_us_per_device" },
    { NULL, "server_us_min", "server_us_min_per_device" },
    { NULL, "server_us_max", "server_us_max_per_device" },
    { NULL, "system_percent", "system_percent" },
    { NULL, "generate_us", "generate_us" },
    { NULL, "sign_us", "sign_us" },
    { NULL, "keys", "keys" },
    { NULL, "signatures", "signatures" },
    { NULL, "chunks", "chunks" },
    { NULL, "samples", "samples" },
    { NULL, "batch", "batch_keys" },
    { NULL, "min_us", "key_min_us" },
    { NULL, "p50_us", "key_p50_us" },
    { NULL, "p90_us", "key_p90_us" },
    { NULL, "p95_us", "key_p95_us" },
    { NULL, "p99_us", "key_p99_us" },
    { NULL, "max_us", "key_max_us" },
    { NULL, "mean_us", "key_mean_us" },
    { NULL, "chain_bytes", "chain_bytes_per_device" },
    { NULL, "key_bytes", "key_bytes_per_device" },
    { NULL, "row_bytes", "row_bytes_per_device" },
    { NULL, "other_bytes", "other_bytes_per_device" },
    { NULL, "total_bytes", "total_bytes_per_device" },
    { NULL, "disk_bytes", "disk_bytes_per_device" },
    { NULL, "rss_kib", "peak_memory_kib" },
    { NULL, "verify_us", "verify_us" },
    { NULL, "mul_us", "mul_us" },
    { NULL, "floor_us", "floor_us_per_device" },
    { NULL, "times", "times_floor" },
    { NULL, "times_min", "times_min_floor" },
    { NULL, "times_max", "times_max_floor" },
};

/* Quotes where there is something to quote. */
static void put_text(const char *s, FILE *out)
{
    if (strpbrk(s, ",\"\r\n") == NULL) {
        (void) fputs(s, out);
        return;
    }
    (void) fputc('"', out);
    for (; *s != '\0'; s++) {
        if (*s == '"')
            (void) fputc('"', out);
        (void) fputc(*s, out);
    }
    (void) fputc('"', out);
}

static void put_value(const json_t *v, FILE *out)
{
    if (json_is_string(v))
        put_text(json_string_value(v), out);
    else if (json_is_integer(v))
        (void) fprintf(out, "%lld", (long long) json_integer_value(v));
    else if (json_is_real(v))
        (void) fprintf(out, "%.*g", CM_BENCH_DIGITS, json_real_value(v));
}

/* A figure of the round's, where there is a round, and else of the result's; the names are the result's. */
static void put_row(const json_t *report, const json_t *result, size_t round, FILE *out)
{
    static const char *const names[] = { "case",      "key",     "ca",      "what",
                                         "signature", "profile", "workers", "processors" };
    const json_t *run = round > 0 ? json_array_get(json_object_get(result, "runs"), round - 1) : NULL;

    for (size_t i = 0; i < CM_COUNT(common); i++) {
        const char *object = common[i].object;
        put_value(json_object_get(object != NULL ? json_object_get(report, object) : report, common[i].name),
                  out);
        (void) fputc(',', out);
    }
    for (size_t i = 0; i < CM_COUNT(figures); i++) {
        const char *name = figures[i].name;
        bool of_result = run == NULL;
        for (size_t k = 0; k < CM_COUNT(names); k++)
            of_result = of_result || strcmp(name, names[k]) == 0;
        if (i > 0)
            (void) fputc(',', out);
        if (round > 0 && strcmp(name, "round") == 0)
            (void) fprintf(out, "%zu", round);
        else
            put_value(json_object_get(of_result ? result : run, name), out);
    }
    (void) fputc('\n', out);
}

void cm_bench_csv(const json_t *report, FILE *out)
{
    const json_t *results = json_object_get(report, "results");

    for (size_t i = 0; i < CM_COUNT(common); i++)
        (void) fprintf(out, "%s,", common[i].column);
    for (size_t i = 0; i < CM_COUNT(figures); i++)
        (void) fprintf(out, "%s%s", i > 0 ? "," : "", figures[i].column);
    (void) fputc('\n', out);
    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *r = json_array_get(results, i);
        for (size_t round = 0; round <= json_array_size(json_object_get(r, "runs")); round++)
            put_row(report, r, round, out);
    }
}

enum { NAME_MAX_OCTETS = 58 }; /* what cm_file_replace can put .part behind */

/* The directory of a path, opened, and the rest of it. */
static cm_err open_parent(const char *path, char dir[PATH_MAX], const char **name, int *fd,
                          struct cm_error *err)
{
    const char *slash = strrchr(path, '/');
    const size_t len = slash == NULL ? 0 : slash == path ? 1 : (size_t) (slash - path);

    *name = slash != NULL ? slash + 1 : path;
    if (len >= PATH_MAX || (*name)[0] == '\0')
        CM_FAIL(err, CM_E_USAGE, "--csv %s is no file name", path);
    if (strlen(*name) > NAME_MAX_OCTETS)
        CM_FAIL(err, CM_E_USAGE, "--csv %s: take a name of at most %d octets", path, NAME_MAX_OCTETS);
    (void) snprintf(dir, PATH_MAX, "%.*s", len > 0 ? (int) len : 1, len > 0 ? path : ".");
    return cm_dir_open(dir, fd, err);
}

/* Where a path leads: real, behind all symlinks, is replaced as a whole; what is no regular file (a FIFO, a
 * device) is written into. */
static cm_err resolve(const char *path, char real[PATH_MAX], bool *into, struct cm_error *err)
{
    struct stat st;
    const bool there = stat(path, &st) == 0;

    *into = there && !S_ISREG(st.st_mode);
    if (there && (S_ISDIR(st.st_mode) || S_ISSOCK(st.st_mode)))
        CM_FAIL(err, CM_E_USAGE, "--csv %s is a %s; name a file", path,
                S_ISDIR(st.st_mode) ? "directory" : "socket");
    /* A link that leads nowhere is there for lstat, which leaves errno as stat set it. */
    if (!there && (errno != ENOENT || lstat(path, &st) == 0))
        CM_FAIL(err, CM_E_IO, "--csv %s leads to nothing that can be written", path);
    if (there && !*into && realpath(path, real) == NULL)
        CM_FAIL(err, CM_E_IO, "--csv %s leads to nothing that can be written", path);
    if ((!there || *into) && snprintf(real, PATH_MAX, "%s", path) >= PATH_MAX)
        CM_FAIL(err, CM_E_USAGE, "--csv: the path is too long; take a shorter one");
    return CM_OK;
}

cm_err cm_bench_csv_check(const char *path, struct cm_error *err)
{
    char real[PATH_MAX], dir[PATH_MAX];
    const char *name = NULL;
    bool into = false;
    int fd = -1;

    CM_TRY(resolve(path, real, &into, err));
    if (into) {
        if (access(path, W_OK) != 0)
            CM_FAIL(err, CM_E_IO, "--csv %s can't be written", path);
        return CM_OK;
    }
    CM_TRY(open_parent(real, dir, &name, &fd, err));
    cm_fd_close(&fd);
    if (access(dir, W_OK) != 0)
        CM_FAIL(err, CM_E_IO, "--csv %s: nothing can be written in %s", path, dir);
    return CM_OK;
}

/* Waits for a FIFO's reader, as every writer does; a signal ends that. */
static cm_err write_into(const json_t *report, const char *path, struct cm_error *err)
{
    int fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
    FILE *out = fd >= 0 ? fdopen(fd, "w") : NULL;

    if (out == NULL) {
        (void) cm_fail(err, CM_E_IO, CM_HERE, "--csv %s can't be opened", path);
        cm_fd_close(&fd);
        return CM_E_IO;
    }
    cm_bench_csv(report, out);
    const bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed)
        CM_FAIL(err, CM_E_IO, "--csv %s can't be written", path);
    return CM_OK;
}

static cm_err replace(const json_t *report, const char *path, struct cm_error *err)
{
    char dir[PATH_MAX];
    const char *name = NULL;
    struct cm_textfile text;
    int fd = -1;

    CM_TRY(open_parent(path, dir, &name, &fd, err));
    cm_err rc = cm_textfile_open(&text, err);
    if (rc == CM_OK) {
        cm_bench_csv(report, text.out);
        rc = cm_textfile_save(&text, fd, dir, name, err);
    }
    cm_fd_close(&fd);
    return rc;
}

cm_err cm_bench_csv_file(const json_t *report, const char *path, struct cm_error *err)
{
    char real[PATH_MAX];
    bool into = false;

    CM_TRY(resolve(path, real, &into, err));
    return into ? write_into(report, path, err) : replace(report, real, err);
}
