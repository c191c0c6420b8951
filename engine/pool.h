#ifndef CM_ENGINE_POOL_H
#define CM_ENGINE_POOL_H

#include "engine/batch.h"

/* pool.h - the fixed set of batches; all of a run's large memory, taken at start.
 *
 * Two slabs: chain images in ordinary memory, key images in cm_secret memory
 * (locked, not dumped). Both are handed to io as wholes, to be registered with
 * the ring.
 *
 *  Threads   acquire and release from any thread; acquire waits for a release,
 *            which is the pipeline's back-pressure.
 *  Errors    CM_E_LIMIT when the key slab can't be locked, CM_E_NOMEM.
 */
CM_MUST_CHECK cm_err cm_pool_open(uint32_t batches, const struct cm_batch_plan *plan, struct cm_pool **out,
                                  struct cm_error *err);
/* CM_E_CLOSED after cm_pool_stop. The batch is empty and FILLING. */
CM_MUST_CHECK cm_err cm_pool_acquire(struct cm_pool *p, struct cm_batch **out);
/* Wipes what is left of the keys. */
void cm_pool_release(struct cm_pool *p, struct cm_batch *b);
void cm_pool_stop(struct cm_pool *p); /* wakes whoever waits */
/* Every batch must be home: asserts. NULL accepted. */
void cm_pool_close(struct cm_pool *p);

struct cm_span cm_pool_chain_slab(const struct cm_pool *p);
struct cm_span cm_pool_key_slab(const struct cm_pool *p);
uint32_t cm_pool_batches(const struct cm_pool *p);
uint32_t cm_pool_devices(const struct cm_pool *p);                        /* that a batch takes */
size_t cm_pool_bytes(const struct cm_batch_plan *plan, uint32_t batches); /* of memory, for --explain */

#endif
