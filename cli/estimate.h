#ifndef CM_CLI_ESTIMATE_H
#define CM_CLI_ESTIMATE_H

#include "cli/mintplan.h"

/* estimate.h - what a planned run would take: time from a calibration on this machine, octets from
 * the devices that were minted for it, memory and files from the plan. The one estimator, of `mint
 * --explain` and of `plan`.
 *
 *  Time     of minting: what the disk adds is not in it. low and high: the 95 % interval of the mean
 *           that was measured; both are seconds where there are too few samples to say.
 *  Octets   of `devices` devices like those that were minted, with the longest numbers in rows and a
 *           generous 64 KiB for journal, run.json and ca.pem.
 */
struct cm_estimate {
    uint64_t devices, files;
    uint32_t workers; /* that have something to do */
    uint32_t batch;   /* devices in one */
    uint32_t batch_wanted;
    bool locks_refused; /* the workers do without: EC keys one by one */
    double device_us, seconds, seconds_low, seconds_high, rate;
    uint64_t samples;                                     /* what the time rests on */
    double device_chain, device_key, device_row;          /* mean octets of one device's data */
    uint64_t chains, keys, manifest, index, books, bytes; /* bytes: their sum */
    uint64_t allocated;             /* the same in blocks of 4 KiB, with a tree's directories */
    uint64_t memory;                /* pool and the workers' key memory */
    uint64_t locked, locked_wanted; /* of it for keys; the same with batches as large as they should be */
};

/* p: opened with `explain`; its source is used up. About so many milliseconds, and at least so many
 * samples. */
CM_MUST_CHECK cm_err cm_estimate_make(struct cm_mint_plan *p, uint32_t ms, uint32_t samples,
                                      struct cm_estimate *out, struct cm_error *err);

/* RLIMIT_MEMLOCK in octets; UINT64_MAX: none. */
uint64_t cm_estimate_memlock(void);

/* The members of a JSON object, for json_object_update; NULL: out of memory. */
struct json_t *cm_estimate_json(const struct cm_estimate *e);

#endif
