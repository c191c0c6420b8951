#ifndef CM_IO_INDEX_IMPL_H
#define CM_IO_INDEX_IMPL_H

#include "engine/bytes.h"
#include "engine/xxh.h"

#include <endian.h>

/* index_impl.h - what the index's builder and its reader share: one page. */
enum {
    PAGE_LEN = 4096,
    PAGE_ENTRIES = 255,
    PAGE_NUMBER = 4080, /* where its number stands */
    PAGE_SUM = 4088,    /* and its checksum: XXH3-64 of all before */
    ENTRY_LEN = 16,
};

#define INDEX_MAGIC "CMINDEX1"

static inline uint64_t get_le64(const uint8_t *at)
{
    uint64_t v;

    memcpy(&v, at, sizeof v);
    return le64toh(v);
}

static inline void put_le64(uint8_t *at, uint64_t v)
{
    v = htole64(v);
    memcpy(at, &v, sizeof v);
}

static inline uint64_t pages_of(uint64_t rows)
{
    return rows / PAGE_ENTRIES + (rows % PAGE_ENTRIES != 0);
}

static inline void page_seal(uint8_t page[PAGE_LEN], uint64_t number)
{
    put_le64(page + PAGE_NUMBER, number);
    put_le64(page + PAGE_SUM, cm_xxh64(page, PAGE_SUM));
}

static inline bool page_is_sound(const uint8_t page[PAGE_LEN], uint64_t number)
{
    return get_le64(page + PAGE_NUMBER) == number && get_le64(page + PAGE_SUM) == cm_xxh64(page, PAGE_SUM);
}

#endif
