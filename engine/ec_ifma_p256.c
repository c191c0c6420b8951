#ifdef __x86_64__
#define CURVE cm_p256
#define CURVE_BITS 256
#define LIMBS 5
#define QUOTIENT 0x1
#define MUL_CORE CORE

/* p = 2^256 - 2^224 + 2^192 + 2^96 - 1 */
#define FOLD(r, q)                                                                                           \
    do {                                                                                                     \
        r[4] = _mm512_sub_epi64(r[4], _mm512_slli_epi64(q, 48));                                             \
        r[4] = _mm512_add_epi64(r[4], _mm512_slli_epi64(q, 16));                                             \
        r[3] = _mm512_sub_epi64(r[3], _mm512_slli_epi64(q, 36));                                             \
        r[1] = _mm512_sub_epi64(r[1], _mm512_slli_epi64(q, 44));                                             \
        r[0] = _mm512_add_epi64(r[0], q);                                                                    \
    } while (0)

#include <stdint.h>

/* These follow from p, and tests/ec_bounds.py computes them again; R = 2^(52 * LIMBS). */
static const uint64_t fe_p[LIMBS] = { 0xfffffffffffff, 0xfffffffffff, 0x0, 0x1000000000, 0xffffffff0000 };
static const uint64_t fe_p_plus_one[LIMBS] = { 0x0, 0x100000000000, 0x0, 0x1000000000, 0xffffffff0000 };
static const uint64_t fe_rr[LIMBS] = { 0x300, 0xffffffff00000, 0xffffefffffffb, 0xfdfffffffffff, 0x4ffffff };

#include "engine/ec_ifma.h"

const struct cm_ecway cm_ec_ifma_p256 = {
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
