#ifndef CM_IO_FLEET_IMPL_H
#define CM_IO_FLEET_IMPL_H

#include "io/fleet.h"
#include "io/journalread.h"

/* fleet_impl.h - what the files of fleet share. */
struct cm_fleet {
    char *path, *keys_path;
    int fd, side_fd[2], manifest_fd;
    int keys_errno;                         /* why side_fd[CM_FLEET_KEYS] is -1 */
    uint64_t manifest_bytes, manifest_size; /* committed; of the file */
    struct cm_journal_state journal;
    struct cm_fleet_run run;
    char *ca_pem;
    size_t ca_pem_len;
};

/* Reads run.json's text. name: for messages. */
CM_MUST_CHECK cm_err cm_fleet_parse_run(const char *text, size_t len, const char *name,
                                        struct cm_fleet_run *out, struct cm_error *err);

#endif
