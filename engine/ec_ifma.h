#ifndef CM_ENGINE_EC_IFMA_H
#define CM_ENGINE_EC_IFMA_H

#include "engine/vec8.h"

/* ec_ifma.h - ec_vec.h for eight numbers side by side by AVX-512 IFMA; windows of 7 bits, of 64 entries. */
enum { WIDTH = 7, SHIFTS_ARE_FASTER = 0 };

#include "engine/ec_vec.h"
#include "engine/ecinvert.h"

/* The lowest four bits choose in registers, two bits between them. */
INLINE vec choose(const uint64_t *words, vec v)
{
    const mask bit4 = _mm512_test_epi64_mask(v, v_set(16)), bit5 = _mm512_test_epi64_mask(v, v_set(32));
    vec r[ENTRIES / 16];

    UNROLL for (int i = 0; i < ENTRIES / 16; i++) r[i] =
        _mm512_permutex2var_epi64(v_load(words + 16 * i), v, v_load(words + 16 * i + 8));
    return v_pick(bit5, v_pick(bit4, r[3], r[2]), v_pick(bit4, r[1], r[0]));
}

#define CM_EC_IFMA(way)                                                                                      \
    const struct cm_ecway way = { .name = "AVX-512 IFMA",                                                    \
                                  .curve = &CURVE,                                                           \
                                  .level = CM_CPU_IFMA,                                                      \
                                  .width = WIDTH,                                                            \
                                  .table = TABLE_OCTETS,                                                     \
                                  .work = work_octets,                                                       \
                                  .fill = fill,                                                              \
                                  .multiply = multiply,                                                      \
                                  .weigh = weigh }

#endif
