#ifndef CM_REHEARSAL_LIMITS_H
#define CM_REHEARSAL_LIMITS_H

#include "rehearsal/service.h"

/* limits.h - the documented default rates of AWS IoT's control plane, one token bucket for each operation: a
 * second's worth of requests at once, then the rate.
 *
 *  Threads   one thread's.
 */
struct cm_limits;

CM_MUST_CHECK cm_err cm_limits_new(struct cm_limits **out, struct cm_error *err);
void cm_limits_free(struct cm_limits *l); /* NULL accepted */
/* Takes a token. CM_SVC_THROTTLED: there is none. Operations without a documented rate have 10 a second.
 * now_ns: CLOCK_MONOTONIC. */
CM_MUST_CHECK cm_err cm_limits_take(struct cm_limits *l, const char *operation, int64_t now_ns,
                                    struct cm_svc_error *no);

#endif
