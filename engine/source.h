#ifndef CM_ENGINE_SOURCE_H
#define CM_ENGINE_SOURCE_H

#include "engine/batch.h"
#include "engine/pattern.h"
#include "engine/ranges.h"

/* source.h - where the devices of a run come from.
 *
 * A source fills batches with ids (and seq, mac, the values of a list's columns), in
 * order, each device once.
 * Implementations: source_count.c (--count) here, io/source_list.c (--devices).
 *
 *  Threads   next is called by one worker at a time (the pipeline locks).
 *  Ids       are checked (cm_id_check) before the run begins; next need not.
 */
struct cm_source;

struct cm_source_ops {
    const char *name;
    /* Fills at most b->cap records and sets b->count. CM_E_END: no device is left. */
    cm_err (*next)(struct cm_source *s, struct cm_batch *b, struct cm_error *err);
    void (*close)(struct cm_source *s);
};

/* First field of every implementation. */
struct cm_source {
    const struct cm_source_ops *ops;
    uint64_t devices; /* how many there are in all */
    /* Sequence numbers that are passed over: an earlier attempt has committed them.
     * Borrowed; NULL: none. */
    const struct cm_ranges *done;
};

struct cm_source_count_conf {
    const struct cm_pattern *id; /* copied */
    uint64_t start, count;
    uint64_t mac_base;     /* of device `start` */
    bool uses_mac;         /* {mac} stands somewhere: addresses must not run over */
    const uint8_t *run_id; /* 16 octets, copied */
};

/* Refuses a pattern that would give two devices one id, and numbers or MAC
 * addresses that would run over. */
CM_MUST_CHECK cm_err cm_source_count_open(const struct cm_source_count_conf *conf, struct cm_source **out,
                                          struct cm_error *err);
/* Values of the device at index 0..count-1 with its id in id_buf, for checks beforehand. */
CM_MUST_CHECK cm_err cm_source_count_at(struct cm_source *s, uint64_t index, char id_buf[CM_PATTERN_OUT],
                                        struct cm_values *out, struct cm_error *err);

/* Appends one record to the batch: false when it is full. For implementations. */
bool cm_batch_add(struct cm_batch *b, struct cm_span id, uint64_t seq, uint64_t mac);
/* The values of its columns, right behind: false when they don't fit. */
bool cm_batch_add_values(struct cm_batch *b, const struct cm_span *value, size_t count);
/* They again: views into the batch. */
void cm_batch_values(const struct cm_batch *b, const struct cm_rec *rec, struct cm_span *out, size_t count);

#endif
