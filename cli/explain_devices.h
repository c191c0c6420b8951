#ifndef CM_CLI_EXPLAIN_DEVICES_H
#define CM_CLI_EXPLAIN_DEVICES_H

#include "cli/mintplan.h"

#include <jansson.h>

/* explain_devices.h - the part of `mint --explain` about devices: the columns of the list,
 * what the first certificates would say, and which rows can't be used. */
CM_MUST_CHECK cm_err cm_explain_print_devices(const struct cm_mint_plan *p, struct cm_error *err);
/* The same as "list" and "first" into an object. */
CM_MUST_CHECK cm_err cm_explain_add_devices(const struct cm_mint_plan *p, json_t *out, struct cm_error *err);

#endif
