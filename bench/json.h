#ifndef CM_BENCH_JSON_H
#define CM_BENCH_JSON_H

#include "bench/bench.h"

struct json_t;

/* json.h - the report as one JSON object, from which every other form is made: the tables
 * (tables.h), CSV (csv.h), page and plots (page.h, draw.h). So they can't disagree.
 *
 * A result has "case", "key", where a CA signs "ca", and "what" where there are several of
 * a case and key: workers, a rung, a generator, a layout, a size. README.md says what its
 * figures mean. A figure that there is none of is null.
 */

/* Digits of a number wherever it is written in full: more would be noise. */
enum { CM_BENCH_DIGITS = 7 };

/* The caller's reference; NULL: out of memory. */
struct json_t *cm_bench_json(const struct cm_bench_report *r);
/* Appends each result of `report`, a line each with machine and settings, to the file at path; before them an
 * LF where its last line lacks one. */
CM_MUST_CHECK cm_err cm_bench_keep(const struct json_t *report, const char *path, struct cm_error *err);

#endif
