#include "engine/serials.h"

#include <openssl/rand.h>
#include <pthread.h>
#include <string.h>

enum slot_state { SLOT_FREE, SLOT_DRAWN, SLOT_READY, SLOT_TAKEN };

struct slot {
    enum slot_state state;
    uint32_t signatures;
    uint64_t number;
    uint8_t prefix[CM_SERIAL_PREFIX];
};

struct cm_serials {
    struct cm_serials_conf conf; /* constant */
    size_t slots;

    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t admitted;
    bool stopped;
    uint64_t next;       /* number of the next prefix to draw */
    uint64_t signatures; /* in all */
    size_t ready;
    struct slot *slot;

    uint8_t (*list)[CM_SERIAL_PREFIX]; /* of the last draw; the drawing thread's */
    size_t listed;
};

cm_err cm_serials_prefix(uint8_t out[CM_SERIAL_PREFIX], struct cm_error *err)
{
    if (RAND_bytes(out, CM_SERIAL_PREFIX) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "the random generator failed");
    /* Drawn again when it falls outside, so that it is uniform. */
    while (out[0] == 0 || out[0] > 0x7f)
        if (RAND_bytes(out, 1) != 1)
            CM_FAIL(err, CM_E_CRYPTO, "the random generator failed");
    return CM_OK;
}

cm_err cm_serials_open(const struct cm_serials_conf *conf, struct cm_serials **out, struct cm_error *err)
{
    struct cm_serials *s = calloc(1, sizeof *s);

    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the serial prefixes");
    s->conf = *conf;
    s->next = conf->first;
    /* Ready ones, those of batches under way, and those of batches that wait for their commit: as many
     * again. When even these are out, workers wait for a commit. */
    s->slots = conf->unrecorded ? 1 : 2 * conf->stock + conf->batches;
    (void) pthread_mutex_init(&s->lock, NULL);
    (void) pthread_cond_init(&s->admitted, NULL);
    s->slot = calloc(s->slots, sizeof *s->slot);
    s->list = calloc(s->slots, sizeof *s->list);
    if (s->slot == NULL || s->list == NULL) {
        cm_serials_close(s);
        CM_FAIL(err, CM_E_NOMEM, "no memory for %zu serial prefixes", conf->stock);
    }
    *out = s;
    return CM_OK;
}

void cm_serials_close(struct cm_serials *s)
{
    if (s == NULL)
        return;
    (void) pthread_cond_destroy(&s->admitted);
    (void) pthread_mutex_destroy(&s->lock);
    free(s->slot);
    free(s->list);
    free(s);
}

/* Any slot in this state, the one with the smallest number. */
static struct slot *find(struct cm_serials *s, enum slot_state state)
{
    struct slot *best = NULL;

    for (size_t i = 0; i < s->slots; i++)
        if (s->slot[i].state == state && (best == NULL || s->slot[i].number < best->number))
            best = &s->slot[i];
    return best;
}

/* A prefix that is on record when its process is killed counts as signed under: so no
 * more of them than will be needed. */
static size_t stock(const struct cm_serials *s)
{
    const uint64_t drawn = s->next - s->conf.first;
    const uint64_t left = s->conf.total > drawn ? s->conf.total - drawn : 0;

    return s->conf.total == 0 || s->ready + left >= s->conf.stock ? s->conf.stock : s->ready + (size_t) left;
}

cm_err cm_serials_draw(struct cm_serials *s, struct cm_prefixes *out, struct cm_error *err)
{
    cm_err rc = CM_OK;

    (void) pthread_mutex_lock(&s->lock);
    CM_ASSERT(s->listed == 0); /* what was drawn before is admitted */
    const uint64_t first = s->next;
    const size_t most = stock(s);
    for (size_t i = 0; i < s->slots && s->ready + s->listed < most; i++) {
        struct slot *slot = &s->slot[i];
        if (slot->state != SLOT_FREE)
            continue;
        rc = cm_serials_prefix(slot->prefix, err);
        if (rc != CM_OK)
            break;
        slot->state = SLOT_DRAWN;
        slot->signatures = 0;
        slot->number = s->next++;
        memcpy(s->list[s->listed++], slot->prefix, CM_SERIAL_PREFIX);
    }
    *out = (struct cm_prefixes) { .first = first,
                                  .at_most = s->conf.at_most,
                                  .count = s->listed,
                                  .prefix = (const uint8_t(*)[CM_SERIAL_PREFIX]) s->list };
    (void) pthread_mutex_unlock(&s->lock);
    return rc;
}

void cm_serials_admit(struct cm_serials *s)
{
    (void) pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->slots; i++)
        if (s->slot[i].state == SLOT_DRAWN)
            s->slot[i].state = SLOT_READY;
    s->ready += s->listed;
    s->listed = 0;
    (void) pthread_cond_broadcast(&s->admitted);
    (void) pthread_mutex_unlock(&s->lock);
}

cm_err cm_serials_take(struct cm_serials *s, struct cm_batch *b, struct cm_error *err)
{
    if (s->conf.unrecorded)
        return cm_serials_prefix(b->prefix, err);
    (void) pthread_mutex_lock(&s->lock);
    while (s->ready == 0 && !s->stopped)
        (void) pthread_cond_wait(&s->admitted, &s->lock);
    const bool stopped = s->stopped;
    if (!stopped) {
        struct slot *slot = find(s, SLOT_READY);
        CM_ASSERT(slot != NULL);
        slot->state = SLOT_TAKEN;
        s->ready--;
        memcpy(b->prefix, slot->prefix, CM_SERIAL_PREFIX);
        b->prefix_number = slot->number;
    }
    (void) pthread_mutex_unlock(&s->lock);
    return stopped ? CM_E_CLOSED : CM_OK;
}

void cm_serials_signed(struct cm_serials *s, const struct cm_batch *b, uint32_t signatures)
{
    (void) pthread_mutex_lock(&s->lock);
    s->signatures += signatures;
    for (size_t i = 0; i < s->slots; i++)
        if (s->slot[i].state == SLOT_TAKEN && s->slot[i].number == b->prefix_number)
            s->slot[i].signatures = signatures;
    (void) pthread_mutex_unlock(&s->lock);
}

uint64_t cm_serials_signatures(struct cm_serials *s)
{
    (void) pthread_mutex_lock(&s->lock);
    const uint64_t n = s->signatures;
    (void) pthread_mutex_unlock(&s->lock);
    return n;
}

void cm_serials_commit(struct cm_serials *s, const struct cm_ranges *numbers)
{
    (void) pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->slots; i++)
        if (s->slot[i].state == SLOT_TAKEN && cm_ranges_meets(numbers, s->slot[i].number, s->slot[i].number))
            s->slot[i].state = SLOT_FREE;
    (void) pthread_mutex_unlock(&s->lock);
}

void cm_serials_stop(struct cm_serials *s)
{
    (void) pthread_mutex_lock(&s->lock);
    s->stopped = true;
    (void) pthread_cond_broadcast(&s->admitted);
    (void) pthread_mutex_unlock(&s->lock);
}

/* A drawn one that was never admitted is on record only if the record says so: it
 * counts as unused there, and here as nothing. */
static cm_err end_slot(const struct slot *slot, struct cm_attempt_end *out, struct cm_error *err)
{
    if (slot->state == SLOT_READY || (slot->state == SLOT_TAKEN && slot->signatures == 0))
        return cm_ranges_add(&out->unused, slot->number, slot->number, err);
    if (slot->state != SLOT_TAKEN)
        return CM_OK;
    struct cm_burned *burned = &out->burned[out->burned_count++];
    *burned = (struct cm_burned) { .number = slot->number, .signatures = slot->signatures };
    memcpy(burned->prefix, slot->prefix, sizeof burned->prefix);
    return CM_OK;
}

cm_err cm_serials_end(struct cm_serials *s, struct cm_attempt_end *out, struct cm_error *err)
{
    cm_err rc = CM_OK;

    out->burned = calloc(s->slots, sizeof *out->burned);
    if (out->burned == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the list of burned serial prefixes");
    (void) pthread_mutex_lock(&s->lock);
    out->signatures = s->signatures;
    for (size_t i = 0; i < s->slots && rc == CM_OK; i++)
        rc = end_slot(&s->slot[i], out, err);
    (void) pthread_mutex_unlock(&s->lock);
    return rc;
}

void cm_serials_end_done(struct cm_attempt_end *end)
{
    cm_ranges_close(&end->unused);
    free(end->burned);
    end->burned = NULL;
}
