#ifndef CM_CLI_REHEARSING_H
#define CM_CLI_REHEARSING_H

#include "cli/args.h"

/* rehearsing.h - certmill rehearse FLEET: runs it, and tells what came of it. CM_E_FOUND: a device failed. */
struct cm_rehearsing {
    const char *dir, *keys; /* of the fleet; keys NULL: where the run wrote them */
    uint64_t devices;       /* 0: all */
    uint32_t at_once, timeout_s;
    bool faults;
    uint64_t seed; /* 0: drawn, where faults are asked for */
};

CM_MUST_CHECK cm_err cm_rehearsing_run(const struct cm_rehearsing *r, const struct cm_common *common,
                                       struct cm_error *err);

#endif
