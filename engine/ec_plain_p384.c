#define CURVE cm_p384
#define CURVE_BITS 384
#define LIMBS 6

#include "engine/ec_plain.h"

const struct cm_ecway cm_ec_plain_p384 = {
    .name = "64-bit words",
    .curve = &CURVE,
    .level = CM_CPU_PLAIN,
    .width = WIDTH,
    .table = TABLE_OCTETS,
    .work = work_octets,
    .fill = fill,
    .multiply = multiply,
    .weigh = weigh,
};

const struct cm_ecfew cm_ec_few_p384 = { .multiples = multiples, .combine = combine, .invert = invert };
