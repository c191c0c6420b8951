#ifndef CM_IO_EXTSORT_H
#define CM_IO_EXTSORT_H

#include "engine/err.h"

#include <stddef.h>
#include <stdint.h>

/* extsort.h - sorts any number of fixed-size records in a fixed amount of memory.
 *
 * Records are pushed in any order and popped in memcmp order. What does not fit
 * in memory is written, in sorted runs, to a temporary file without a name in the
 * given directory (mode 0600), which vanishes with the process; popping merges the
 * runs. Equal records are all kept.
 *
 *  Memory     `memory` octets (at least CM_EXTSORT_MEMORY_MIN) and 24 KiB, however
 *             many records there are.
 *  Disk       record_len octets a record once they no longer fit in memory, and
 *             for a moment twice that beyond some 500 times `memory`.
 *  Use        push all, then pop all: the first pop ends the pushing.
 *  Ownership  close frees everything (NULL accepted), the file too.
 *  Threads    one at a time; the caller locks.
 *  Errors     CM_E_IO names the directory; after a failure only close is allowed.
 */
enum {
    CM_EXTSORT_RECORD_MAX = 64,  /* octets */
    CM_EXTSORT_MEMORY = 4 << 20, /* the usual bound, octets */
    CM_EXTSORT_MEMORY_MIN = 64 << 10,
};

struct cm_extsort;

CM_MUST_CHECK cm_err cm_extsort_open(const char *dir, size_t record_len, size_t memory,
                                     struct cm_extsort **out, struct cm_error *err);
CM_MUST_CHECK cm_err cm_extsort_push(struct cm_extsort *s, const void *record, struct cm_error *err);
/* The next record in order, borrowed until the next call. CM_E_END when there is none. */
CM_MUST_CHECK cm_err cm_extsort_pop(struct cm_extsort *s, const uint8_t **record, struct cm_error *err);
void cm_extsort_close(struct cm_extsort *s);

#endif
