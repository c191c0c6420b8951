#ifndef CM_CLI_PASSPHRASE_H
#define CM_CLI_PASSPHRASE_H

#include "engine/err.h"

#include <stddef.h>

/* passphrase.h - gets a passphrase from a file, or asks on the terminal.
 *
 * Never from an argument or the environment, where other processes can see it.
 * It is asked for once: a wrong passphrase is an error, not a loop, since a
 * token's PIN may be behind it and locks.
 *
 *  File     its first line without the line end (LF or CR LF); a regular file or
 *           a pipe: `--passphrase-file /dev/fd/3` and `<(…)` work. A named FIFO is refused.
 *  Terminal /dev/tty, echo off, restored before a signal has its effect.
 *  Secrets  between kernel and `buf` it is in locked memory only; wiping `buf`
 *           is the caller's.
 *  Threads  the main thread, before others start (signal handlers).
 */
struct cm_passphrase {
    const char *file;   /* NULL: ask */
    const char *option; /* that names such a file: "--ca-passphrase-file" */
    const char *what;   /* whose it is: "CA key ca/ca.key" */
};

/* A cm_passphrase_fn (engine/ca.h): arg is a struct cm_passphrase. The length,
 * at least 1; -1 with err set when there is none to be had. */
int cm_passphrase_get(void *arg, char *buf, size_t cap, struct cm_error *err);

#endif
