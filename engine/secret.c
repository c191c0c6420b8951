#include "engine/secret.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static atomic_size_t locked;
static atomic_uint refused;

static size_t page_size(void)
{
    const long page = sysconf(_SC_PAGESIZE);

    return page > 0 ? (size_t) page : 4096;
}

cm_err cm_secret_init(struct cm_secret *s, size_t cap, struct cm_error *err)
{
    const size_t page = page_size();
    const size_t len = (cap + page - 1) / page * page;
    uint8_t *map = NULL;

    CM_ASSERT(cap > 0 && cap < SIZE_MAX - 3 * page);
    map = mmap(NULL, len + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        CM_FAIL(err, CM_E_NOMEM, "can't map %zu bytes for key memory", len);
    if (mprotect(map + page, len, PROT_READ | PROT_WRITE) != 0 || mlock(map + page, len) != 0) {
        const int os = errno;
        (void) munmap(map, len + 2 * page);
        atomic_fetch_add(&refused, 1);
        errno = os;
        CM_FAIL(err, CM_E_LIMIT,
                "can't lock %zu bytes of key memory beside %zu: %s; raise RLIMIT_MEMLOCK (ulimit -l)", len,
                atomic_load(&locked), os == EPERM ? "not permitted" : "over the limit");
    }
    (void) madvise(map + page, len, MADV_DONTDUMP);
    (void) madvise(map + page, len, MADV_WIPEONFORK);
    atomic_fetch_add(&locked, len);
    *s = (struct cm_secret) { .base = map + page, .cap = len };
    return CM_OK;
}

void cm_secret_wipe(void *data, size_t len)
{
    /* The C library's, not OPENSSL_cleanse: as sure to stay, and a vectorised
     * memset; keys are wiped twice each, so it shows. */
    explicit_bzero(data, len);
}

void cm_secret_done(struct cm_secret *s)
{
    const size_t page = page_size();

    if (s->base != NULL) {
        cm_secret_wipe(s->base, s->cap);
        (void) munmap(s->base - page, s->cap + 2 * page);
        atomic_fetch_sub(&locked, s->cap);
    }
    *s = (struct cm_secret) { 0 };
}

size_t cm_secret_locked(void)
{
    return atomic_load(&locked);
}

uint32_t cm_secret_refused(void)
{
    return atomic_load(&refused);
}
