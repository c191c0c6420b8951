#ifndef CM_ENGINE_COLUMNS_H
#define CM_ENGINE_COLUMNS_H

#include "engine/bytes.h"
#include "engine/err.h"

/* columns.h - the columns of a device list, and what a device has in them.
 *
 * A list with columns (CSV, NDJSON) gives each device a text in each of them. The
 * texts travel in the batch, packed behind the id; they fill {column} placeholders
 * and become the row's "attributes".
 *
 *  Names    valid UTF-8, 1 to CM_COLUMN_NAME_MAX octets, no control characters, each
 *           once. One with '{', '}', ':', '/', '\' or '+' can't stand in braces.
 *  Values   valid UTF-8 without NUL; as JSON, names included, at most
 *           CM_ATTRIBUTES_MAX octets a device.
 */
enum { CM_COLUMNS_MAX = 256, CM_COLUMN_NAME_MAX = 64, CM_ATTRIBUTES_MAX = 16 << 10 };

struct cm_columns {
    const char *const *name; /* in the list's order; borrowed */
    size_t count;
    size_t id; /* the one that holds the device ids */
};

/* What the devices of a list have at most, found when the list was checked. */
struct cm_column_bounds {
    uint32_t value[CM_COLUMNS_MAX]; /* octets in each column */
    uint32_t packed;                /* octets of a device's values, packed */
    uint32_t json;                  /* octets of a row's "attributes" */
    uint32_t subject;               /* octets of a certificate's subject as text */
};

/* The column of that name; columns->count: there is none. columns may be NULL: 0. */
size_t cm_columns_find(const struct cm_columns *columns, struct cm_span name);
/* May this name stand in braces? */
bool cm_column_is_placeholder(struct cm_span name);

size_t cm_columns_packed_len(const struct cm_span *value, size_t count);
void cm_columns_pack(const struct cm_span *value, size_t count, struct cm_writer *w);
/* count values that lie packed at `at`: views into it. */
void cm_columns_unpack(const uint8_t *at, struct cm_span *out, size_t count);

#endif
