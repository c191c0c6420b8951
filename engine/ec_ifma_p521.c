#ifdef __x86_64__

#include "engine/ec_p521.h"
#include "engine/ec_ifma.h"

CM_EC_IFMA(cm_ec_ifma_p521);

#endif
