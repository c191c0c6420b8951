#ifndef CM_IO_READAT_H
#define CM_IO_READAT_H

#include "engine/err.h"

#include <stddef.h>
#include <stdint.h>

/* pread until len octets are there or the file ends; *got tells. EINTR is tried
 * again. CM_E_IO names path. */
CM_MUST_CHECK cm_err cm_read_at(int fd, const char *path, void *buf, size_t len, uint64_t offset, size_t *got,
                                struct cm_error *err);

#endif
