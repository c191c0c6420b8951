#ifndef CM_ENGINE_EC_P256_H
#define CM_ENGINE_EC_P256_H

#include <stdint.h>

/* ec_p256.h - what ec_vec.h wants to know of P-256. */
#define CURVE cm_p256
#define FEW cm_ec_few_p256
#define CURVE_BITS 256
#define LIMBS 5
#define QUOTIENT 0x1
#define MUL_CORE CORE

/* p = 2^256 - 2^224 + 2^192 + 2^96 - 1 */
#define FOLD(r, q)                                                                                           \
    do {                                                                                                     \
        r[4] = v_sub(r[4], v_shl(q, 48));                                                                    \
        r[4] = v_add(r[4], v_shl(q, 16));                                                                    \
        r[3] = v_sub(r[3], v_shl(q, 36));                                                                    \
        r[1] = v_sub(r[1], v_shl(q, 44));                                                                    \
        r[0] = v_add(r[0], q);                                                                               \
    } while (0)

/* These follow from p, and tests/ec_bounds.py computes them again; R = 2^(52 * LIMBS). */
static const uint64_t fe_p[LIMBS] = { 0xfffffffffffff, 0xfffffffffff, 0x0, 0x1000000000, 0xffffffff0000 };
static const uint64_t fe_p_plus_one[LIMBS] = { 0x0, 0x100000000000, 0x0, 0x1000000000, 0xffffffff0000 };
static const uint64_t fe_rr[LIMBS] = { 0x300, 0xffffffff00000, 0xffffefffffffb, 0xfdfffffffffff, 0x4ffffff };

#endif
