#ifndef CM_ENGINE_PEM_H
#define CM_ENGINE_PEM_H

#include "engine/bytes.h"

/* pem.h - RFC 7468 text: 64 characters a line, LF, no headers.
 *
 * The base64 (RFC 4648 4) maps six bits to a character by arithmetic, without a
 * table and without a branch, because it also encodes private keys: neither the
 * time nor the cache lines touched depend on the data.
 */
void cm_put_pem(struct cm_writer *w, const char *label, const uint8_t *der, size_t len);

/* The base64 alone, in one line without an end. */
void cm_put_base64(struct cm_writer *w, const uint8_t *data, size_t len);

/* Bytes that cm_put_pem writes for len bytes of DER. */
size_t cm_pem_len(const char *label, size_t len);

#endif
