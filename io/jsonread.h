#ifndef CM_IO_JSONREAD_H
#define CM_IO_JSONREAD_H

#include "engine/bytes.h"
#include "engine/err.h"

#include <jansson.h>

/* jsonread.h - JSON from octets, or a clean refusal when memory runs out.
 *
 * In its place json_loadb would do, but where its buffer for a string can't grow
 * (jansson 2.14) it goes on with the octets that it has and stops at an assertion, or
 * destroys its heap. Nothing in the program calls jansson's own readers.
 *
 *  Threads    each may read; jansson's allocation functions, which have no lock, are
 *             exchanged by the process's first call: it comes before there are threads
 *             that use jansson.
 */

/* Reads text, which is one value and no doubled keys. *out, which the caller drops with
 * json_decref: the value, or NULL where the text is no such JSON; why (NULL: not wanted)
 * then says what is wrong with it. CM_E_NOMEM: memory ran out, nothing is kept. */
cm_err cm_json_read(struct cm_span text, json_t **out, json_error_t *why, struct cm_error *err);

#endif
