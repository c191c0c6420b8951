#ifndef CM_CLI_REQUEST_H
#define CM_CLI_REQUEST_H

#include "cli/mintplan.h"

#include <jansson.h>

/* request.h - what was asked of a run, as run.json and the journal keep it, and
 * the way back: a resume takes the options from the journal, plans anew, and must
 * come to the same request.
 */
const char *cm_request_layout(int layout); /* "tar", "tree", "none" */

/* New references, or NULL: out of memory, or an option is not UTF-8. */
json_t *cm_request_run_json(const struct cm_mint_plan *p);   /* all of run.json, without an outcome */
json_t *cm_request_run_record(const struct cm_mint_plan *p); /* the journal's first record */

/* The options of `mint` in a journal's first record, into *o: its texts are the record's; the list of --to is
 * malloced, and the caller's to free (feeds.to.item), after a failure, too. */
CM_MUST_CHECK cm_err cm_request_options(const json_t *record, struct cm_mint_opts *o, struct cm_error *err);
/* run id and time of creation in the record. */
CM_MUST_CHECK cm_err cm_request_identity(const json_t *record, struct cm_mint_identity *out,
                                         struct cm_error *err);
/* CM_E_USAGE: the plan is for something else than the record; the text shows the differences. */
CM_MUST_CHECK cm_err cm_request_compare(const json_t *record, const struct cm_mint_plan *p,
                                        struct cm_error *err);

#endif
