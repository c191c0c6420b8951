#include "io/bundle.h"

#include "engine/derread.h"
#include "engine/pem.h"

static const char label[] = "CERTIFICATE";

size_t cm_bundle_leaf_max(size_t bundle_len)
{
    return cm_pem_len(label, bundle_len);
}

bool cm_bundle_leaf(struct cm_span bundle, bool der, struct cm_writer *w)
{
    static const char begin[] = "-----BEGIN CERTIFICATE-----\n", end[] = "-----END CERTIFICATE-----\n";
    struct cm_span rest = bundle, leaf = { 0 };

    if (der) {
        if (cm_derread_take(&rest, CM_TAG_SEQUENCE, "certificate", NULL, &leaf, NULL) != CM_OK)
            return false;
        cm_put_pem(w, label, leaf.data, leaf.len);
        return cm_writer_ok(w);
    }
    const uint8_t *const at = memmem(bundle.data, bundle.len, end, sizeof end - 1);
    if (at == NULL || (size_t) (at - bundle.data) < sizeof begin - 1 ||
        memcmp(bundle.data, begin, sizeof begin - 1) != 0)
        return false;
    cm_put(w, bundle.data, (size_t) (at - bundle.data) + sizeof end - 1);
    return cm_writer_ok(w);
}
