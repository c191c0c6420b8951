#ifndef CM_ENGINE_LIMBS_H
#define CM_ENGINE_LIMBS_H

#include <stdint.h>

/* limbs.h - what vec8.h, vec4.h and montvec.h share. */
enum {
    LIMBS_MAX = 40,
    BLOCK = 5, /* columns that are summed up together */
    COLUMNS = 2 * LIMBS_MAX + 2 * BLOCK
};

/* What columns are sums of. */
enum mont_sum { SQUARE, PRODUCT, REDUCTION, SUMS };

static const uint64_t limb_mask = (UINT64_C(1) << 52) - 1;

#endif
