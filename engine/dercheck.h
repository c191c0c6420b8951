#ifndef CM_ENGINE_DERCHECK_H
#define CM_ENGINE_DERCHECK_H

#include "engine/derread.h"

/* dercheck.h - is this content right for its type? What derread.c (which takes one
 * element) and derwalk.c (which goes through all of them) share; nobody else's. */
CM_MUST_CHECK cm_err cm_dercheck_integer(struct cm_span c, const char *what, struct cm_error *err);
CM_MUST_CHECK cm_err cm_dercheck_boolean(struct cm_span c, const char *what, struct cm_error *err);
CM_MUST_CHECK cm_err cm_dercheck_bits(struct cm_span c, const char *what, struct cm_error *err);
CM_MUST_CHECK cm_err cm_dercheck_oid(struct cm_span c, const char *what, struct cm_error *err);
/* tag: UTCTime or GeneralizedTime. */
CM_MUST_CHECK cm_err cm_dercheck_time(uint8_t tag, struct cm_span c, const char *what,
                                      struct cm_derread_time *out, struct cm_error *err);

#endif
