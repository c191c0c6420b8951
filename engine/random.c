#include "engine/random.h"

#include <openssl/rand.h>

cm_err cm_random_uuid(uint8_t out[16], struct cm_error *err)
{
    if (RAND_bytes(out, 16) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "the random generator failed");
    out[6] = (uint8_t) ((out[6] & 0x0f) | 0x40);
    out[8] = (uint8_t) ((out[8] & 0x3f) | 0x80);
    return CM_OK;
}
