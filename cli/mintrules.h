#ifndef CM_CLI_MINTRULES_H
#define CM_CLI_MINTRULES_H

#include "cli/mintplan.h"

/* mintrules.h - holds what is going to be minted to the rules of the registry that the profile names
 * ("registry = aws-iot": aws/rules.h). A profile without one has no such rules. */

/* CA, key, signature and validity; before the first key. CM_E_USAGE, CM_E_INPUT: what would be refused. */
CM_MUST_CHECK cm_err cm_mint_rules_check(const struct cm_mint_plan *p, struct cm_error *err);
/* The name of one device. */
CM_MUST_CHECK cm_err cm_mint_rules_check_id(const struct cm_mint_plan *p, struct cm_span id,
                                            struct cm_error *err);

#endif
