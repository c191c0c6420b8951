#ifndef CM_ENGINE_SINK_H
#define CM_ENGINE_SINK_H

#include "engine/batch.h"

/* sink.h - what the pipeline asks of an output. The engine owns this interface,
 * io/ implements it (table in io/sinks.c).
 *
 * BUNDLE sinks take the images of whole batches; MANIFEST sinks take the rows of
 * batches whose bundles have landed. A commit is what lies between two cuts.
 *
 *   put     borrows the batch. DONE: the borrow is over. PENDING: borrowed until
 *           reap gives it back. BUSY: nothing was taken; reap first.
 *   reap    ASYNC sinks: waits for at least one batch when `wait`, and gives back
 *           one that is finished, its bytes all taken by the kernel; NULL when
 *           none is. On an error every borrowed batch still comes back by reap.
 *   cut     BUNDLE: ends the commit: all that was put before belongs to it.
 *   sync    makes the oldest commit that was cut and not yet synced durable, or for
 *           MANIFEST sinks all rows that were put.
 *   settle  what was synced last is committed: it is on record. Bundle sinks give full
 *           segments their final names.
 *   finish  at the end, after a failure too: takes back what is not committed, then
 *           ends segments under their final names.
 *   index   MANIFEST: when the end is on record. Builds what readers look things up
 *           in, which can be made again at any time: a failure loses nothing.
 *   close   releases; NULL and half-open accepted. What was not synced stays
 *           recognisably unfinished.
 *
 *  Threads  put, reap, cut: the writer's (MANIFEST: the registrar's). sync, settle
 *           and finish: the registrar's, while the writer goes on.
 */
enum cm_put { CM_PUT_DONE, CM_PUT_PENDING, CM_PUT_BUSY };

enum { CM_SINK_BUNDLE = 1, CM_SINK_MANIFEST = 2, CM_SINK_ASYNC = 4 };

struct cm_sink;
struct cm_sink_conf; /* io/sinks.h */

struct cm_sink_ops {
    const char *name;
    unsigned caps;
    cm_err (*open)(const struct cm_sink_conf *conf, struct cm_sink **out, struct cm_error *err);
    cm_err (*put)(struct cm_sink *s, struct cm_batch *b, enum cm_put *how, struct cm_error *err);
    cm_err (*reap)(struct cm_sink *s, bool wait, struct cm_batch **out, struct cm_error *err);
    cm_err (*cut)(struct cm_sink *s, struct cm_error *err);
    cm_err (*sync)(struct cm_sink *s, struct cm_error *err);
    cm_err (*settle)(struct cm_sink *s, struct cm_error *err); /* NULL: nothing to do */
    cm_err (*finish)(struct cm_sink *s, struct cm_error *err);
    cm_err (*index)(struct cm_sink *s, struct cm_error *err); /* NULL: nothing to do */
    void (*close)(struct cm_sink *s);
};

/* First field of every implementation. */
struct cm_sink {
    const struct cm_sink_ops *ops;
};

#endif
