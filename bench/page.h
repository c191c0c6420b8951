#ifndef CM_BENCH_PAGE_H
#define CM_BENCH_PAGE_H

#include "engine/err.h"

struct json_t;

/* page.h - a report (json.h) as one HTML page that refers to nothing outside itself: style and plots are in
 * it. Where there are no plots it says why. */
enum cm_page_plots {
    CM_PAGE_DRAWN, /* NAME.svg of each plot that the report holds lies in the directory */
    CM_PAGE_NO_GNUPLOT,
    CM_PAGE_GNUPLOT_FAILED,
};
CM_MUST_CHECK cm_err cm_page_write(const struct json_t *report, enum cm_page_plots plots, int dirfd,
                                   const char *dir, struct cm_error *err);

#endif
