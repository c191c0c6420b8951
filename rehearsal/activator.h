#ifndef CM_REHEARSAL_ACTIVATOR_H
#define CM_REHEARSAL_ACTIVATOR_H

#include "engine/bytes.h"
#include "rehearsal/function.h"
#include "rehearsal/ownca.h"

#include <stddef.h>

/* activator.h - the rule: listens to the events of new certificates, has each handled, and keeps what came of
 * it.
 *
 * An event may come twice, late, or not at all: handling one again is harmless, and the service sends an
 * event again when the device connects again.
 *
 *  Ownership  new makes it, free ends its thread and frees it (NULL accepted); what conf points to outlives
 *             it.
 *  Threads    after start, handle is called from the worker's thread; counts and findings may be asked for
 *             from any.
 */
struct cm_activator_conf {
    /* As cm_function_handle. */
    cm_err (*handle)(void *arg, const char *certificate_id, const char *ca_id, struct cm_function_result *out,
                     struct cm_error *err);
    void *arg;
    /* What a queue may do to events, by a seed (0: nothing): a fifth is lost, a tenth comes twice, a tenth
     * after the one that follows it. */
    uint64_t fault_seed;
};

struct cm_activator_counts {
    uint64_t events;                    /* that came in */
    uint64_t lost;                      /* of them, dropped by the seed */
    uint64_t activated;                 /* certificates */
    uint64_t left_alone;                /* events of certificates that were not PENDING_ACTIVATION any more */
    uint64_t denied[CM_STANDING_COUNT]; /* certificates that are not on the list, by why */
    uint64_t doubled;                   /* activated, and their thing has another certificate besides */
    uint64_t malformed;                 /* messages that are no such event */
    uint64_t failed;                    /* events that the service, or the fleet, refused to have handled */
    char last_activated[65];            /* certificateId; "": none */
    char last_failure[CM_ERROR_TEXT];   /* "": none */
};

/* A certificate that was denied, or whose thing has another one. */
struct cm_activator_finding {
    const char *what; /* "superseded", "burned", "unknown"; "doubled" */
    char certificate_id[65];
    char device_id[CM_ROW_NAME_MAX + 1]; /* "": not known */
    char other[65];                      /* of a doubled one: the other certificate */
};
enum { CM_ACTIVATOR_FINDINGS = 1000 }; /* that are kept: the first */

struct cm_activator;
CM_MUST_CHECK cm_err cm_activator_new(const struct cm_activator_conf *conf, struct cm_activator **out,
                                      struct cm_error *err);
void cm_activator_free(struct cm_activator *a);
void cm_activator_counts(struct cm_activator *a, struct cm_activator_counts *out);
/* The findings in the order in which they came. false: there is none with this number (yet). */
bool cm_activator_finding(struct cm_activator *a, size_t number, struct cm_activator_finding *out);

/* One message of the topic; before start, or without it. */
void cm_activator_message(struct cm_activator *a, struct cm_span payload);
/* Nothing came for a while: what the seed held back is handled. */
void cm_activator_idle(struct cm_activator *a);

/* Starts the thread that subscribes at the broker, and again whenever the broker went away. Returns when it
 * has subscribed; CM_E_LIMIT: it can't. */
CM_MUST_CHECK cm_err cm_activator_start(struct cm_activator *a, const struct cm_ownca *own, int port,
                                        struct cm_error *err);

#endif
