#ifndef CM_CLI_CAFILES_H
#define CM_CLI_CAFILES_H

#include "engine/ca.h"

/* cafiles.h - opens a CA from the files that a user names, asking for a
 * passphrase where one is needed, and checks it at time `now`. */
struct cm_cafiles {
    const char *cert, *key;        /* paths */
    const char *passphrase_file;   /* NULL: ask on the terminal */
    const char *passphrase_option; /* that would name one: "--ca-passphrase-file" */
    const char *what;              /* "CA", "issuer": for messages */
    const char *signature;         /* NULL: the key's default */
    bool allow_insecure;           /* a key file that others can read */
};

CM_MUST_CHECK cm_err cm_cafiles_open(const struct cm_cafiles *f, cm_when now, struct cm_ca **out,
                                     struct cm_error *err);

#endif
