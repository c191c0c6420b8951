#ifndef CM_BENCH_TABLES_H
#define CM_BENCH_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct json_t;

/* tables.h - what the tables show, for the terminal and for the page alike.
 *
 * TO ADD A TABLE: its columns and a row in tables.c. A table shows the results of one case, a
 * row each.
 */
enum cm_cell {
    CM_CELL_TEXT,
    CM_CELL_COUNT,  /* 20,480 */
    CM_CELL_NUMBER, /* three digits below a hundred */
    CM_CELL_RATIO,  /* 1.234 */
    CM_CELL_RANGE,  /* [name-high], numbers */
    CM_CELL_RATIOS, /* [name-high], ratios */
};

struct cm_column {
    const char *name, *high; /* members of a result */
    enum cm_cell cell;
    const char *head, *unit;
    const char *means; /* one sentence; NULL: as in the table before */
};

struct cm_table {
    const char *of_case;
    const char *title;
    const char *method; /* how it was measured */
    const char *plot;   /* of draw.h; NULL: none */
    const char *none;   /* why there may be no rows though the case was measured; NULL: that can't be */
    const struct cm_column *column;
    size_t columns;
};
extern const struct cm_table cm_tables[];
extern const size_t cm_tables_count;

enum { CM_CELL_MAX = 64 };
/* "-" where the result has no such figure. */
void cm_cell_text(const struct json_t *result, const struct cm_column *c, char out[CM_CELL_MAX]);
bool cm_cell_left(enum cm_cell cell); /* is it set to the left, as words are? */

/* report.c: heading, every table that has rows, notes; as text. */
void cm_bench_print(const struct json_t *report, FILE *out);
/* What the heading says, line by line; false: there is no line i. */
bool cm_bench_heading(const struct json_t *report, size_t i, char *out, size_t cap);
/* Too few RSA keys for their ratios to say much? */
bool cm_bench_scattered(const struct json_t *report);
/* Did so much else run before that figures by the clock are too low? Of smoke runs that does not matter. */
bool cm_bench_busy(const struct json_t *report);

#endif
