/* Targets: cm_rowread_parse: any octets as a manifest row. What it accepts has an id that is a file name. */
#include "io/rowread.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cm_row row = { 0 };
    struct cm_error err = { 0 };

    if (cm_rowread_parse(cm_span(data, len), &row, &err) == CM_OK) {
        CM_ASSERT(row.name[0] != '\0' && strchr(row.name, '/') == NULL);
        cm_rowread_done(&row);
    }
    return 0;
}
