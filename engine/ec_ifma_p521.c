#ifdef __x86_64__
#define CURVE cm_p521
#define CURVE_BITS 521
#define LIMBS 11
#define QUOTIENT 0x1
#define MUL_CORE CORE

/* p = 2^521 - 1 */
#define FOLD(r, q)                                                                                           \
    do {                                                                                                     \
        r[10] = _mm512_sub_epi64(r[10], _mm512_slli_epi64(q, 1));                                            \
        r[0] = _mm512_add_epi64(r[0], q);                                                                    \
    } while (0)

#include <stdint.h>

/* These follow from p, and tests/ec_bounds.py computes them again; R = 2^(52 * LIMBS). */
static const uint64_t fe_p[LIMBS] = { 0xfffffffffffff,
                                      0xfffffffffffff,
                                      0xfffffffffffff,
                                      0xfffffffffffff,
                                      0xfffffffffffff,
                                      0xfffffffffffff,
                                      0xfffffffffffff,
                                      0xfffffffffffff,
                                      0xfffffffffffff,
                                      0xfffffffffffff,
                                      0x1 };
static const uint64_t fe_p_plus_one[LIMBS] = { 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x2 };
static const uint64_t fe_rr[LIMBS] = { 0x0, 0x4000000000000, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0, 0x0 };

#include "engine/ec_ifma.h"

const struct cm_ecway cm_ec_ifma_p521 = {
    .name = "AVX-512 IFMA",
    .curve = &CURVE,
    .width = WIDTH,
    .table = TABLE_OCTETS,
    .work = work_octets,
    .fill = fill,
    .multiply = multiply,
    .weigh = weigh,
};

#endif
