#ifndef CM_ENGINE_CALIBRATE_H
#define CM_ENGINE_CALIBRATE_H

#include "engine/pipeline.h"

/* calibrate.h - how long one device takes here, and how many octets it makes: the workers of a run
 * mint for a while, by the same calls and with the same memory as in a run, and nothing leaves the
 * memory. Each fills one batch from the source, whose devices are gone then, and mints that over and
 * over; a worker for which there is no device left stays out, as it would in the run.
 *
 *  The CA     is to be a stand-in (cainit.h): certificates are really signed.
 *  Samples    RSA: a worker's time for one device; others: its mean over a batch, where times are not
 *             independent.
 *  Threads    one a worker, pinned as in a run, ended on return.
 */
struct cm_calibrate_conf {
    const struct cm_pipeline_conf *run; /* mint, source, pool, workers and cpus count */
    const struct cm_ca *standin;        /* signs in the place of run->mint.ca */
    uint32_t ms;                        /* so long at least */
    uint32_t samples;                   /* and so many at least, of all workers together */
};

struct cm_calibration {
    uint32_t workers; /* that had a device */
    uint64_t devices; /* minted */
    uint64_t samples;
    double device_us, squares; /* mean of the samples, mean of their squares */
    bool refused;              /* they could not lock all that makes them fast */
    size_t scratch;            /* octets of key memory that the workers locked besides the pool */
    /* Mean octets of a device: what is stored (with the chain of run->mint.ca), as an entry of its
     * layout, before a batch is padded; a row without its places. */
    double chain, key, chain_entry, key_entry, row;
    size_t chain_max, key_max; /* the largest of the data */
};

CM_MUST_CHECK cm_err cm_calibrate(const struct cm_calibrate_conf *conf, struct cm_calibration *out,
                                  struct cm_error *err);

#endif
