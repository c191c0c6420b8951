#ifndef CM_REHEARSAL_TEMPLATE_IMPL_H
#define CM_REHEARSAL_TEMPLATE_IMPL_H

#include "rehearsal/template.h"

/* template_impl.h - what reads a template and what carries it out share. */
struct cm_template {
    json_t *body; /* checked */
};

enum { CM_TEMPLATE_THING, CM_TEMPLATE_CERTIFICATE, CM_TEMPLATE_POLICY };

#endif
