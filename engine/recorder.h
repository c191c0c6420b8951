#ifndef CM_ENGINE_RECORDER_H
#define CM_ENGINE_RECORDER_H

#include "engine/batch.h"
#include "engine/ranges.h"

/* recorder.h - what the pipeline asks of the record of a run: that serial
 * prefixes are on record before anything is signed under them, and which commits
 * there are. The engine owns this interface; io/journal.c implements it.
 *
 *  Threads  reserve: the thread that starts the pipeline; the rest: the registrar's.
 */
struct cm_recorder;

/* Prefixes number first, first + 1, … of the run, each for at_most certificates. */
struct cm_prefixes {
    uint64_t first;
    uint32_t at_most;
    size_t count; /* 0: none */
    const uint8_t (*prefix)[CM_SERIAL_PREFIX];
};

struct cm_commit {
    uint64_t devices, bytes;
    struct cm_ranges seqs, prefixes; /* numbers of its devices, of its prefixes */
};

/* A prefix whose certificates nobody gets. */
struct cm_burned {
    uint64_t number;
    uint8_t prefix[CM_SERIAL_PREFIX];
    uint32_t signatures;
};

struct cm_attempt_end {
    bool failed;
    uint64_t signatures;     /* that the CA made in this attempt */
    struct cm_ranges unused; /* numbers of prefixes that nothing was signed under */
    struct cm_burned *burned;
    size_t burned_count;
};

struct cm_recorder_ops {
    /* The prefixes are durably on record. */
    cm_err (*reserve)(struct cm_recorder *r, const struct cm_prefixes *more, struct cm_error *err);
    /* Bundles and rows of the commit are durable; now it is one. `more` is reserved with it. */
    cm_err (*commit)(struct cm_recorder *r, const struct cm_commit *c, const struct cm_prefixes *more,
                     struct cm_error *err);
    /* Takes back a commit that failed. On an error nobody knows whether it is on
     * record: nothing that it names may be touched any more. */
    cm_err (*retract)(struct cm_recorder *r, struct cm_error *err);
    /* The attempt is over, and what it did not commit is gone. */
    cm_err (*end)(struct cm_recorder *r, const struct cm_attempt_end *end, struct cm_error *err);
};

/* First field of every implementation. */
struct cm_recorder {
    const struct cm_recorder_ops *ops;
};

#endif
