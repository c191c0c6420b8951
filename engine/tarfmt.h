#ifndef CM_ENGINE_TARFMT_H
#define CM_ENGINE_TARFMT_H

#include "engine/bytes.h"

/* tarfmt.h - POSIX ustar headers and padding (IEEE 1003.1, pax, "ustar Interchange
 * Format"), rendered straight into a batch's image. docs/formats.md has the rules. */
enum {
    CM_TAR_BLOCK = 512,
    CM_TAR_NAME_MAX = 100,
    CM_TAR_ALIGN = 4096,   /* what every image ends on: direct I/O's unit */
    CM_TAR_END = 4096,     /* two end blocks and their padding */
    CM_TAR_PAD_MAX = 4608, /* largest padding of an image */
};

/* Fills the 512 octets at header. name: at most 100 octets; size: below 8 GiB. */
void cm_tar_header(uint8_t *header, char typeflag, struct cm_span name, uint64_t size, uint32_t mode,
                   int64_t mtime);
/* Zeros up to the next multiple of 512 octets of w. */
void cm_tar_fill_block(struct cm_writer *w);
/* Makes w end on a multiple of 4096: a pax global header with a comment goes before the entry that begins at
 * `last`, since Python's tarfile refuses an archive that ends with one. By how much that entry moved; 0
 * when w ended there already, or has no room. */
size_t cm_tar_pad(struct cm_writer *w, size_t last, int64_t mtime);

#endif
