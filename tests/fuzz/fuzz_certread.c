/* Targets: cm_certread, cm_keyread_spki, cm_keyread_priv (all forms): any octets, no crash, no leak. */
#include "engine/certread.h"
#include "engine/keyread.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct cm_span der = cm_span(data, len);
    struct cm_certread cert;
    struct cm_keyread_pub pub;
    struct cm_keyread_priv priv;
    struct cm_error err = { 0 };

    if (cm_certread(der, &cert, &err) == CM_OK)
        CM_ASSERT(len > 0);
    (void) !cm_keyread_spki(der, &pub, &err);
    for (int form = CM_KEYREAD_PKCS8; form <= CM_KEYREAD_PKCS1; form++)
        (void) !cm_keyread_priv(der, (enum cm_keyread_form) form, &priv, &err);
    return 0;
}
