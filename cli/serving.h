#ifndef CM_CLI_SERVING_H
#define CM_CLI_SERVING_H

#include "cli/args.h"

/* serving.h - certmill rehearse --serve: the rehearsal stays up until a signal ends it. */
struct cm_serving {
    const char *dir; /* made where it is missing; has the registry and the buckets */
    bool limits_aws;
};

CM_MUST_CHECK cm_err cm_serving_run(const struct cm_serving *s, const struct cm_common *common,
                                    struct cm_error *err);

#endif
