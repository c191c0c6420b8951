#ifndef CM_TESTS_FAULTS_POINTS_H
#define CM_TESTS_FAULTS_POINTS_H

#include <stddef.h>

/* points.h - every CM_POINT of the program, in the order in which a run passes them
 * for the first time. check_points.sh compares; `certmill-faulty --points` prints. */
static const char *const cm_points[] = {
    "file.replace",   "file.replaced",     "journal.write",       "journal.sync",
    "journal.synced", "bundles.put",       "bundles.sync",        "bundles.synced",
    "segment.end",    "segment.rename",    "segment.renamed.key", "segment.renamed",
    "shard.rename",   "shard.renamed.key", "shard.renamed",       "rows.write",
    "rows.sync",      "rows.synced",       "burned.write",        "burned.synced",
    "index.publish",  "index.published",   "leftovers.ended",     "leftovers.wiped",
    "keys.wiped",     "keys.removed",      "keys.gone",           "db.begun",
    "db.put",         "db.committed",      "db.indexed",          NULL,
};

#endif
