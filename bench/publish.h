#ifndef CM_BENCH_PUBLISH_H
#define CM_BENCH_PUBLISH_H

#include "engine/err.h"

#include <signal.h>

struct json_t;

/* publish.h - the report directory of `certmill bench --report DIR`: index.html, bench.json, bench.csv, and
 * for each plot NAME.dat, NAME.gp, NAME.svg, NAME.png.
 *
 *  Whole    everything is made in a directory of its own inside DIR and then moved: first an
 *           earlier page goes, then the files come, index.html last. A page that is there belongs to
 *           the files beside it; after a failure or a signal there is none, or the earlier one.
 *  Plots    where gnuplot is missing or fails there are none, and the page says so: the figures are not lost.
 *  Foreign  DIR is new, empty, or holds an earlier report, or what a killed bench left of its own (nobody
 * holds that directory's lock), which is removed; anything else is refused.
 */

/* Before anything is measured: makes DIR, and sees that it can be written. CM_E_USAGE, CM_E_IO; CM_E_LIMIT:
 * another bench writes there just now. */
CM_MUST_CHECK cm_err cm_publish_check(const char *dir, struct cm_error *err);
/* CM_E_CLOSED: *stop was set while a plot was drawn. CM_E_LIMIT: gnuplot failed; the report is there without
 * plots, and err names gnuplot's reason and how they are drawn again. */
CM_MUST_CHECK cm_err cm_publish(const struct json_t *report, const char *dir, volatile sig_atomic_t *stop,
                                struct cm_error *err);

#endif
