#ifndef CM_ENGINE_CALIBRATE_H
#define CM_ENGINE_CALIBRATE_H

#include "engine/ca.h"
#include "engine/keyalg.h"

/* calibrate.h - how long one device takes here: makes keys and signs random
 * octets (no certificate comes of it) for about `ms` milliseconds on the calling
 * thread, at least once each. */
struct cm_calibration {
    double key_us, sign_us; /* mean microseconds */
};

CM_MUST_CHECK cm_err cm_calibrate(const struct cm_keyalg *key, enum cm_keygen how, const struct cm_ca *ca,
                                  uint32_t ms, struct cm_calibration *out, struct cm_error *err);

#endif
