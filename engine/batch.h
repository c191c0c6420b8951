#ifndef CM_ENGINE_BATCH_H
#define CM_ENGINE_BATCH_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "engine/secret.h"
#include "engine/when.h"

/* batch.h - the unit that moves through the pipeline.
 *
 * A batch holds some devices and the bytes made for them: the image of the
 * chain segment, the image of the key segment, the manifest rows. It has one
 * owner at any instant; a queue (queue.h) hands ownership over.
 *
 *   state     owner       may write
 *   FREE      pool        nobody
 *   FILLING   worker      everything above "writer"
 *   SEALED    queue       nobody
 *   WRITING   writer      the writer's fields; the kernel reads the images
 *   WRITTEN   queue       nobody; the key image is wiped already
 *   LISTING   registrar   nothing: it copies the rows
 */
enum cm_batch_state {
    CM_BATCH_FREE,
    CM_BATCH_FILLING,
    CM_BATCH_SEALED,
    CM_BATCH_WRITING,
    CM_BATCH_WRITTEN,
    CM_BATCH_LISTING,
};

enum cm_layout { CM_LAYOUT_TAR, CM_LAYOUT_TREE, CM_LAYOUT_NONE };
enum cm_key_format { CM_KEYS_PKCS8, CM_KEYS_TRADITIONAL };
enum cm_encoding { CM_ENCODE_PEM, CM_ENCODE_DER };

enum { CM_SERIAL_LEN = 20, CM_SERIAL_PREFIX = 8, CM_SERIAL_RANDOM = 12 };

/* One device. Offsets are into the batch's images; chain and key are the data
 * itself, behind the tar header. */
struct cm_rec {
    uint64_t seq;
    uint64_t mac;
    uint32_t id_off, id_len; /* in ids; the values of columns follow (source.h) */
    uint32_t chain_off, chain_len;
    uint32_t key_off, key_len;
    uint32_t row_off, row_len;   /* in rows, without the parts that the registrar puts in */
    uint32_t cut_chain, cut_key; /* where in the row the places go (row.h) */
    uint8_t certificate_id[32];
};

/* Sizes of one batch's memory, all in octets but for devices. */
struct cm_batch_plan {
    uint32_t devices;
    size_t ids, chain, keys, rows; /* chain and keys: multiples of 4096 */
};

struct cm_batch {
    /* pool, constant */
    uint32_t index;
    uint32_t cap; /* devices */
    struct cm_batch_plan plan;
    uint8_t *chain; /* 4096-aligned, in the pool's public slab */
    uint8_t *keys;  /* 4096-aligned, in the pool's secret slab */
    uint8_t *rows;
    char *ids;
    uint8_t *random; /* CM_SERIAL_RANDOM for each device */
    struct cm_rec *rec;

    enum cm_batch_state state; /* its owner */

    /* worker: FILLING */
    uint32_t count;
    size_t chain_len, keys_len, rows_len, ids_len;
    uint64_t prefix_number; /* of the run, from 0 */
    uint8_t prefix[CM_SERIAL_PREFIX];
    cm_when minted_at;

    /* writer: WRITING */
    uint32_t unit;                 /* number of the segment or shard */
    uint64_t chain_base, key_base; /* where the images lie in their segments */
    uint32_t inflight;             /* requests that the kernel has not answered */
    bool landed;                   /* every octet was taken by the kernel */
    bool group_end;                /* the last of its commit */
    struct cm_batch *next;         /* the writer's list, in the order of put */
};

struct cm_pool;

#endif
