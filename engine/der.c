#include "engine/der.h"

void cm_der_header(struct cm_der *d, uint8_t tag, size_t content_len)
{
    if (content_len < 0x80) {
        cm_der_raw(d, (uint8_t[]) { tag, (uint8_t) content_len }, 2);
    } else if (content_len < 0x100) {
        cm_der_raw(d, (uint8_t[]) { tag, 0x81, (uint8_t) content_len }, 3);
    } else if (content_len < 0x10000) {
        cm_der_raw(d, (uint8_t[]) { tag, 0x82, (uint8_t) (content_len >> 8), (uint8_t) content_len }, 4);
    } else if (content_len < 0x1000000) {
        cm_der_raw(d,
                   (uint8_t[]) { tag, 0x83, (uint8_t) (content_len >> 16), (uint8_t) (content_len >> 8),
                                 (uint8_t) content_len },
                   5);
    } else {
        d->overflow = true;
    }
}

void cm_der_uint(struct cm_der *d, const uint8_t *be, size_t len)
{
    const size_t mark = cm_der_len(d);

    while (len > 0 && be[0] == 0) {
        be++;
        len--;
    }
    cm_der_raw(d, be, len);
    if (len == 0 || (be[0] & 0x80) != 0)
        cm_der_byte(d, 0);
    cm_der_wrap(d, CM_DER_INTEGER, mark);
}

bool cm_der_peek(const uint8_t *p, size_t len, struct cm_tlv *out)
{
    size_t n = 0, octets = 0;

    if (len < 2 || (p[0] & 0x1f) == 0x1f)
        return false;
    n = p[1];
    if (n >= 0x80) {
        octets = n & 0x7f;
        if (octets == 0 || octets > 3 || len < 2 + octets || p[2] == 0)
            return false;
        n = 0;
        for (size_t i = 0; i < octets; i++)
            n = n << 8 | p[2 + i];
        if (n < 0x80)
            return false;
    }
    if (n > len - 2 - octets)
        return false;
    *out = (struct cm_tlv) { .tag = p[0], .header_len = 2 + octets, .content_len = n };
    return true;
}
