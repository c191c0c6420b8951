#include "bench/tables.h"

#include "engine/err.h"

#include <jansson.h>
#include <string.h>

/* report.c - the tables as text: units below the headers, columns as wide as they must be. */
enum { COLUMNS_MAX = 16 };

static const char *word(const json_t *object, const char *name)
{
    const char *s = json_string_value(json_object_get(object, name));

    return s != NULL ? s : "";
}

static double figure(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

bool cm_bench_heading(const json_t *report, size_t i, char *out, size_t cap)
{
    const json_t *m = json_object_get(report, "machine"), *s = json_object_get(report, "settings");
    const char *note = word(s, "io_note");
    char count[40] = "";

    if (figure(s, "count") > 0)
        (void) snprintf(count, sizeof count, " of %.0f devices", figure(s, "count"));
    switch (i) {
    case 0:
        (void) snprintf(out, cap, "certmill %s, commit %s, %s; %s; %s", word(report, "engine"),
                        word(report, "commit"), word(m, "build"), word(m, "libcrypto"), word(m, "libc"));
        return true;
    case 1:
        (void) snprintf(out, cap, "%s, %.0f of %.0f processors; %s; load %.2f before; %s",
                        word(m, "processor"), figure(m, "processors"), figure(m, "online"), word(m, "kernel"),
                        figure(s, "load"), word(report, "at"));
        return true;
    case 2:
        (void) snprintf(out, cap, "%s on %s%s%s%s%s", word(m, "filesystem"), word(m, "disk"),
                        word(s, "io")[0] != '\0' ? ", segments by " : "", word(s, "io"),
                        note[0] != '\0' ? ": " : "", note);
        return true;
    case 3:
        (void) snprintf(out, cap, "%s size: %.0f rounds%s, %.3g s each, %.0f workers", word(s, "size"),
                        figure(s, "rounds"), count, figure(s, "seconds"), figure(s, "workers"));
        return true;
    case 4:
        (void) snprintf(out, cap, "%s for the ladder%s%s", word(s, "server"),
                        word(s, "server_note")[0] != '\0' ? "; its share is not known: " : "",
                        word(s, "server_note"));
        return word(s, "server")[0] != '\0';
    default:
        return false;
    }
}

bool cm_bench_scattered(const json_t *report)
{
    const json_t *results = json_object_get(report, "results");

    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *r = json_array_get(results, i);
        if (strcmp(word(r, "case"), "floor") == 0 && strncmp(word(r, "key"), "RSA", 3) == 0 &&
            figure(r, "keys") < 100)
            return true;
    }
    return false;
}

bool cm_bench_busy(const json_t *report)
{
    const json_t *settings = json_object_get(report, "settings");
    const double processors = figure(json_object_get(report, "machine"), "processors");

    return figure(settings, "load") > 0.3 * processors && strcmp(word(settings, "size"), "smoke") != 0;
}

static void put_line(const struct cm_table *t, const size_t *width, char cell[COLUMNS_MAX][CM_CELL_MAX],
                     FILE *out)
{
    char line[COLUMNS_MAX * (CM_CELL_MAX + 2)] = "";
    size_t n = 0;

    for (size_t i = 0; i < t->columns; i++) {
        const int w = (int) width[i] * (cm_cell_left(t->column[i].cell) ? -1 : 1);
        n += (size_t) snprintf(line + n, sizeof line - n, "%s%*s", i > 0 ? "  " : "", w, cell[i]);
    }
    while (n > 0 && line[n - 1] == ' ')
        n--;
    (void) fprintf(out, "%.*s\n", (int) n, line);
}

static bool wanted(const json_t *report, const char *name)
{
    const json_t *cases = json_object_get(json_object_get(report, "settings"), "cases");

    for (size_t i = 0; i < json_array_size(cases); i++)
        if (strcmp(json_string_value(json_array_get(cases, i)), name) == 0)
            return json_is_true(json_object_get(report, "complete"));
    return false;
}

static void print_table(const struct cm_table *t, const json_t *report, FILE *out)
{
    const json_t *results = json_object_get(report, "results");
    char cell[COLUMNS_MAX][CM_CELL_MAX];
    size_t width[COLUMNS_MAX], rows = 0;

    CM_ASSERT(t->columns <= COLUMNS_MAX);
    for (size_t c = 0; c < t->columns; c++) {
        const size_t head = strlen(t->column[c].head), unit = strlen(t->column[c].unit);
        width[c] = head > unit ? head : unit;
    }
    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *r = json_array_get(results, i);
        for (size_t c = 0; strcmp(word(r, "case"), t->of_case) == 0 && c < t->columns; c++) {
            cm_cell_text(r, &t->column[c], cell[c]);
            width[c] = strlen(cell[c]) > width[c] ? strlen(cell[c]) : width[c];
            rows += c == 0;
        }
    }
    if (rows == 0) {
        if (t->none != NULL && wanted(report, t->of_case))
            (void) fprintf(out, "\n%s\nnot measured: %s\n", t->title, t->none);
        return;
    }
    (void) fprintf(out, "\n%s\n", t->title);
    for (size_t c = 0; c < t->columns; c++)
        (void) snprintf(cell[c], CM_CELL_MAX, "%s", t->column[c].head);
    put_line(t, width, cell, out);
    for (size_t c = 0; c < t->columns; c++)
        (void) snprintf(cell[c], CM_CELL_MAX, "%s", t->column[c].unit);
    put_line(t, width, cell, out);
    for (size_t i = 0; i < json_array_size(results); i++) {
        const json_t *r = json_array_get(results, i);
        if (strcmp(word(r, "case"), t->of_case) != 0)
            continue;
        for (size_t c = 0; c < t->columns; c++)
            cm_cell_text(r, &t->column[c], cell[c]);
        put_line(t, width, cell, out);
    }
}

void cm_bench_print(const json_t *report, FILE *out)
{
    char line[600];

    for (size_t i = 0; cm_bench_heading(report, i, line, sizeof line); i++)
        (void) fprintf(out, "%s\n", line);
    for (size_t i = 0; i < cm_tables_count; i++)
        print_table(&cm_tables[i], report, out);
    if (cm_bench_scattered(report))
        (void) fprintf(out,
                       "\nThe time of an RSA key is a matter of luck: with so few of them the RSA ratios say "
                       "little (--full).");
    (void) fprintf(
        out, "\ncert/cpu-s: certificates per processor-second, user + system of the whole process. "
             "Medians of the rounds,\n[ ] the least and the most; ratio: each run over the floor of its "
             "own round.\n");
}
