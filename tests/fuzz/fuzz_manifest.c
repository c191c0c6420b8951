/* Targets: cm_rowread_peek, cm_rowread_len, cm_rowread_parse: any octets as a manifest, line by line, as
 * verify and the index read it. Where both readers take a row, they must find the same ids in it. */
#include "io/rowread.h"
#include "tests/fuzz/fuzz.h"

static void read_line(struct cm_span line)
{
    struct cm_row row = { 0 };
    struct cm_span id, certificate;
    const size_t len = cm_rowread_len(line);

    CM_ASSERT(len <= line.len);
    const bool peeked = cm_rowread_peek(line, &id, &certificate);
    if (cm_rowread_parse(line, &row, NULL) != CM_OK)
        return;
    CM_ASSERT(!peeked || (cm_span_eq(id, cm_span_str(row.device_id)) &&
                          cm_span_eq(certificate, cm_span_str(row.certificate_id))));
    cm_rowread_done(&row);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    for (size_t at = 0; at < len;) {
        const uint8_t *const lf = memchr(data + at, '\n', len - at);
        const size_t line = lf != NULL ? (size_t) (lf - data) - at : len - at;
        read_line(cm_span(data + at, line));
        at += line + 1;
    }
    return 0;
}
