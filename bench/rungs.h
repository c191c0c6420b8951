#ifndef CM_BENCH_RUNGS_H
#define CM_BENCH_RUNGS_H

#include <stdbool.h>
#include <stddef.h>

/* rungs.h - the ways to mint that are measured, in the order of the storage ladder.
 *
 * TO ADD ONE: a row in rungs.c; the ladder, its tables and its plot walk the table. A
 * rung is what `certmill mint` is given besides CA, keys and count.
 */
enum { CM_RUNG_OPTIONS = 6 };

struct cm_rung {
    const char *name;                    /* in results: "tar-unsynced" */
    const char *label;                   /* for people */
    bool stored;                         /* takes --out, and writes keys */
    const char *option[CM_RUNG_OPTIONS]; /* of mint; {fleet} in one is the fleet's name, new in each run */
    const char *over;                    /* the rung that its cost is set against; NULL: the lowest */
    const char *load; /* where the fleet is loaded once more, alone, with {fleet} as above */
    bool server;      /* an option and load may be CM_RUNG_SERVER */
};

/* The URL of a database on the server that is measured, new in each run; without a server there is no such
 * rung. */
#define CM_RUNG_SERVER "{server}"

/* Those that cases of their own name; further rows follow them. */
enum { CM_RUNG_NONE, CM_RUNG_TAR_UNSYNCED, CM_RUNG_TAR, CM_RUNG_TREE };

extern const struct cm_rung cm_rungs[];
extern const size_t cm_rungs_count;
enum { CM_RUNGS_MAX = 12 };

const struct cm_rung *cm_rung_find(const char *name); /* NULL: there is none */

#endif
