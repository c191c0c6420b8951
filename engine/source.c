#include "engine/source.h"

bool cm_batch_add(struct cm_batch *b, struct cm_span id, uint64_t seq, uint64_t mac)
{
    if (b->count == b->cap || id.len > b->plan.ids - b->ids_len)
        return false;
    memcpy(b->ids + b->ids_len, id.data, id.len);
    b->rec[b->count++] = (struct cm_rec) {
        .seq = seq, .mac = mac, .id_off = (uint32_t) b->ids_len, .id_len = (uint32_t) id.len
    };
    b->ids_len += id.len;
    return true;
}

bool cm_batch_add_values(struct cm_batch *b, const struct cm_span *value, size_t count)
{
    struct cm_writer w = { .data = (uint8_t *) b->ids, .cap = b->plan.ids, .len = b->ids_len };

    CM_ASSERT(b->count > 0);
    cm_columns_pack(value, count, &w);
    b->ids_len = cm_writer_ok(&w) ? w.len : b->ids_len;
    return cm_writer_ok(&w);
}

void cm_batch_values(const struct cm_batch *b, const struct cm_rec *rec, struct cm_span *out, size_t count)
{
    cm_columns_unpack((const uint8_t *) b->ids + rec->id_off + rec->id_len, out, count);
}
