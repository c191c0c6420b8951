#ifndef CM_BENCH_PAGE_H
#define CM_BENCH_PAGE_H

#include "engine/err.h"

#include <stdbool.h>

struct json_t;

/* page.h - a report (json.h) as one HTML page that refers to nothing outside itself: style and plots are in
 * it. drawn: NAME.svg of each plot that the report holds lies in the directory; else the page says why there
 * are no plots. */
CM_MUST_CHECK cm_err cm_page_write(const struct json_t *report, bool drawn, int dirfd, const char *dir,
                                   struct cm_error *err);

#endif
