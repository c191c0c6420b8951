#ifndef CM_IO_SOURCE_LIST_H
#define CM_IO_SOURCE_LIST_H

#include "engine/source.h"

/* source_list.h - `--devices FILE`: one id a line.
 *
 * UTF-8; a byte-order mark, CR LF and a missing last LF are accepted, blank lines
 * are skipped. The file is read twice, streaming: by open, which finds every
 * fault before the first key is made, and while minting. Its SHA-256 is taken
 * both times: a list that changes in between ends the run.
 *
 *  Sequence  seq is the number of the device in the list, from 1; a message
 *            counts lines of the file.
 *  Memory    a buffer and the external sort of extsort.h, whatever the length.
 */
struct cm_source_list_conf {
    const char *path;
    bool fold_case;           /* ids equal but for ASCII case are duplicates, too */
    uint64_t mac_base;        /* of the first device */
    const uint8_t *run_id;    /* 16 octets */
    struct cm_hasher *hasher; /* the caller's, used during open only */
    const char *spill_dir;    /* where the sort may put a temporary file */
    /* Judges one device beyond its id (profile, template); may be NULL. */
    cm_err (*check)(void *arg, const struct cm_values *v, struct cm_error *err);
    void *check_arg;
};

/* CM_E_INPUT names the file, the line and the reason. */
CM_MUST_CHECK cm_err cm_source_list_open(const struct cm_source_list_conf *conf, struct cm_source **out,
                                         struct cm_error *err);
void cm_source_list_sha256(const struct cm_source *s, uint8_t out[32]);
/* The first device's id (at most CM_ID_MAX octets): its length. */
size_t cm_source_list_first(const struct cm_source *s, char *out);

#endif
