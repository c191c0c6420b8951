#ifndef CM_ENGINE_DER_H
#define CM_ENGINE_DER_H

#include "engine/bytes.h"

/* der.h - a DER writer that works from the end to the front.
 *
 * Contents are written before the header in front of them, so a length is known
 * when it is needed and ripples up through any nesting without a second pass:
 *
 *     const size_t mark = cm_der_len(&d);
 *     cm_der_raw(&d, value, value_len);
 *     cm_der_wrap(&d, 0x30, mark);          SEQUENCE around all since mark
 *
 * The encoding is the last cm_der_len() bytes of the buffer. An overflow is
 * remembered (X.690 lengths up to 2^24-1, ample here): check cm_der_ok() once.
 */
struct cm_der {
    uint8_t *base;
    size_t cap;
    size_t at; /* first byte written so far; cap: nothing yet */
    bool overflow;
};

enum cm_der_tag {
    CM_DER_BOOLEAN = 0x01,
    CM_DER_INTEGER = 0x02,
    CM_DER_BIT_STRING = 0x03,
    CM_DER_OCTET_STRING = 0x04,
    CM_DER_OID = 0x06,
    CM_DER_UTF8 = 0x0c,
    CM_DER_PRINTABLE = 0x13,
    CM_DER_TELETEX = 0x14,
    CM_DER_IA5 = 0x16,
    CM_DER_VISIBLE = 0x1a,
    CM_DER_GENERAL = 0x1b,
    CM_DER_SEQUENCE = 0x30,
    CM_DER_SET = 0x31,
    CM_DER_CONTEXT_0 = 0xa0, /* constructed, as all explicit tags are */
    CM_DER_CONTEXT_1 = 0xa1,
    CM_DER_CONTEXT_3 = 0xa3,
};

static inline struct cm_der cm_der(void *buf, size_t cap)
{
    return (struct cm_der) { .base = buf, .cap = cap, .at = cap };
}

static inline size_t cm_der_len(const struct cm_der *d)
{
    return d->cap - d->at;
}

static inline bool cm_der_ok(const struct cm_der *d)
{
    return !d->overflow;
}

static inline struct cm_span cm_der_span(const struct cm_der *d)
{
    return cm_span(d->base + d->at, cm_der_len(d));
}

/* Room for len bytes in front of what is there; NULL (and overflow) when full. */
static inline uint8_t *cm_der_room(struct cm_der *d, size_t len)
{
    if (d->overflow || len > d->at) {
        d->overflow = true;
        return NULL;
    }
    d->at -= len;
    return d->base + d->at;
}

static inline void cm_der_raw(struct cm_der *d, const void *data, size_t len)
{
    uint8_t *at = cm_der_room(d, len);

    if (at != NULL && len > 0)
        memcpy(at, data, len);
}

static inline void cm_der_byte(struct cm_der *d, uint8_t byte)
{
    cm_der_raw(d, &byte, 1);
}

/* Tag and length in front of the last content_len bytes. */
void cm_der_header(struct cm_der *d, uint8_t tag, size_t content_len);

static inline void cm_der_wrap(struct cm_der *d, uint8_t tag, size_t mark)
{
    cm_der_header(d, tag, cm_der_len(d) - mark);
}

/* INTEGER, non-negative, from big-endian octets; leading zeros dropped, one put
 * back where the top bit is set (X.690 8.3). */
void cm_der_uint(struct cm_der *d, const uint8_t *be, size_t len);

/* Reads one header at p: false unless the definite, minimal-length TLV fits
 * into len bytes. For taking apart what libcrypto encoded, not for hostile input. */
struct cm_tlv {
    uint8_t tag;
    size_t header_len;
    size_t content_len;
};
bool cm_der_peek(const uint8_t *p, size_t len, struct cm_tlv *out);

#endif
