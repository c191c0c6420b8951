#ifndef CM_IO_TARREAD_H
#define CM_IO_TARREAD_H

#include "engine/bytes.h"
#include "engine/err.h"

/* tarread.h - a strict walker over segments (docs/formats.md, "Tar segments").
 *
 * Independent of the writer, and pure: it looks at octets that the caller has read
 * and does no I/O. It knows the three things that a segment consists of and refuses
 * everything else, also what tar itself would accept.
 *
 *  Errors   CM_E_INPUT, with the offset in the segment of the thing that is wrong.
 *  Threads  no state.
 */
enum {
    CM_TARREAD_BLOCK = 512,
    CM_TARREAD_PAD_MAX = 4608, /* octets of the longest padding, header included */
    CM_TARREAD_END = 4096,     /* octets at the end */
    CM_TARREAD_WINDOW = 8192,  /* enough of a segment to judge any next thing by */
    CM_TARREAD_NAME_MAX = 100,
};

enum cm_tarread_kind { CM_TARREAD_ENTRY, CM_TARREAD_PADDING, CM_TARREAD_ENDING };

struct cm_tarread {
    enum cm_tarread_kind kind;
    uint64_t total; /* octets to the next thing: for an entry header, data and fill */
    /* entries */
    uint64_t size; /* of the data, which begins 512 octets behind the header */
    uint32_t mode;
    int64_t mtime; /* for padding too */
    char name[CM_TARREAD_NAME_MAX + 1];
};

/* What begins at offset `at`, a multiple of 512. window: the octets from there on;
 * either CM_TARREAD_WINDOW of them or all that there are, and then `last` is true.
 * Of an entry only the header is looked at. CM_E_END: the window is empty. */
CM_MUST_CHECK cm_err cm_tarread_next(struct cm_span window, uint64_t at, bool last, struct cm_tarread *out,
                                     struct cm_error *err);
/* Just a header: of an entry or of padding. */
CM_MUST_CHECK cm_err cm_tarread_header(const uint8_t block[CM_TARREAD_BLOCK], uint64_t at,
                                       struct cm_tarread *out, struct cm_error *err);
/* size rounded up to whole blocks. */
uint64_t cm_tarread_blocks(uint64_t size);
bool cm_tarread_is_zero(struct cm_span octets);

#endif
