#ifndef CM_BENCH_DRAW_H
#define CM_BENCH_DRAW_H

#include "engine/err.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

struct json_t;

/* draw.h - the plots of a report, drawn by gnuplot.
 *
 * A plot is a script (bench/plots/NAME.gp, a part of the program), and the figures it draws:
 * NAME.dat, one a line, in columns that its first line names. Both are written, the script
 * behind a few lines that say how much there is, and stay beside NAME.svg and NAME.png, so
 * that `gnuplot NAME.gp` draws the PNG again, and gnuplot -e 'kind = "svg"' NAME.gp the SVG.
 */
enum { CM_DRAW_PLOTS = 4 };
extern const char *const cm_draw_names[CM_DRAW_PLOTS + 1]; /* NULL-terminated */

/* Does the report hold what the plot shows? */
bool cm_draw_has(const struct json_t *report, const char *name);
/* Writes NAME.dat and NAME.gp into the directory dirfd, whose path is dir. */
CM_MUST_CHECK cm_err cm_draw_write(const struct json_t *report, const char *name, int dirfd, const char *dir,
                                   struct cm_error *err);
bool cm_draw_possible(void); /* is there a gnuplot in PATH? */
/* Runs NAME.gp; CM_E_LIMIT: gnuplot failed, or what it left is not whole. CM_E_CLOSED: *stop was set. */
CM_MUST_CHECK cm_err cm_draw_run(const char *name, int dirfd, const char *dir, volatile sig_atomic_t *stop,
                                 struct cm_error *err);

#endif
