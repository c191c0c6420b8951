#include "engine/columns.h"

size_t cm_columns_find(const struct cm_columns *columns, struct cm_span name)
{
    const size_t count = columns != NULL ? columns->count : 0;
    size_t i = 0;

    while (i < count && !cm_span_eq(cm_span_str(columns->name[i]), name))
        i++;
    return i;
}

bool cm_column_is_placeholder(struct cm_span name)
{
    for (size_t i = 0; i < name.len; i++)
        if (memchr("{}:/\\+", name.data[i], 6) != NULL)
            return false;
    return name.len > 0;
}

/* Each value is its length, two octets, and its octets: CM_ATTRIBUTES_MAX fits. */
size_t cm_columns_packed_len(const struct cm_span *value, size_t count)
{
    size_t len = 0;

    for (size_t i = 0; i < count; i++)
        len += sizeof(uint16_t) + value[i].len;
    return len;
}

void cm_columns_pack(const struct cm_span *value, size_t count, struct cm_writer *w)
{
    for (size_t i = 0; i < count; i++) {
        const uint16_t len = (uint16_t) value[i].len;
        w->overflow |= value[i].len > UINT16_MAX;
        cm_put(w, &len, sizeof len);
        cm_put_span(w, value[i]);
    }
}

void cm_columns_unpack(const uint8_t *at, struct cm_span *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t len = 0;
        memcpy(&len, at, sizeof len);
        out[i] = cm_span(at + sizeof len, len);
        at += sizeof len + len;
    }
}
