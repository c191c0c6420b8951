/* Targets: cm_tarread_next over a whole segment: it always moves on, by whole blocks, or refuses. */
#include "io/tarread.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cm_tarread t;
    struct cm_error err = { 0 };

    for (size_t at = 0; at < len;) {
        const size_t left = len - at, window = left < CM_TARREAD_WINDOW ? left : CM_TARREAD_WINDOW;
        if (cm_tarread_next(cm_span(data + at, window), at, window == left, &t, &err) != CM_OK)
            break;
        CM_ASSERT(t.total > 0 && t.total % CM_TARREAD_BLOCK == 0);
        if (t.kind == CM_TARREAD_ENDING || t.total > left)
            break;
        at += t.total;
    }
    return 0;
}
