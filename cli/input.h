#ifndef CM_CLI_INPUT_H
#define CM_CLI_INPUT_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "engine/secret.h"

/* input.h - bounded reading of the small files that a user names: certificates,
 * keys, passphrases, profiles.
 *
 * Only regular files with something in them, of at most CM_INPUT_MAX bytes; a
 * directory, a FIFO, a device and a file that is too large are told apart. A
 * symbolic link is followed: certificates are often linked into place.
 *
 *  Ownership  cm_input_read: *data is the caller's to free(); secrets live in
 *             *secret until cm_secret_done. Outputs are untouched on failure.
 *  Errors     CM_E_INPUT (what the file is instead), CM_E_IO (the kernel
 *             refused to read it), CM_E_NOMEM, CM_E_LIMIT.
 */
enum { CM_INPUT_MAX = 1 << 20 }; /* bytes */

/* `what` names the thing in messages: "CA certificate". A zero octet follows the
 * data and is not counted in *len. */
CM_MUST_CHECK cm_err cm_input_read(const char *path, const char *what, char **data, size_t *len,
                                   struct cm_error *err);

/* The same into locked memory. Refuses a file that group or others may read or
 * write, unless `insecure_ok`; the message says so and names the option. Files
 * owned by a third user are refused likewise: their owner can read them. */
CM_MUST_CHECK cm_err cm_input_read_secret(const char *path, const char *what, bool insecure_ok,
                                          struct cm_secret *secret, size_t *len, struct cm_error *err);

#endif
