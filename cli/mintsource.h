#ifndef CM_CLI_MINTSOURCE_H
#define CM_CLI_MINTSOURCE_H

#include "cli/mintplan.h"

/* mintsource.h - the devices of a plan: by count or from a list, each judged before the
 * first key is made, and their ids reserved in the ledger where there is one.
 */

/* Opens the list, if there is one, for its columns: before anything that may name them. */
CM_MUST_CHECK cm_err cm_mint_source_list(struct cm_mint_plan *p, struct cm_error *err);
/* The source, all of it judged: when template and ledger are there. first: this is no
 * resume, so that refused rows are to be written. */
CM_MUST_CHECK cm_err cm_mint_source_open(struct cm_mint_plan *p, bool first, struct cm_error *err);

#endif
