#include "engine/bytes.h"

static void put_base(struct cm_writer *w, uint64_t value, unsigned base, unsigned width)
{
    char digit[64];
    size_t n = 0;

    do {
        digit[sizeof digit - ++n] = "0123456789abcdef"[value % base];
        value /= base;
    } while (value != 0);
    while (n < width && n < sizeof digit)
        digit[sizeof digit - ++n] = '0';
    cm_put(w, digit + sizeof digit - n, n);
}

void cm_put_dec(struct cm_writer *w, uint64_t value, unsigned width)
{
    put_base(w, value, 10, width);
}

void cm_put_hexnum(struct cm_writer *w, uint64_t value, unsigned width)
{
    put_base(w, value, 16, width);
}

void cm_put_hex(struct cm_writer *w, const uint8_t *data, size_t len)
{
    uint8_t *at = cm_put_room(w, 2 * len);

    if (at == NULL)
        return;
    for (size_t i = 0; i < len; i++) {
        const uint8_t hi = data[i] >> 4, lo = data[i] & 15;
        at[2 * i] = (uint8_t) (hi + (hi < 10 ? '0' : 'a' - 10));
        at[2 * i + 1] = (uint8_t) (lo + (lo < 10 ? '0' : 'a' - 10));
    }
}
