#ifndef CM_REHEARSAL_FUNCTION_H
#define CM_REHEARSAL_FUNCTION_H

#include "rehearsal/allow.h"
#include "rehearsal/caller.h"

/* function.h - what the kit's function (aws/kit/jitr_activate.py) does with a new certificate, by the same
 * operations in the same order: the thing, its certificate, the policy, and ACTIVE last; INACTIVE for what is
 * not on the allow-list. A certificate that isn't PENDING_ACTIVATION is left alone. Doing it again is fine.
 *
 *  Ownership  open makes it, close frees it (NULL accepted); what conf points to outlives it.
 *  Threads    one at a time.
 *  Errors     of handle: what the service, or the fleet, said; the event may be handled again.
 */
struct cm_function_conf {
    const struct cm_stand_address *at;
    const struct cm_allow *allow;
    const char *ca_id;  /* of the fleet: a certificate of another CA is denied */
    const char *policy; /* its name */
};

enum cm_function_done { CM_FUNCTION_LEFT_ALONE, CM_FUNCTION_ACTIVATED, CM_FUNCTION_DENIED };
struct cm_function_result {
    enum cm_function_done done;
    enum cm_standing standing;           /* of a certificate that was denied: why */
    char device_id[CM_ROW_NAME_MAX + 1]; /* "": not known */
    char other[65]; /* an activated one whose thing has another certificate besides: that one; "": none */
};

struct cm_function;
CM_MUST_CHECK cm_err cm_function_open(const struct cm_function_conf *conf, struct cm_function **out,
                                      struct cm_error *err);
void cm_function_close(struct cm_function *f);
CM_MUST_CHECK cm_err cm_function_handle(struct cm_function *f, const char *certificate_id, const char *ca_id,
                                        struct cm_function_result *out, struct cm_error *err);

#endif
