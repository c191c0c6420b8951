/* Targets: cm_rowread_parse, cm_rowview_quick: any octets as a manifest row. What the strict reader accepts
 * has an id that is a file name; what the quick one takes the strict one takes, too, and reads the same from
 * it. */
#include "io/rowread.h"
#include "tests/fuzz/fuzz.h"
#include "tests/t_rowview.h"

static struct cm_rowview_reader *reader; /* for all inputs */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cm_row row = { 0 };
    struct cm_error err = { 0 };

    if (cm_rowread_parse(cm_span(data, len), &row, &err) == CM_OK) {
        CM_ASSERT(row.name[0] != '\0' && strchr(row.name, '/') == NULL);
        cm_rowread_done(&row);
    }
    bool quick = false;
    CM_ASSERT(reader != NULL || cm_rowview_open(&reader, &err) == CM_OK);
    CM_ASSERT(t_rowview_fault(reader, cm_span(data, len), &quick) == NULL);
    return 0;
}
