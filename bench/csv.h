#ifndef CM_BENCH_CSV_H
#define CM_BENCH_CSV_H

#include "engine/err.h"

#include <stddef.h>
#include <stdio.h>

struct json_t;

/* csv.h - a report (json.h) as one table after RFC 4180, with LF at the ends of lines: a header,
 * a row for each result, and below it one for each of its rounds, whose `round` is its number
 * from 1. Every row says when, where and with what; an empty field: no such figure. What
 * is nested deeper (histograms) is in the JSON only.
 */
void cm_bench_csv(const struct json_t *report, FILE *out); /* its errors stay in ferror(out) */
/* To a file: written beside it, then renamed over it; where path is a symlink, over what it leads to. What is
 * there and is no regular file, such as a FIFO or a device, is opened and written into. CM_E_IO: path and
 * reason. */
CM_MUST_CHECK cm_err cm_bench_csv_file(const struct json_t *report, const char *path, struct cm_error *err);
/* Can that be done? CM_E_IO names the directory; CM_E_USAGE: path is a directory or a socket, or no name. */
CM_MUST_CHECK cm_err cm_bench_csv_check(const char *path, struct cm_error *err);

#endif
