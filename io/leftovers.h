#ifndef CM_IO_LEFTOVERS_H
#define CM_IO_LEFTOVERS_H

#include "io/journalread.h"

/* leftovers.h - what a run that did not end leaves behind, by what its journal
 * says: segments in work are cut to what is committed and get their end and their
 * final names; all that is not committed goes, keys overwritten first.
 *
 * Every step can be interrupted and begun again. */
struct cm_leftovers_conf {
    const struct cm_rundir *dir;
    const struct cm_journal_state *journal;
    bool tree, durable;
    bool reworked; /* what is missing may have been condemned, and minted again: verify tells */
};

/* Makes durable what a killed process may have left in the page cache: before this, nothing that is read
 * back can be trusted. The directory alone is needed. */
CM_MUST_CHECK cm_err cm_leftovers_sync(const struct cm_rundir *d, struct cm_error *err);
/* Appends to the array `names` what was removed or cut. CM_E_INPUT: something that is
 * committed is missing or too short. */
CM_MUST_CHECK cm_err cm_leftovers_clear(const struct cm_leftovers_conf *conf, json_t *names,
                                        struct cm_error *err);
/* Enters the prefixes whose fate nobody knows into burned.ndjson; the next attempt's record covers it. */
CM_MUST_CHECK cm_err cm_leftovers_burn(struct cm_journal *j, const struct cm_journal_state *s,
                                       struct cm_error *err);

#endif
