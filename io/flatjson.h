#ifndef CM_IO_FLATJSON_H
#define CM_IO_FLATJSON_H

#include "engine/bytes.h"

/* flatjson.h - a strict, quick reader of one flat JSON object (RFC 8259): what a line of
 * a device list is.
 *
 * Values are strings, numbers, true, false and null; numbers stay as they are written, so
 * that no digit of a long serial number is lost, null is an empty text. An object or array
 * inside is refused. Whether texts are UTF-8, and keys are each there once, is the
 * caller's business. jansson, which reads everything else, would cost more than the rest
 * of a row together.
 */
enum { CM_FLATJSON_FIELDS = 256 };

struct cm_flatjson {
    size_t fields;
    struct cm_span key[CM_FLATJSON_FIELDS]; /* decoded: views into the line or into text */
    struct cm_span value[CM_FLATJSON_FIELDS];
};

/* text: room for line.len octets. What is wrong with the line, or NULL. */
const char *cm_flatjson_parse(struct cm_span line, uint8_t *text, struct cm_flatjson *out);

#endif
