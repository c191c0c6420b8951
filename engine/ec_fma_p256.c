#ifdef __x86_64__

#include "engine/ec_p256.h"
#include "engine/ec_fma.h"

CM_EC_FMA(cm_ec_fma_p256);

#endif
