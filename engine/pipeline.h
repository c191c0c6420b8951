#ifndef CM_ENGINE_PIPELINE_H
#define CM_ENGINE_PIPELINE_H

#include "engine/cert.h"
#include "engine/pool.h"
#include "engine/recorder.h"
#include "engine/sink.h"
#include "engine/source.h"

/* pipeline.h - the way of a batch.
 *
 *   pool ─► WORKER, one per core ─► sealed ─► WRITER ─► written ─► REGISTRAR ─► pool
 *           keygen, sign, encode              bundles            rows, commit
 *
 * Order is the safety property: serial prefixes on record before their first
 * signature; bundles durable, then rows durable, then the commit on record; only
 * then do devices count as committed. The writer decides where commits end (by bytes,
 * devices and time) and hands batches on in the order it put them, so that the
 * registrar sees each commit whole.
 *
 *  Memory    none is taken after open. Batches: see cm_pipeline_batches.
 *  Failure   the first fatal error wins; every thread stops, the commit under
 *            way is not listed. cm_pipeline_wait returns it.
 *  Stop      workers end after the device in hand; what was minted is committed
 *            and the sinks are finished: a clean end.
 *  Threads   open, start, wait and close from one thread; stop and stats from
 *            any; stop is async-signal-safe.
 */
struct cm_commit_bounds {
    uint64_t bytes; /* of images */
    uint32_t devices;
    uint32_t ms; /* since the first batch of the commit */
};

struct cm_pipeline_conf {
    struct cm_mint_conf mint;
    struct cm_source *source;
    struct cm_pool *pool;
    struct cm_sink *bundles, *manifest;
    struct cm_recorder *recorder; /* NULL: nothing is put on record */
    uint64_t first_prefix;        /* number of the first serial prefix of this attempt */
    uint32_t workers;
    const int *cpus; /* worker i is pinned to cpus[i % cpus_count]; NULL: not pinned */
    size_t cpus_count;
    struct cm_commit_bounds commit;
};

struct cm_pipeline_stats {
    uint64_t minted;     /* devices made */
    uint64_t signatures; /* that the CA made, by the batch */
    uint64_t committed;  /* devices durable and listed */
    uint64_t committed_bytes;
    uint64_t commits;
};

struct cm_pipeline;

/* How many batches the pool must have for this many workers. */
uint32_t cm_pipeline_batches(uint32_t workers);

CM_MUST_CHECK cm_err cm_pipeline_open(const struct cm_pipeline_conf *conf, struct cm_pipeline **out,
                                      struct cm_error *err);
CM_MUST_CHECK cm_err cm_pipeline_start(struct cm_pipeline *p, struct cm_error *err);
/* Waits at most ms milliseconds for the end: CM_E_END when it is not there yet. */
CM_MUST_CHECK cm_err cm_pipeline_wait(struct cm_pipeline *p, int ms, struct cm_error *err);
void cm_pipeline_stop(struct cm_pipeline *p);
struct cm_pipeline_stats cm_pipeline_stats(const struct cm_pipeline *p);
void cm_pipeline_close(struct cm_pipeline *p); /* joins; NULL accepted */

#endif
