#include "bench/draw.h"

#include "bench/child.h"
#include "bench/json.h"
#include "bench/textfile.h"
#include "bench/texts.h"
#include "io/file.h"

#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const cm_draw_names[CM_DRAW_PLOTS + 1] = { "rates", "scale", "ladder", "keytime", NULL };

enum { CASES_MAX = 4, MEMBERS_MAX = 8 };

/* What goes into a plot's .dat: the results of these cases, a line each: the number of the row (a key,
 * with its CA), of the series in it, then these members. */
struct plot {
    const char *name;
    const char *of_case[CASES_MAX];
    const char *member[MEMBERS_MAX];
    bool with_ca, with_what; /* a row is a key and CA; a series is what differs in "what" */
    bool rsa;                /* RSA only, where there is any */
};

static const struct plot plots[CM_DRAW_PLOTS] = {
    { "rates",
      { "floor", "engine", "tar", "tree" },
      { "rate", "rate_min", "rate_max", "ratio", "ratio_min", "ratio_max" },
      true,
      false,
      false },
    { "scale",
      { "scale" },
      { "workers", "wall", "wall_min", "wall_max", "speedup", "speedup_min", "speedup_max" },
      false,
      true,
      false },
    { "ladder",
      { "ladder" },
      { "label", "cpu_us", "cpu_us_min", "cpu_us_max", "step_us", "wall", "wall_min", "wall_max" },
      false,
      true,
      false },
    { "keytime", { "keytime" }, { "what", "samples", "p50_us", "p90_us", "p99_us" }, false, true, true },
};

static const struct plot *plot_of(const char *name)
{
    size_t i = 0;

    while (strcmp(plots[i].name, name) != 0) {
        i++;
        CM_ASSERT(i < CM_DRAW_PLOTS);
    }
    return &plots[i];
}

static const char *word(const json_t *object, const char *name)
{
    const char *s = json_string_value(json_object_get(object, name));

    return s != NULL ? s : "";
}

/* --- which results --------------------------------------------------------- */

static bool is_rsa(const json_t *result)
{
    return strncmp(word(result, "key"), "RSA", 3) == 0;
}

static bool has_rsa(const json_t *results)
{
    for (size_t i = 0; i < json_array_size(results); i++)
        if (is_rsa(json_array_get(results, i)))
            return true;
    return false;
}

/* The number of the plot's case that a result belongs to; -1: to none. */
static int case_of(const struct plot *p, const json_t *result)
{
    for (int i = 0; i < CASES_MAX && p->of_case[i] != NULL; i++)
        if (strcmp(word(result, "case"), p->of_case[i]) == 0)
            return i;
    return -1;
}

bool cm_draw_has(const json_t *report, const char *name)
{
    const json_t *results = json_object_get(report, "results");

    for (size_t i = 0; i < json_array_size(results); i++)
        if (case_of(plot_of(name), json_array_get(results, i)) >= 0)
            return true;
    return false;
}

/* The numbers that stand for texts: those of the rows, and of the series. */
struct numbers {
    char text[CM_BENCH_KEYS_MAX * CM_BENCH_KEYS_MAX][48];
    size_t count;
};

static size_t number_of(struct numbers *n, const char *text)
{
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->text[i], text) == 0)
            return i;
    CM_ASSERT(n->count < CM_COUNT(n->text));
    (void) snprintf(n->text[n->count], sizeof n->text[0], "%s", text);
    return n->count++;
}

/* --- the data -------------------------------------------------------------- */

static void put_value(const json_t *v, FILE *out)
{
    if (json_is_string(v))
        (void) fprintf(out, "\t\"%s\"", json_string_value(v));
    else if (json_is_number(v))
        (void) fprintf(out, "\t%.*g", CM_BENCH_DIGITS, json_number_value(v));
    else
        (void) fputs("\tNaN", out);
}

/* The bins of a keytime result, in a block of its own behind the others: row, series, from, to, and the
 * share of the samples in percent. */
static void put_bins(const json_t *result, size_t row, size_t series, FILE *out)
{
    const json_t *bins = json_object_get(result, "histogram");
    const double samples = json_number_value(json_object_get(result, "samples"));

    for (size_t i = 0; i < json_array_size(bins); i++) {
        const json_t *bin = json_array_get(bins, i);
        (void) fprintf(out, "%zu\t%zu", row, series);
        put_value(json_object_get(bin, "from_us"), out);
        put_value(json_object_get(bin, "to_us"), out);
        (void) fprintf(out, "\t%.*g\n", CM_BENCH_DIGITS,
                       100 * json_number_value(json_object_get(bin, "samples")) / samples);
    }
}

/* One pass over the results: a line each, or its bins. A label is one word to gnuplot. */
static void put_results(const struct plot *p, const json_t *results, bool bins, struct numbers *rows,
                        struct numbers *series, FILE *out)
{
    const bool rsa = p->rsa && has_rsa(results);
    char label[48];

    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *r = json_array_get(results, i);
        const int of = case_of(p, r);
        if (of < 0 || (rsa && !is_rsa(r)))
            continue;
        (void) snprintf(label, sizeof label, "%.20s%s%.20s", word(r, "key"), p->with_ca ? "/" : "",
                        p->with_ca ? word(r, "ca") : "");
        const size_t row = number_of(rows, label);
        const size_t nth = number_of(series, p->with_what ? word(r, "what") : p->of_case[of]);
        if (bins) {
            put_bins(r, row, nth, out);
            continue;
        }
        (void) fprintf(out, "%zu\t%zu\t\"%s\"", row, nth, label);
        for (size_t m = 0; m < MEMBERS_MAX && p->member[m] != NULL; m++)
            put_value(json_object_get(r, p->member[m]), out);
        (void) fputc('\n', out);
    }
}

static void put_words(const char *name, const struct numbers *n, FILE *out)
{
    (void) fprintf(out, "%s = \"", name);
    for (size_t i = 0; i < n->count; i++)
        (void) fprintf(out, "%s%s", i > 0 ? " " : "", n->text[i]);
    (void) fputs("\"\n", out);
}

static cm_err write_script(const json_t *report, const struct plot *p, const struct numbers *rows,
                           const struct numbers *series, int dirfd, const char *dir, struct cm_error *err)
{
    const json_t *machine = json_object_get(report, "machine");
    struct cm_textfile text;
    char file[32];

    CM_TRY(cm_textfile_open(&text, err));
    (void) fprintf(text.out, "# Draws %s.png, or %s.svg: gnuplot -e \"kind = 'svg'\" %s.gp\nname = \"%s\"\n",
                   p->name, p->name, p->name, p->name);
    (void) fprintf(text.out, "rows = %zu\nseries = %zu\n", rows->count, series->count);
    put_words("row_names", rows, text.out);
    put_words("series_names", series, text.out);
    (void) fprintf(text.out, "where = \"%s, %s; commit %s\"\n", word(machine, "processor"),
                   word(machine, "libcrypto"), word(report, "commit"));
    (void) fputs(cm_bench_text_of("common"), text.out);
    (void) fputs(cm_bench_text_of(p->name), text.out);
    (void) snprintf(file, sizeof file, "%s.gp", p->name);
    return cm_textfile_save(&text, dirfd, dir, file, err);
}

cm_err cm_draw_write(const json_t *report, const char *name, int dirfd, const char *dir, struct cm_error *err)
{
    const struct plot *p = plot_of(name);
    const json_t *results = json_object_get(report, "results");
    static struct numbers rows, series; /* too large for a stack, and this is one thread's */
    struct cm_textfile text;
    char file[32];

    rows.count = series.count = 0;
    CM_TRY(cm_textfile_open(&text, err));
    (void) fputs("# row\tseries\tlabel", text.out);
    for (size_t m = 0; m < MEMBERS_MAX && p->member[m] != NULL; m++)
        (void) fprintf(text.out, "\t%s", p->member[m]);
    (void) fputc('\n', text.out);
    put_results(p, results, false, &rows, &series, text.out);
    if (strcmp(name, "keytime") == 0) {
        (void) fputs("\n\n# row\tseries\tfrom_us\tto_us\tpercent\n", text.out);
        put_results(p, results, true, &rows, &series, text.out);
    }
    (void) snprintf(file, sizeof file, "%s.dat", name);
    CM_TRY(cm_textfile_save(&text, dirfd, dir, file, err));
    return write_script(report, p, &rows, &series, dirfd, dir, err);
}

/* --- gnuplot --------------------------------------------------------------- */

bool cm_draw_possible(void)
{
    const char *path = getenv("PATH");
    char file[PATH_MAX];

    while (path != NULL && *path != '\0') {
        const size_t len = strcspn(path, ":");
        struct stat st;
        (void) snprintf(file, sizeof file, "%.*s/gnuplot", (int) len, path);
        if (len > 0 && access(file, X_OK) == 0 && stat(file, &st) == 0 && S_ISREG(st.st_mode))
            return true;
        path += len + (path[len] == ':');
    }
    return false;
}

/* Does the file end as its format does, and is it durable? gnuplot does not look at every write of its own.
 */
static bool is_whole(int dirfd, const char *name, const void *want, size_t len)
{
    uint8_t end[16];
    int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    const off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
    const bool same = size > (off_t) len && pread(fd, end, len, size - (off_t) len) == (ssize_t) len &&
                      memcmp(end, want, len) == 0 && fdatasync(fd) == 0;

    cm_fd_close(&fd);
    return same;
}

/* Draws one of the two files, and sees that it is whole. */
static cm_err draw(const char *name, const char *kind, const void *end, size_t end_len, int dirfd,
                   const char *dir, volatile sig_atomic_t *stop, struct cm_error *err)
{
    char script[32], file[32], set_kind[32];
    const char *const argv[] = { "gnuplot", "--default-settings", "-e", set_kind, script, NULL };
    const struct cm_child c = { .exe_fd = -1, .dir_fd = dirfd, .argv = argv, .stop = stop };
    struct cm_child_use use;

    (void) snprintf(script, sizeof script, "%s.gp", name);
    (void) snprintf(file, sizeof file, "%s.%s", name, kind);
    (void) snprintf(set_kind, sizeof set_kind, "kind = '%s'", kind);
    CM_TRY(cm_child_run(&c, &use, err));
    if (!is_whole(dirfd, file, end, end_len))
        CM_FAIL(err, CM_E_LIMIT, "gnuplot drew %s only in part in %s; is the disk full?", file, dir);
    return CM_OK;
}

cm_err cm_draw_run(const char *name, int dirfd, const char *dir, volatile sig_atomic_t *stop,
                   struct cm_error *err)
{
    /* ISO/IEC 15948, 11.2.5: the chunk that ends a PNG. */
    static const uint8_t png_end[] = { 0, 0, 0, 0, 'I', 'E', 'N', 'D', 0xae, 0x42, 0x60, 0x82 };
    static const char svg_end[] = "</svg>\n\n";

    CM_TRY(draw(name, "svg", svg_end, sizeof svg_end - 1, dirfd, dir, stop, err));
    return draw(name, "png", png_end, sizeof png_end, dirfd, dir, stop, err);
}
