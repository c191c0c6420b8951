#ifndef CM_BENCH_PLACE_H
#define CM_BENCH_PLACE_H

#include "engine/err.h"

#include <limits.h>
#include <stdbool.h>

/* place.h - the directory that a bench works in: new, its owner's alone, removed.
 *
 * Every fleet gets a name of its own. One of few files is dropped as soon as nothing
 * needs it; a tree stays until its pair of a key and a CA is done, or until the disk
 * has not twice the room for the next fleet: ext4 without a journal is slow to make
 * files anew right after many were deleted, and that would count as certmill's time.
 */
struct cm_place {
    char path[PATH_MAX];
    int fd;
    unsigned fleets;      /* names given out */
    unsigned fleets_gone; /* of them removed */
};

enum { CM_PLACE_NAME = 64 };

/* Removes what is at path, with all below it; true: nothing is there any more. */
bool cm_place_remove(const char *path);

CM_MUST_CHECK cm_err cm_place_open(const char *out, struct cm_place *p, struct cm_error *err);
/* A name below p->path that no fleet had yet. CM_E_LIMIT: there is no room for `bytes`. */
CM_MUST_CHECK cm_err cm_place_fleet(struct cm_place *p, const char *what, uint64_t bytes,
                                    char name[CM_PLACE_NAME], struct cm_error *err);
/* Removes what belongs to a fleet: all that begins with the number of its name. */
void cm_place_drop(const struct cm_place *p, const char *name);
/* Removes all fleets. */
void cm_place_drop_all(struct cm_place *p);
/* Removes it all. CM_E_IO: something is left; err says where, and that keys are in it. */
CM_MUST_CHECK cm_err cm_place_close(struct cm_place *p, struct cm_error *err);

#endif
