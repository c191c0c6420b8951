#ifndef CM_TESTS_T_SINKRIG_H
#define CM_TESTS_T_SINKRIG_H

#include "tests/t_plant.h"

/* t_sinkrig.h - a bundle sink between a plant and a run directory, driven as the
 * pipeline drives it, with a copy of everything that was put. Fails by cr_assert:
 * main thread only. */
struct t_way {
    const char *name;
    const char *sink;
    enum cm_layout layout;
    enum cm_io_kind io;
};
extern const struct t_way t_ways[];
extern const size_t t_ways_count;

enum { T_PUT_MAX = 64, T_BATCH_DEVICES = 3 };

/* What was put: the images, and where the sink said they would lie. */
struct t_copy {
    uint8_t *chain, *keys;
    size_t chain_len, keys_len;
    uint32_t unit, count;
    uint64_t chain_base, key_base;
    struct cm_rec rec[T_BATCH_DEVICES];
    char ids[T_BATCH_DEVICES * 96];
};

struct t_rig {
    const struct t_way *way;
    struct t_plant plant;
    struct t_place place;
    struct cm_minter *minter;
    struct cm_sink *sink;
    struct t_copy copy[T_PUT_MAX];
    uint32_t put, pending;
    uint64_t seq;
};

/* false: this way can't be had here, which is said. where: a directory, or NULL. */
bool t_rig_open(struct t_rig *g, const struct t_way *way, uint64_t segment_bytes);
void t_rig_close(struct t_rig *g); /* every batch must be home: asserts */

/* Mints a batch and puts it; what the sink says. The batch comes home at once when
 * the sink is done with it or refuses it, else by t_rig_reap. */
cm_err t_rig_put(struct t_rig *g, struct cm_error *err);
/* Takes back all that is pending; the first error. */
cm_err t_rig_reap(struct t_rig *g, struct cm_error *err);
/* put, reap and cut, all of which must succeed. */
void t_rig_commit(struct t_rig *g, unsigned batches);

/* Are the octets of these batches where they belong, bit for bit, under final names? */
void t_rig_expect(const struct t_rig *g, uint32_t from, uint32_t to, const char *when);
/* Names in chains/ and keys/: how many end in .part, and how many don't. */
void t_rig_names(const struct t_rig *g, unsigned *unfinished, unsigned *finished);
/* Octets of all files in both. */
uint64_t t_rig_octets(const struct t_rig *g);

#endif
