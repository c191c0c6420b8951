#include "tests/t_rowview.h"

#include "io/jsonread.h"

#include <jansson.h>

#define SPAN(name)                                                                                           \
    {                                                                                                        \
#name, offsetof(struct cm_rowview, name)                                                             \
    }
static const struct {
    const char *name;
    size_t offset;
} spans[] = {
    SPAN(run_id),     SPAN(device_id),      SPAN(lot),
    SPAN(sku),        SPAN(order),          SPAN(profile),
    SPAN(subject),    SPAN(certificate_id), SPAN(ca_certificate_id),
    SPAN(serial),     SPAN(serial_dec),     SPAN(key_alg),
    SPAN(sig_alg),    SPAN(spki_sha256),    SPAN(ski),
    SPAN(not_before), SPAN(not_after),      SPAN(thumbprint_sha1),
    SPAN(minted_at),  SPAN(chain_file),     SPAN(chain_xxh3),
    SPAN(key_file),   SPAN(chain_sha256),   SPAN(key_xxh3),
    SPAN(key_sha256),
};
#undef SPAN

static const struct cm_span *span_at(const struct cm_rowview *v, size_t i)
{
    return (const struct cm_span *) (const void *) ((const char *) v + spans[i].offset);
}

static const char *difference(const struct cm_rowview *a, const struct cm_rowview *b)
{
    for (size_t i = 0; i < CM_COUNT(spans); i++)
        if (!cm_span_eq(*span_at(a, i), *span_at(b, i)) ||
            (span_at(a, i)->data == NULL) != (span_at(b, i)->data == NULL))
            return spans[i].name;
    if (a->seq != b->seq)
        return "seq";
    if (a->chain_offset != b->chain_offset || a->chain_length != b->chain_length)
        return "chain";
    return a->key_offset != b->key_offset || a->key_length != b->key_length ? "key" : NULL;
}

static bool same_object(const struct json_t *want, struct cm_span text)
{
    json_t *is = NULL;
    const bool read = cm_json_read(text, &is, NULL, NULL) == CM_OK && is != NULL;
    const bool same = read && json_equal(want, is) == 1;

    json_decref(is);
    return same;
}

const char *t_rowview_fault(struct cm_rowview_reader *r, struct cm_span text, bool *quick)
{
    struct cm_rowview fast, slow;
    struct cm_row row = { 0 };

    *quick = cm_rowview_quick(r, text, &fast);
    if (!*quick)
        return NULL;
    if (cm_rowread_parse(text, &row, NULL) != CM_OK)
        return "the strict reader refuses it";
    cm_rowview_of(&row, fast.attributes, &slow);
    const char *fault = difference(&fast, &slow);
    if (fault == NULL && !same_object(row.attributes, fast.attributes))
        fault = "attributes";
    cm_rowread_done(&row);
    return fault;
}
