#ifndef CM_ENGINE_EC_P384_H
#define CM_ENGINE_EC_P384_H

#include <stdint.h>

/* ec_p384.h - what ec_vec.h wants to know of P-384. */
#define CURVE cm_p384
#define FEW cm_ec_few_p384
#define CURVE_BITS 384
#define LIMBS 8
#define QUOTIENT 0x100000001
#define MUL_CORE CORE

/* p = 2^384 - 2^128 - 2^96 + 2^32 - 1 */
#define FOLD(r, q)                                                                                           \
    do {                                                                                                     \
        r[7] = v_sub(r[7], v_shl(q, 20));                                                                    \
        r[2] = v_add(r[2], v_shl(q, 24));                                                                    \
        r[1] = v_add(r[1], v_shl(q, 44));                                                                    \
        r[0] = v_sub(r[0], v_shl(q, 32));                                                                    \
        r[0] = v_add(r[0], q);                                                                               \
    } while (0)

/* These follow from p, and tests/ec_bounds.py computes them again; R = 2^(52 * LIMBS). */
static const uint64_t fe_p[LIMBS] = { 0xffffffff,      0xff00000000000, 0xffffffeffffff, 0xfffffffffffff,
                                      0xfffffffffffff, 0xfffffffffffff, 0xfffffffffffff, 0xfffff };
static const uint64_t fe_p_plus_one[LIMBS] = { 0x100000000,     0xff00000000000, 0xffffffeffffff,
                                               0xfffffffffffff, 0xfffffffffffff, 0xfffffffffffff,
                                               0xfffffffffffff, 0xfffff };
static const uint64_t fe_rr[LIMBS] = { 0x0,        0xfe00000001000, 0xffffff, 0x20, 0xfffffffe0000,
                                       0x20000000, 0x100,           0x0 };

#endif
