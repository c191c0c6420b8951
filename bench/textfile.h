#ifndef CM_BENCH_TEXTFILE_H
#define CM_BENCH_TEXTFILE_H

#include "engine/err.h"

#include <stdio.h>

/* textfile.h - text by way of a stream in memory, into a file that is there whole or not at all.
 * Its errors come with save. */
struct cm_textfile {
    FILE *out;
    char *text;
    size_t len;
};

CM_MUST_CHECK cm_err cm_textfile_open(struct cm_textfile *t, struct cm_error *err);
/* As cm_file_replace, mode 0644; frees t in every case. */
CM_MUST_CHECK cm_err cm_textfile_save(struct cm_textfile *t, int dirfd, const char *dir, const char *name,
                                      struct cm_error *err);

#endif
