#ifndef CM_CLI_ELSEWHERE_H
#define CM_CLI_ELSEWHERE_H

#include "engine/err.h"

#include <limits.h>
#include <stdbool.h>

/* elsewhere.h - the commands that need more libraries than certmill has: certmill-aws does them, which is
 * looked for beside the running program and where it is installed. */

/* Becomes certmill-aws with these arguments, "help" before them where that is asked for. Returns only when it
 * can't: CM_E_LIMIT says what is missing and how it is had. */
cm_err cm_elsewhere_run(bool help, int argc, char **argv, struct cm_error *err);

/* The path of a file that belongs to the running program: it lies in its directory. CM_E_IO: it doesn't. */
CM_MUST_CHECK cm_err cm_elsewhere_file(const char *name, char out[PATH_MAX], struct cm_error *err);

#endif
