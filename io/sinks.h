#ifndef CM_IO_SINKS_H
#define CM_IO_SINKS_H

#include "engine/sink.h"
#include "io/aio.h"

/* sinks.h - the table of outputs. TO ADD ONE: a file io/sink_x.c and a row in
 * sinks.c; the contract test walks the table. */

enum { CM_PLACES_UNITS = 64 };

/* A segment or shard, and how much of it is synced. */
struct cm_unit {
    uint32_t number;
    uint64_t chain_len, key_len; /* a shard's: 0 */
};

/* Where the commit lies that the sinks synced last: they say it, the journal records it. All of them are
 * the registrar's. */
struct cm_places {
    struct cm_unit unit[CM_PLACES_UNITS]; /* that the commit wrote to, by number */
    size_t units;
    uint64_t manifest_bytes; /* so far */
    uint8_t rows_xxh3[16];   /* of the commit's rows */
};

/* What a sink may need; it borrows everything and keeps what it copies. */
struct cm_sink_conf {
    int fleet_fd; /* the run directory */
    const char *fleet_path;
    int chains_fd, keys_fd; /* its chains/, and keys/ or --keys-out */
    const char *keys_path;
    enum cm_layout layout;
    enum cm_io_kind io;
    bool durable;     /* --sync commit */
    uint32_t batches; /* of the pool: how many may be put at a time */
    struct cm_span chain_slab, key_slab;
    uint64_t segment_bytes; /* bound of a chain segment */
    size_t rows_max;        /* octets of rows that one commit may have */
    struct cm_places *places;
    uint32_t first_unit;    /* number of the first segment or shard; those before it are committed */
    uint64_t manifest_from; /* octets of the manifest that are committed; 0: it is made */
};

enum {
    CM_SEGMENT_BYTES = 256 << 20,
    CM_SHARD_DEVICES = 4096,
};

extern const struct cm_sink_ops cm_sink_tar_ops, cm_sink_tree_ops, cm_sink_null_ops, cm_sink_ndjson_ops,
    cm_sink_norows_ops;

size_t cm_sink_count(void);
const struct cm_sink_ops *cm_sink_at(size_t i);
const struct cm_sink_ops *cm_sink_find(const char *name);

/* How the tar sink writes here ("io_uring, registered buffers, direct I/O"), and
 * why not otherwise; "" where there is nothing to say. */
const char *cm_sink_tar_how(const struct cm_sink *s);
const char *cm_sink_tar_why(const struct cm_sink *s);

#endif
