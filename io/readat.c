#include "io/readat.h"
#include "io/file.h"
#include "io/sys.h"

#include <errno.h>
#include <unistd.h>

cm_err cm_read_at(int fd, const char *path, void *buf, size_t len, uint64_t offset, size_t *got,
                  struct cm_error *err)
{
    uint8_t *const p = buf;
    size_t have = 0;
    unsigned tries = 0;

    while (have < len) {
        const ssize_t n = cm_sys_pread(fd, p + have, len - have, (off_t) (offset + have));
        if (n < 0 && errno == EINTR && ++tries < CM_EINTR_TRIES)
            continue;
        if (n < 0)
            CM_FAIL(err, CM_E_IO, "can't read %s at offset %llu", path, (unsigned long long) (offset + have));
        if (n == 0)
            break;
        have += (size_t) n;
    }
    *got = have;
    return CM_OK;
}
