#ifndef CM_ENGINE_EC_P521_H
#define CM_ENGINE_EC_P521_H

#include <stdint.h>

/* ec_p521.h - what ec_vec.h wants to know of P-521. */
#define CURVE cm_p521
#define FEW cm_ec_few_p521
#define CURVE_BITS 521
#define LIMBS 11
#define QUOTIENT 0x1
#define MUL_CORE CORE

/* p = 2^521 - 1 */
#define FOLD(r, q)                                                                                           \
    do {                                                                                                     \
        r[10] = v_sub(r[10], v_shl(q, 1));                                                                   \
        r[0] = v_add(r[0], q);                                                                               \
    } while (0)

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

#endif
