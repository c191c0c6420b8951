/* Targets: cm_csvread_next: any octets as CSV, read in pieces whose size the first octet sets. Records lie
 * one behind the other, their fields are no longer than they are, and reading ends. */
#include "io/csvread.h"
#include "tests/fuzz/fuzz.h"

struct feed {
    struct cm_span left;
    size_t piece;
};

static cm_err feed(void *arg, uint8_t *buf, size_t cap, size_t *got, struct cm_error *err)
{
    struct feed *const f = arg;
    size_t n = f->left.len < f->piece ? f->left.len : f->piece;

    (void) err;
    n = n < cap ? n : cap;
    if (n > 0)
        memcpy(buf, f->left.data, n);
    f->left = cm_span(f->left.data + n, f->left.len - n);
    *got = n;
    return CM_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct feed f;
    static struct cm_csvread *r; /* one for all, begun anew: its buffers are large */
    struct cm_csv_record rec;
    uint64_t line = 0;

    if (len == 0)
        return 0;
    f = (struct feed) { .left = cm_span(data + 1, len - 1), .piece = data[0] + 1u };
    if (r == NULL)
        CM_ASSERT(cm_csvread_open("list", feed, &f, &r, NULL) == CM_OK);
    cm_csvread_restart(r);
    while (cm_csvread_next(r, &rec, NULL) == CM_OK) {
        size_t sum = 0;
        for (size_t i = 0; i < rec.fields; i++)
            sum += rec.field[i].len;
        CM_ASSERT(rec.line > line && rec.fields > 0 && rec.fields <= CM_CSV_FIELDS);
        CM_ASSERT(rec.raw.len > 0 && sum <= rec.raw.len);
        line = rec.line;
    }
    return 0;
}
