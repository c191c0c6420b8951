#ifndef CM_ENGINE_QUEUE_H
#define CM_ENGINE_QUEUE_H

#include "engine/err.h"

#include <stddef.h>

/* queue.h - a bounded hand-over point between pipeline threads.
 *
 * A queue carries ownership, not copies: it moves `struct cm_batch *` from the
 * thread that pushed to the thread that popped, and the mutex inside is the
 * barrier that makes every write before the push visible after the pop.
 *
 *  Ownership  push CM_OK: the batch is the queue's; drop your pointer.
 *             push anything else: it is STILL YOURS (release it to the pool).
 *             pop CM_OK: it is yours.
 *  Blocking   push waits while the queue is full; pop waits while it is empty,
 *             at most wait_ms milliseconds (CM_E_END then; -1: for ever).
 *  Closing    cm_queue_close() wakes everyone. Later pushes give CM_E_CLOSED;
 *             pops drain what is left, then CM_E_CLOSED. Closing twice is
 *             harmless. Nothing is ever dropped silently.
 *  Threads    every call may come from any thread, except open and done.
 *  Cost       one lock per batch, not per certificate.
 */
struct cm_batch;
struct cm_queue;

CM_MUST_CHECK cm_err cm_queue_open(size_t cap, struct cm_queue **out, struct cm_error *err);
CM_MUST_CHECK cm_err cm_queue_push(struct cm_queue *q, struct cm_batch *b);
CM_MUST_CHECK cm_err cm_queue_pop(struct cm_queue *q, int wait_ms, struct cm_batch **out);
void cm_queue_close(struct cm_queue *q);
void cm_queue_done(struct cm_queue *q); /* NULL accepted; must be empty: asserts */

#endif
