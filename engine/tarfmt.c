#include "engine/tarfmt.h"

#include "engine/err.h"

/* Offsets of the ustar fields. */
enum {
    AT_NAME = 0,
    AT_MODE = 100,
    AT_UID = 108,
    AT_GID = 116,
    AT_SIZE = 124,
    AT_MTIME = 136,
    AT_CHECKSUM = 148,
    AT_TYPE = 156,
    AT_MAGIC = 257,
    AT_DEVMAJOR = 329,
    AT_DEVMINOR = 337,
};

/* digits octal digits and a NUL. */
static void put_octal(uint8_t *at, unsigned digits, uint64_t value)
{
    at[digits] = 0;
    while (digits > 0) {
        at[--digits] = (uint8_t) ('0' + (value & 7));
        value >>= 3;
    }
}

void cm_tar_header(uint8_t *h, char typeflag, struct cm_span name, uint64_t size, uint32_t mode,
                   int64_t mtime)
{
    uint32_t sum = 0;

    CM_ASSERT(name.len <= CM_TAR_NAME_MAX && size < (1ull << 33));
    memset(h, 0, CM_TAR_BLOCK);
    memcpy(h + AT_NAME, name.data, name.len);
    put_octal(h + AT_MODE, 7, mode);
    put_octal(h + AT_UID, 7, 0);
    put_octal(h + AT_GID, 7, 0);
    put_octal(h + AT_SIZE, 11, size);
    put_octal(h + AT_MTIME, 11, (uint64_t) mtime);
    h[AT_TYPE] = (uint8_t) typeflag;
    memcpy(h + AT_MAGIC,
           "ustar\0"
           "00",
           8);
    put_octal(h + AT_DEVMAJOR, 7, 0);
    put_octal(h + AT_DEVMINOR, 7, 0);
    /* The checksum counts its own field as spaces. */
    memset(h + AT_CHECKSUM, ' ', 8);
    for (size_t i = 0; i < CM_TAR_BLOCK; i++)
        sum += h[i];
    put_octal(h + AT_CHECKSUM, 6, sum);
    h[AT_CHECKSUM + 7] = ' ';
}

void cm_tar_fill_block(struct cm_writer *w)
{
    const size_t gap = (CM_TAR_BLOCK - w->len % CM_TAR_BLOCK) % CM_TAR_BLOCK;
    uint8_t *at = cm_put_room(w, gap);

    if (at != NULL)
        memset(at, 0, gap);
}

size_t cm_tar_pad(struct cm_writer *w, size_t last, int64_t mtime)
{
    const size_t end = w->len;
    size_t gap = (CM_TAR_ALIGN - end % CM_TAR_ALIGN) % CM_TAR_ALIGN;
    char record[32];

    CM_ASSERT(w->overflow || (end % CM_TAR_BLOCK == 0 && last % CM_TAR_BLOCK == 0 && last < end));
    if (gap == 0)
        return 0;
    if (gap == CM_TAR_BLOCK) /* a header without room for its record */
        gap += CM_TAR_ALIGN;
    if (cm_put_room(w, gap) == NULL)
        return 0;
    uint8_t *const at = w->data + last;
    memmove(at + gap, at, end - last);
    const size_t size = gap - CM_TAR_BLOCK;
    cm_tar_header(at, 'g', cm_span_str("pax_global_header"), size, 0644, mtime);
    /* One record that fills the data: "512 comment=   …\n", its length counting itself. */
    memset(at + CM_TAR_BLOCK, ' ', size);
    const int n = snprintf(record, sizeof record, "%zu comment=", size);
    CM_ASSERT(n > 0 && (size_t) n < sizeof record);
    memcpy(at + CM_TAR_BLOCK, record, (size_t) n);
    at[gap - 1] = '\n';
    return gap;
}
