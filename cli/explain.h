#ifndef CM_CLI_EXPLAIN_H
#define CM_CLI_EXPLAIN_H

#include "cli/args.h"
#include "cli/mintplan.h"

/* explain.h - `mint --explain`: what would be done, with what memory, how many files and octets, about how
 * long it would take here, and what the first certificates would say; what is in the databases of --to.
 * Writes nothing, and signs nothing with the CA. The source of p is used up. CM_E_FOUND: rows of the list
 * can't be used. */
CM_MUST_CHECK cm_err cm_explain(struct cm_mint_plan *p, const struct cm_common *common, struct cm_error *err);

#endif
