#ifndef CM_REHEARSAL_ACTIVATOR_H
#define CM_REHEARSAL_ACTIVATOR_H

#include "engine/bytes.h"
#include "rehearsal/allow.h"
#include "rehearsal/ownca.h"

#include <stddef.h>

/* activator.h - the rule and its function: listens to the events of new certificates, activates those that
 * the allow-list has, denies all others.
 *
 * An event may come twice, late, or not at all: activating again is harmless, and the service sends an event
 * again when the device connects again.
 *
 *  Ownership  new makes it, free ends its thread and frees it (NULL accepted); what conf points to outlives
 *             it.
 *  Threads    after start, activate is called from the worker's thread; counts may be asked for from any.
 */
struct cm_activator_conf {
    const struct cm_allow *allow;
    /* Does it in the service: attaches the policy, sets ACTIVE. Doing it again must be fine. */
    cm_err (*activate)(void *arg, const char *certificate_id, struct cm_error *err);
    void *arg;
    /* What a queue may do to events, by a seed (0: nothing): a fifth is lost, a tenth comes twice, a tenth
     * after the one that follows it. */
    uint64_t fault_seed;
};

struct cm_activator_counts {
    uint64_t events;                  /* that came in */
    uint64_t lost;                    /* of them, dropped by the seed */
    uint64_t activated;               /* certificates, each counted once */
    uint64_t again;                   /* activations of certificates that had been activated before */
    uint64_t denied;                  /* events of certificates that are not on the list */
    uint64_t malformed;               /* messages that are no such event */
    uint64_t failed;                  /* activations that the service refused */
    char last_activated[65];          /* certificateId; "": none */
    char last_denied[65];             /* the same */
    char last_failure[CM_ERROR_TEXT]; /* "": none */
};

struct cm_activator;
CM_MUST_CHECK cm_err cm_activator_new(const struct cm_activator_conf *conf, struct cm_activator **out,
                                      struct cm_error *err);
void cm_activator_free(struct cm_activator *a);
void cm_activator_counts(struct cm_activator *a, struct cm_activator_counts *out);

/* One message of the topic; before start, or without it. */
void cm_activator_message(struct cm_activator *a, struct cm_span payload);
/* Nothing came for a while: what the seed held back is handled. */
void cm_activator_idle(struct cm_activator *a);

/* Starts the thread that subscribes at the broker, and again whenever the broker went away. Returns when it
 * has subscribed; CM_E_LIMIT: it can't. */
CM_MUST_CHECK cm_err cm_activator_start(struct cm_activator *a, const struct cm_ownca *own, int port,
                                        struct cm_error *err);

#endif
