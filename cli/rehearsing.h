#ifndef CM_CLI_REHEARSING_H
#define CM_CLI_REHEARSING_H

#include "cli/args.h"

/* rehearsing.h - certmill rehearse: the stand-in for AWS IoT, the first connections of a fleet, and what came
 * of them. CM_E_FOUND: a device failed. */
struct cm_rehearsing {
    const char *dir, *keys; /* of the fleet, NULL: none; keys NULL: where the run wrote them */
    const char *serve; /* NULL: it ends with the report; else the stand-in stays up, and this is its DIR */
    bool limits_aws;
    uint64_t devices; /* 0: all */
    uint32_t at_once, timeout_s;
    bool faults;
    uint64_t seed; /* 0: drawn, where faults are asked for */
};

CM_MUST_CHECK cm_err cm_rehearsing_run(const struct cm_rehearsing *r, const struct cm_common *common,
                                       struct cm_error *err);

#endif
