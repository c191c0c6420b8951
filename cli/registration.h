#ifndef CM_CLI_REGISTRATION_H
#define CM_CLI_REGISTRATION_H

#include "cli/args.h"

#include <stddef.h>

struct json_t;

/* registration.h - how long AWS IoT Core takes to learn of a fleet, by the ways there are: each is a
 * few calls a device, made side by side, and the one with the lowest rate sets the pace. Pure
 * arithmetic over the service's default rates for an account and region, which an account can raise.
 */
enum { CM_REG_CALLS = 9, CM_REG_PATHS = 5, CM_REG_STEPS = 6 };

struct cm_reg_call {
    const char *name; /* as the service calls it */
    uint32_t rate;    /* a second, by default */
};

struct cm_reg_path {
    const char *name, *what;
    bool on_connection; /* when the devices connect first, not before */
    struct {
        unsigned call;  /* index into the calls */
        unsigned times; /* for a device */
    } step[CM_REG_STEPS];
    unsigned steps;
};

/* The rates that are reckoned with. */
struct cm_reg_rates {
    uint32_t rate[CM_REG_CALLS];
};

extern const struct cm_reg_call cm_reg_call[CM_REG_CALLS];
extern const struct cm_reg_path cm_reg_path[CM_REG_PATHS];

/* The defaults, but for what "CALL=N" items say. CM_E_USAGE. */
CM_MUST_CHECK cm_err cm_reg_rates_set(const struct cm_strs *items, struct cm_reg_rates *out,
                                      struct cm_error *err);
/* Devices a second on this way; *call: what sets the pace. */
double cm_reg_pace(const struct cm_reg_path *path, const struct cm_reg_rates *rates, unsigned *call);
struct json_t *cm_reg_json(const struct cm_reg_rates *rates, uint64_t devices); /* NULL: out of memory */
void cm_reg_print(const struct cm_reg_rates *rates, uint64_t devices);

#endif
