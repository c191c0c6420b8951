#ifndef CM_CLI_MSG_H
#define CM_CLI_MSG_H

#include "engine/err.h"

struct json_t;

/* msg.h - what the program says: errors and notes on stderr, results on stdout.
 *
 *  Errors   one or two lines, "certmill: thing: reason; next step". What a file
 *           name or a certificate brings along in control characters is shown
 *           as \xNN, so that a name can't drive the terminal.
 *  Results  count as given only when stdout has taken them: /dev/full, a closed
 *           pipe and a full disk are failures (exit 3).
 *  Threads  the main thread.
 */
void cm_msg_error(const struct cm_error *err); /* an empty text prints nothing */
/* "certmill: " and the text, on stderr: notices and next steps. The caller holds
 * it back under --quiet. */
void cm_msg_note(const char *fmt, ...) CM_PRINTF(1, 2);

/* Prints the result, one line of compact JSON, and drops the reference: *result
 * is the call's. NULL (out of memory while it was built) is CM_E_NOMEM. */
CM_MUST_CHECK cm_err cm_msg_json(struct json_t *result, struct cm_error *err);
/* Was everything that went to stdout really written? Flushes and closes it; the
 * last thing a command does. main calls it, also for --help and --version. */
CM_MUST_CHECK cm_err cm_msg_close_stdout(struct cm_error *err);

/* 0 to 4, or 128 + signal: the exit code that stands for a result. */
int cm_msg_exit_code(cm_err rc, const struct cm_error *err);

#endif
