#ifndef CM_REHEARSAL_CALLER_H
#define CM_REHEARSAL_CALLER_H

#include "rehearsal/stand.h"

#include <jansson.h>

/* caller.h - asks the stand-in for an operation of AWS IoT, by its method, path and JSON.
 *
 *  Ownership  open makes it, close frees it (NULL accepted).
 *  Threads    a caller belongs to one thread at a time.
 *  Errors     CM_E_INPUT: the service refused, with the operation, its exception and its words.
 */
struct cm_call {
    const char *method;
    const char *front, *name, *back; /* the path: front, the name percent-encoded, back; no name: "" */
    const char *query;               /* NULL: none */
    const char *principal;           /* for x-amzn-principal; NULL: none */
    const json_t *body;              /* borrowed; NULL: none */
    bool *exists; /* not NULL: ResourceAlreadyExistsException is told here, and is no failure */
};

struct cm_caller;
CM_MUST_CHECK cm_err cm_caller_open(const struct cm_stand_address *at, struct cm_caller **out,
                                    struct cm_error *err);
void cm_caller_close(struct cm_caller *c);
/* *out (NULL: not wanted): the answer, the caller's to json_decref; untouched where it exists. */
CM_MUST_CHECK cm_err cm_caller_do(struct cm_caller *c, const struct cm_call *call, json_t **out,
                                  struct cm_error *err);

#endif
