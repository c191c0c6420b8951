#ifdef __x86_64__
#define CURVE cm_p384
#define CURVE_BITS 384
#define LIMBS 8
#define QUOTIENT 0x100000001
#define MUL_CORE CORE

/* p = 2^384 - 2^128 - 2^96 + 2^32 - 1 */
#define FOLD(r, q)                                                                                           \
    do {                                                                                                     \
        r[7] = _mm512_sub_epi64(r[7], _mm512_slli_epi64(q, 20));                                             \
        r[2] = _mm512_add_epi64(r[2], _mm512_slli_epi64(q, 24));                                             \
        r[1] = _mm512_add_epi64(r[1], _mm512_slli_epi64(q, 44));                                             \
        r[0] = _mm512_sub_epi64(r[0], _mm512_slli_epi64(q, 32));                                             \
        r[0] = _mm512_add_epi64(r[0], q);                                                                    \
    } while (0)

#include <stdint.h>

/* These follow from p, and tests/ec_bounds.py computes them again; R = 2^(52 * LIMBS). */
static const uint64_t fe_p[LIMBS] = { 0xffffffff,      0xff00000000000, 0xffffffeffffff, 0xfffffffffffff,
                                      0xfffffffffffff, 0xfffffffffffff, 0xfffffffffffff, 0xfffff };
static const uint64_t fe_p_plus_one[LIMBS] = { 0x100000000,     0xff00000000000, 0xffffffeffffff,
                                               0xfffffffffffff, 0xfffffffffffff, 0xfffffffffffff,
                                               0xfffffffffffff, 0xfffff };
static const uint64_t fe_rr[LIMBS] = { 0x0,        0xfe00000001000, 0xffffff, 0x20, 0xfffffffe0000,
                                       0x20000000, 0x100,           0x0 };

#include "engine/ec_ifma.h"

const struct cm_ecway cm_ec_ifma_p384 = {
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
