#include "bench/page.h"

#include "bench/draw.h"
#include "bench/json.h"
#include "bench/tables.h"
#include "bench/textfile.h"
#include "bench/texts.h"
#include "io/file.h"

#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void put_text(const char *s, FILE *out)
{
    for (; *s != '\0'; s++) {
        if (*s == '&')
            (void) fputs("&amp;", out);
        else if (*s == '<')
            (void) fputs("&lt;", out);
        else if (*s == '>')
            (void) fputs("&gt;", out);
        else if (*s == '"')
            (void) fputs("&quot;", out);
        else
            (void) fputc(*s, out);
    }
}

/* Units are ASCII on terminals. */
static void put_unit(const char *unit, FILE *out)
{
    const bool micro = strncmp(unit, "us", 2) == 0;

    put_text(micro ? "µs" : "", out);
    put_text(micro ? unit + 2 : unit, out);
}

/* --- plots ----------------------------------------------------------------- */

/* gnuplot gives the same names to parts of every picture; in one page each has to have its own. */
static void put_svg(const char *svg, const char *name, FILE *out)
{
    static const char *const before[] = { " id='", " id=\"", "href='#", "url(#" };
    const char *at = strstr(svg, "<svg");

    while (at != NULL && *at != '\0') {
        size_t i = 0;
        while (i < CM_COUNT(before) && strncmp(at, before[i], strlen(before[i])) != 0)
            i++;
        if (i == CM_COUNT(before)) {
            (void) fputc(*at++, out);
            continue;
        }
        (void) fprintf(out, "%s%s-", before[i], name);
        at += strlen(before[i]);
    }
}

static cm_err put_plot(const char *name, int dirfd, const char *dir, const char *caption, FILE *out,
                       struct cm_error *err)
{
    enum { SVG_MAX = 16 << 20 };
    char file[32], *svg = NULL;
    struct stat st = { 0 };
    cm_err rc = CM_OK;

    (void) snprintf(file, sizeof file, "%s.svg", name);
    int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_size > SVG_MAX)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't read %s in %s", file, dir);
    else
        svg = calloc((size_t) st.st_size + 1, 1);
    if (rc == CM_OK && svg == NULL)
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "no memory for %s", file);
    if (rc == CM_OK && pread(fd, svg, (size_t) st.st_size, 0) != st.st_size)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't read %s in %s", file, dir);
    if (rc == CM_OK) {
        (void) fputs("<figure role=\"img\" aria-label=\"", out);
        put_text(caption, out);
        (void) fputs("\">\n", out);
        put_svg(svg, name, out);
        (void) fputs("</figure>\n", out);
    }
    cm_fd_close(&fd);
    free(svg);
    return rc;
}

/* --- tables ---------------------------------------------------------------- */

static bool belongs(const json_t *result, const struct cm_table *t)
{
    const char *of = json_string_value(json_object_get(result, "case"));

    return of != NULL && strcmp(of, t->of_case) == 0;
}

static bool has_rows(const json_t *results, const struct cm_table *t)
{
    for (size_t i = 0; i < json_array_size(results); i++)
        if (belongs(json_array_get(results, i), t))
            return true;
    return false;
}

static void put_head(const struct cm_table *t, FILE *out)
{
    (void) fputs("<thead><tr>", out);
    for (size_t c = 0; c < t->columns; c++) {
        (void) fprintf(out, "<th%s>", cm_cell_left(t->column[c].cell) ? " class=\"l\"" : "");
        put_text(t->column[c].head, out);
        (void) fputs("<small>", out);
        put_unit(t->column[c].unit, out);
        (void) fputs("</small></th>", out);
    }
    (void) fputs("</tr></thead>\n", out);
}

/* The figure in full, which shows when one points at it. */
static void put_exact(const json_t *result, const struct cm_column *c, FILE *out)
{
    const json_t *v = json_object_get(result, c->name), *high = NULL;

    if (!json_is_number(v))
        return;
    (void) fprintf(out, " title=\"%.*g", CM_BENCH_DIGITS, json_number_value(v));
    if (c->high != NULL)
        high = json_object_get(result, c->high);
    if (high != NULL)
        (void) fprintf(out, " to %.*g", CM_BENCH_DIGITS, json_number_value(high));
    (void) fputc('"', out);
}

static void put_row(const struct cm_table *t, const json_t *result, FILE *out)
{
    char cell[CM_CELL_MAX];

    (void) fputs("<tr>", out);
    for (size_t c = 0; c < t->columns; c++) {
        cm_cell_text(result, &t->column[c], cell);
        (void) fprintf(out, "<td%s", cm_cell_left(t->column[c].cell) ? " class=\"l\"" : "");
        put_exact(result, &t->column[c], out);
        (void) fputc('>', out);
        put_text(cell, out);
        (void) fputs("</td>", out);
    }
    (void) fputs("</tr>\n", out);
}

/* What the columns mean, where no table before this one has the same. */
static void put_meanings(const struct cm_table *t, bool first, FILE *out)
{
    if (!first) {
        (void) fputs("<p class=\"where\">Columns as in the table before.</p>\n", out);
        return;
    }
    (void) fputs("<dl>\n", out);
    for (size_t c = 0; c < t->columns; c++) {
        (void) fputs("<dt>", out);
        put_text(t->column[c].head, out);
        (void) fputs("</dt><dd>", out);
        put_text(t->column[c].means, out);
        (void) fputs("</dd>\n", out);
    }
    (void) fputs("</dl>\n", out);
}

static cm_err put_table(const json_t *report, const struct cm_table *t, bool first, bool drawn, int dirfd,
                        const char *dir, FILE *out, struct cm_error *err)
{
    const json_t *results = json_object_get(report, "results");

    (void) fprintf(out, "<section id=\"%s\">\n<h2>", t->of_case);
    put_text(t->title, out);
    (void) fputs("</h2>\n<p>", out);
    put_text(t->method, out);
    (void) fputs("</p>\n", out);
    if (drawn && t->plot != NULL)
        CM_TRY(put_plot(t->plot, dirfd, dir, t->title, out, err));
    (void) fprintf(out, "<div class=\"wide\"><table data-case=\"%s\">\n", t->of_case);
    put_head(t, out);
    (void) fputs("<tbody>\n", out);
    for (size_t i = 0; i < json_array_size(results); i++)
        if (belongs(json_array_get(results, i), t))
            put_row(t, json_array_get(results, i), out);
    (void) fputs("</tbody></table></div>\n", out);
    put_meanings(t, first, out);
    (void) fputs("</section>\n", out);
    return CM_OK;
}

/* --- the page -------------------------------------------------------------- */

static void put_top(const json_t *report, FILE *out)
{
    char line[600];

    (void) fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                 "<meta name=\"generator\" content=\"certmill bench\">\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                 "<title>certmill: what a device identity costs here</title>\n<style>\n",
                 out);
    (void) fputs(cm_bench_text_of("page"), out);
    (void) fputs("</style>\n</head>\n<body>\n<h1>What a device identity costs here</h1>\n<p class=\"where\">",
                 out);
    for (size_t i = 0; cm_bench_heading(report, i, line, sizeof line); i++) {
        put_text(line, out);
        (void) fputs("<br>\n", out);
    }
    (void) fputs("</p>\n<p>Measured by <code>certmill bench</code>. The floor is what libcrypto needs at "
                 "least for one "
                 "certificate: a key and a signature by its EVP interface, and nothing else. Everything that "
                 "certmill is "
                 "measured at is whole processes, from start to end, and is set against the floor of the "
                 "same round, so "
                 "that a machine that drifts drifts under both. Figures are medians of the rounds; [ ] holds "
                 "the least "
                 "and the most. Pointing at a figure shows it in full; <code>bench.csv</code> and "
                 "<code>bench.json</code> "
                 "hold all of them, each round's too.</p>\n",
                 out);
}

/* What is to be known before the figures are read. */
static void put_notes(const json_t *report, enum cm_page_plots plots, FILE *out)
{
    const json_t *settings = json_object_get(report, "settings");

    if (plots != CM_PAGE_DRAWN)
        (void) fprintf(out,
                       "<p class=\"note\">There are no plots here because gnuplot %s. With it (Debian: "
                       "<code>apt-get install gnuplot-nox</code>) this draws them, beside this page: "
                       "<code>for f in *.gp; do gnuplot \"$f\"; done</code></p>\n",
                       plots == CM_PAGE_NO_GNUPLOT ? "was not installed" : "failed");
    if (cm_bench_busy(report))
        (void) fprintf(out,
                       "<p class=\"note\">The machine was busy before the first run (load %.2f): wall-clock "
                       "figures are too low.</p>\n",
                       json_number_value(json_object_get(settings, "load")));
    if (cm_bench_scattered(report))
        (void) fputs("<p class=\"note\">The time of an RSA key is a matter of luck: some have fewer than 100 "
                     "keys here, "
                     "and their ratios say little. <code>--full</code> makes more.</p>\n",
                     out);
    if (strcmp(json_string_value(json_object_get(settings, "size")), "smoke") == 0)
        (void) fputs("<p class=\"note\">A smoke run: does everything work? Its figures mean little.</p>\n",
                     out);
}

/* The plot that is of several tables stands before them. */
static cm_err put_rates(int dirfd, const char *dir, FILE *out, struct cm_error *err)
{
    static const char title[] = "RATES: certificates per processor-second, and over the floor";

    (void) fprintf(out, "<section id=\"rates\">\n<h2>%s</h2>\n", title);
    CM_TRY(put_plot("rates", dirfd, dir, title, out, err));
    (void) fputs("</section>\n", out);
    return CM_OK;
}

static cm_err put_page(const json_t *report, enum cm_page_plots plots, int dirfd, const char *dir, FILE *out,
                       struct cm_error *err)
{
    const json_t *results = json_object_get(report, "results");

    put_top(report, out);
    put_notes(report, plots, out);
    if (plots == CM_PAGE_DRAWN && cm_draw_has(report, "rates"))
        CM_TRY(put_rates(dirfd, dir, out, err));
    for (size_t i = 0; i < cm_tables_count; i++) {
        bool first = true;
        if (!has_rows(results, &cm_tables[i]))
            continue;
        for (size_t k = 0; k < i; k++)
            if (cm_tables[k].column == cm_tables[i].column && has_rows(results, &cm_tables[k]))
                first = false;
        CM_TRY(put_table(report, &cm_tables[i], first, plots == CM_PAGE_DRAWN, dirfd, dir, out, err));
    }
    (void) fputs("</body>\n</html>\n", out);
    return CM_OK;
}

cm_err cm_page_write(const json_t *report, enum cm_page_plots plots, int dirfd, const char *dir,
                     struct cm_error *err)
{
    struct cm_textfile text;
    struct cm_error late = { 0 };

    CM_TRY(cm_textfile_open(&text, err));
    const cm_err rc = put_page(report, plots, dirfd, dir, text.out, err);
    const cm_err saved = cm_textfile_save(&text, dirfd, dir, "index.html", &late);
    if (rc == CM_OK && saved != CM_OK)
        *err = late;
    return rc != CM_OK ? rc : saved;
}
