#ifndef CM_IO_RUNDIR_H
#define CM_IO_RUNDIR_H

#include "engine/batch.h"
#include "engine/err.h"

#include <jansson.h>

/* rundir.h - the directory of a run that is being made: its creation, its lock,
 * its run.json. docs/formats.md has the layout; fleet.h reads it back.
 *
 *  Lock   flock on the directory itself, held until close. The descriptor is
 *         never handed to a ring, whose asynchronous end could keep it.
 */
struct cm_rundir {
    char path[256], keys_path[256];
    int fd, chains_fd, keys_fd;
    bool made;                   /* the directory did not exist before */
    bool keys_made, keys_inside; /* keys/ of the run directory, not --keys-out */
};

/* Makes path (its parent must exist) or takes an empty directory, locks it, makes
 * chains/ and keys/ (or takes keys_out, which must be empty or not exist).
 * CM_E_USAGE: it holds a run or other files; CM_E_IO: another process has it, or
 * it can't be written. On failure what was made is removed again. */
CM_MUST_CHECK cm_err cm_rundir_open(const char *path, const char *keys_out, struct cm_rundir *out,
                                    struct cm_error *err);
/* Opens the directory of a run and locks it; its sides are not open yet. CM_E_INPUT: there is no
 * such directory; CM_E_LIMIT: another process has it. */
CM_MUST_CHECK cm_err cm_rundir_reopen(const char *path, struct cm_rundir *out, struct cm_error *err);
/* Then, when its journal was read: chains/, and keys/ or keys_out. */
/* make: a side that is missing is made: nothing is committed yet. */
CM_MUST_CHECK cm_err cm_rundir_open_sides(struct cm_rundir *d, const char *keys_out, bool make,
                                          struct cm_error *err);
CM_MUST_CHECK cm_err cm_rundir_write_ca(const struct cm_rundir *d, struct cm_span pem, struct cm_error *err);
/* run is written as run.json, replacing an older one. */
CM_MUST_CHECK cm_err cm_rundir_write_run(const struct cm_rundir *d, const json_t *run, struct cm_error *err);
/* Removes all that open and the writes above made, before a device was listed. */
void cm_rundir_undo(struct cm_rundir *d);
void cm_rundir_close(struct cm_rundir *d);

#endif
