#include "engine/xxh.h"

#define XXH_INLINE_ALL
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

void cm_xxh128(const void *data, size_t len, uint8_t out[16])
{
    XXH128_canonical_t c;

    XXH128_canonicalFromHash(&c, XXH3_128bits(data, len));
    memcpy(out, c.digest, sizeof c.digest);
}

struct cm_xxh {
    XXH3_state_t *state;
};

struct cm_xxh *cm_xxh_open(void)
{
    struct cm_xxh *x = calloc(1, sizeof *x);

    if (x != NULL)
        x->state = XXH3_createState();
    if (x == NULL || x->state == NULL || XXH3_128bits_reset(x->state) != XXH_OK) {
        if (x != NULL)
            (void) XXH3_freeState(x->state);
        free(x);
        return NULL;
    }
    return x;
}

void cm_xxh_update(struct cm_xxh *x, const void *data, size_t len)
{
    (void) XXH3_128bits_update(x->state, data, len);
}

void cm_xxh_final(struct cm_xxh *x, uint8_t out[16])
{
    XXH128_canonical_t c;

    XXH128_canonicalFromHash(&c, XXH3_128bits_digest(x->state));
    memcpy(out, c.digest, sizeof c.digest);
    (void) XXH3_freeState(x->state);
    free(x);
}

uint64_t cm_xxh64(const void *data, size_t len)
{
    return XXH3_64bits(data, len);
}
