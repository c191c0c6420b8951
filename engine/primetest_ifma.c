#include "engine/primetest_impl.h"

#ifdef __x86_64__

#include "engine/mont8.h"
#include "engine/primetest_lanes.h"

const struct cm_primetest_ops cm_primetest_ifma = { .lanes = LANES,
                                                    .open = lanes_open,
                                                    .close = lanes_close,
                                                    .wipe = lanes_wipe,
                                                    .filter = lanes_filter,
                                                    .rounds = lanes_rounds };

#endif
