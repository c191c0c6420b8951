#ifndef CM_CLI_EXTRACTION_H
#define CM_CLI_EXTRACTION_H

#include "engine/secret.h"
#include "io/fleet.h"

/* extraction.h - a device's bundle and key as files of their own: ID.crt (mode 0644) and ID.key (mode 0600).
 *
 * Both or neither, checked against the manifest before they are written, and never over another file.
 */
struct cm_extraction {
    const struct cm_fleet *fleet;
    const char *out; /* path of the directory; borrowed */
    bool certificates_only;
    bool same_ok; /* a file that is there and holds just this is as good as written */
    /* open's */
    int out_fd;
    uint8_t *bundle;      /* CM_ROW_CHAIN_MAX octets */
    struct cm_secret key; /* CM_ROW_KEY_MAX octets */
};

struct cm_extracted {
    size_t count;       /* of files: 1 without a key */
    char path[2][4096]; /* the certificate's, the key's */
};

/* Memory, and that the keys can be had. The fields above it are filled in; out NULL: the current directory.
 */
CM_MUST_CHECK cm_err cm_extraction_open(struct cm_extraction *x, struct cm_error *err);
/* The directory, made with mode 0700 where it is missing: before the first row. */
CM_MUST_CHECK cm_err cm_extraction_begin(struct cm_extraction *x, struct cm_error *err);
CM_MUST_CHECK cm_err cm_extraction_row(const struct cm_extraction *x, const struct cm_row *row,
                                       struct cm_extracted *out, struct cm_error *err);
CM_MUST_CHECK cm_err cm_extraction_end(const struct cm_extraction *x,
                                       struct cm_error *err); /* names durable */
void cm_extraction_close(struct cm_extraction *x);

#endif
