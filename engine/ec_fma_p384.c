#ifdef __x86_64__

#include "engine/ec_p384.h"
#include "engine/ec_fma.h"

CM_EC_FMA(cm_ec_fma_p384);

#endif
