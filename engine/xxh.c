#include "engine/xxh.h"

#define XXH_INLINE_ALL
#include <string.h>
#include <xxhash.h>

void cm_xxh128(const void *data, size_t len, uint8_t out[16])
{
    XXH128_canonical_t c;

    XXH128_canonicalFromHash(&c, XXH3_128bits(data, len));
    memcpy(out, c.digest, sizeof c.digest);
}

uint64_t cm_xxh64(const void *data, size_t len)
{
    return XXH3_64bits(data, len);
}
