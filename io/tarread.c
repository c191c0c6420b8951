#include "io/tarread.h"

typedef unsigned long long ull;

uint64_t cm_tarread_blocks(uint64_t size)
{
    return (size + CM_TARREAD_BLOCK - 1) / CM_TARREAD_BLOCK * CM_TARREAD_BLOCK;
}

bool cm_tarread_is_zero(struct cm_span octets)
{
    uint8_t any = 0;

    for (size_t i = 0; i < octets.len; i++)
        any |= octets.data[i];
    return any == 0;
}

/* One field of the header: `len` - 1 octal digits and a NUL. */
static bool read_octal(const uint8_t *field, size_t len, uint64_t *out)
{
    uint64_t value = 0;

    for (size_t i = 0; i + 1 < len; i++) {
        if (field[i] < '0' || field[i] > '7')
            return false;
        value = value * 8 + (uint64_t) (field[i] - '0');
    }
    *out = value;
    return field[len - 1] == '\0';
}

/* The sum of all octets, with spaces for the field itself; the field has six
 * digits, a NUL and a space. */
static bool sum_is_right(const uint8_t *block)
{
    uint64_t stored = 0, sum = 0;

    for (size_t i = 0; i < CM_TARREAD_BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : block[i];
    return read_octal(block + 148, 7, &stored) && block[155] == ' ' && stored == sum;
}

/* The name, all of whose octets are visible ASCII, with NULs behind. */
static bool read_name(const uint8_t *block, char name[CM_TARREAD_NAME_MAX + 1])
{
    size_t len = 0;

    while (len < CM_TARREAD_NAME_MAX && block[len] != '\0') {
        if (block[len] <= 0x20 || block[len] >= 0x7f)
            return false;
        len++;
    }
    memcpy(name, block, len);
    name[len] = '\0';
    return len > 0 && cm_tarread_is_zero(cm_span(block + len, CM_TARREAD_NAME_MAX - len));
}

/* Fields that are the same in every header: the number fields zero, the text
 * fields empty, the 12 octets at the end unused. */
static bool rest_is_plain(const uint8_t *block)
{
    uint64_t uid = 1, gid = 1, major = 1, minor = 1;

    return read_octal(block + 108, 8, &uid) && uid == 0 && read_octal(block + 116, 8, &gid) && gid == 0 &&
           cm_tarread_is_zero(cm_span(block + 157, 100)) /* link name */ &&
           cm_tarread_is_zero(cm_span(block + 265, 64)) /* user and group name */ &&
           read_octal(block + 329, 8, &major) && major == 0 && read_octal(block + 337, 8, &minor) &&
           minor == 0 && cm_tarread_is_zero(cm_span(block + 345, 167)) /* prefix */;
}

cm_err cm_tarread_header(const uint8_t block[CM_TARREAD_BLOCK], uint64_t at, struct cm_tarread *out,
                         struct cm_error *err)
{
    struct cm_tarread t = { .kind = CM_TARREAD_ENTRY };
    uint64_t mode = 0, mtime = 0;

    if (memcmp(block + 257,
               "ustar\0"
               "00",
               8) != 0)
        CM_FAIL(err, CM_E_INPUT, "no tar header at offset %llu", (ull) at);
    if (!sum_is_right(block))
        CM_FAIL(err, CM_E_INPUT, "the tar header at offset %llu has a wrong checksum", (ull) at);
    if (!read_name(block, t.name))
        CM_FAIL(err, CM_E_INPUT, "the tar header at offset %llu has a malformed name", (ull) at);
    if (!read_octal(block + 100, 8, &mode) || !read_octal(block + 124, 12, &t.size) ||
        !read_octal(block + 136, 12, &mtime) || !rest_is_plain(block))
        CM_FAIL(err, CM_E_INPUT, "the tar header at offset %llu is not as the format has it", (ull) at);
    if (block[156] == 'g' && strcmp(t.name, "pax_global_header") == 0)
        t.kind = CM_TARREAD_PADDING;
    else if (block[156] != '0')
        CM_FAIL(err, CM_E_INPUT, "the tar entry at offset %llu is of a type that has no place in a segment",
                (ull) at);
    t.mode = (uint32_t) mode;
    t.mtime = (int64_t) mtime;
    t.total = CM_TARREAD_BLOCK + cm_tarread_blocks(t.size);
    *out = t;
    return CM_OK;
}

/* Padding: one record "LEN comment=", spaces, LF. */
static cm_err check_padding(struct cm_span window, uint64_t at, const struct cm_tarread *t,
                            struct cm_error *err)
{
    char start[40];
    size_t i = 0;

    if (t->total > CM_TARREAD_PAD_MAX || t->size == 0 || t->total > window.len)
        CM_FAIL(err, CM_E_INPUT, "the padding at offset %llu has a wrong length", (ull) at);
    const uint8_t *const data = window.data + CM_TARREAD_BLOCK;
    const size_t size = (size_t) t->size;
    const int n = snprintf(start, sizeof start, "%zu comment=", size);
    CM_ASSERT(n > 0 && (size_t) n < sizeof start);
    bool sound = size > (size_t) n && memcmp(data, start, (size_t) n) == 0 && data[size - 1] == '\n';
    for (i = (size_t) n; sound && i + 1 < size; i++)
        sound = data[i] == ' ';
    if (!sound || !cm_tarread_is_zero(cm_span(data + size, (size_t) t->total - CM_TARREAD_BLOCK - size)))
        CM_FAIL(err, CM_E_INPUT, "the padding at offset %llu holds something else than a comment of spaces",
                (ull) at);
    return CM_OK;
}

static cm_err check_ending(struct cm_span window, uint64_t at, bool last, struct cm_error *err)
{
    if (!last || window.len != CM_TARREAD_END || at % 4096 != 0)
        CM_FAIL(err, CM_E_INPUT, "the zeros at offset %llu are not the last 4096 octets", (ull) at);
    if (!cm_tarread_is_zero(window))
        CM_FAIL(err, CM_E_INPUT, "something follows the end block at offset %llu", (ull) at);
    return CM_OK;
}

cm_err cm_tarread_next(struct cm_span window, uint64_t at, bool last, struct cm_tarread *out,
                       struct cm_error *err)
{
    struct cm_tarread t = { 0 };

    CM_ASSERT(at % CM_TARREAD_BLOCK == 0 && (last || window.len >= CM_TARREAD_WINDOW));
    if (window.len == 0)
        return CM_E_END;
    if (window.len < CM_TARREAD_BLOCK)
        CM_FAIL(err, CM_E_INPUT, "%zu octets that are no block at offset %llu", window.len, (ull) at);
    if (cm_tarread_is_zero(cm_span(window.data, CM_TARREAD_BLOCK))) {
        CM_TRY(check_ending(window, at, last, err));
        t = (struct cm_tarread) { .kind = CM_TARREAD_ENDING, .total = CM_TARREAD_END };
    } else {
        CM_TRY(cm_tarread_header(window.data, at, &t, err));
        if (t.kind == CM_TARREAD_PADDING)
            CM_TRY(check_padding(window, at, &t, err));
    }
    *out = t;
    return CM_OK;
}
