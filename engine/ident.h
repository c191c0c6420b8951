#ifndef CM_ENGINE_IDENT_H
#define CM_ENGINE_IDENT_H

#include "engine/bytes.h"
#include "engine/err.h"

/* ident.h - device ids: what they may be, and the file names made of them. */

enum {
    CM_ID_MAX = 96, /* octets of an id, and of its encoded form */
    CM_ID_NAME_MAX = 96,
};

/* Is this usable as a device id? UTF-8, 1 to 96 octets once encoded, no
 * control or direction-changing characters, no '/' or '\', no "..", no leading
 * '-', no space or dot at an end, not a name that Windows reserves. CM_E_INPUT
 * with the id (made printable) and the reason; the caller adds where. */
CM_MUST_CHECK cm_err cm_id_check(struct cm_span id, struct cm_error *err);

/* The id percent-encoded (RFC 3986 2.1: all but its unreserved characters):
 * the stem of entry and file names. At most CM_ID_NAME_MAX for a checked id. */
void cm_put_id_name(struct cm_writer *w, struct cm_span id);

/* Text made safe for a message: control and non-ASCII octets as \xNN, cut at cap. */
const char *cm_printable(struct cm_span text, char *buf, size_t cap);

/* Length of the UTF-8 character at p (1..4), 0 where there is none; *code is it. */
size_t cm_utf8_next(const uint8_t *p, size_t len, uint32_t *code);

#endif
