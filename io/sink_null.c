#include "io/sinks.h"

/* --layout none: the engine alone, for benchmarks. Nothing is written. */

static cm_err null_open(const struct cm_sink_ops *ops, struct cm_sink **out, struct cm_error *err)
{
    struct cm_sink *s = calloc(1, sizeof *s);

    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the writer");
    s->ops = ops;
    *out = s;
    return CM_OK;
}

static cm_err bundles_open(const struct cm_sink_conf *conf, struct cm_sink **out, struct cm_error *err)
{
    (void) conf;
    return null_open(&cm_sink_null_ops, out, err);
}

static cm_err rows_open(const struct cm_sink_conf *conf, struct cm_sink **out, struct cm_error *err)
{
    (void) conf;
    return null_open(&cm_sink_norows_ops, out, err);
}

static cm_err null_put(struct cm_sink *s, struct cm_batch *b, enum cm_put *how, struct cm_error *err)
{
    (void) s;
    (void) b;
    (void) err;
    *how = CM_PUT_DONE;
    return CM_OK;
}

static cm_err null_reap(struct cm_sink *s, bool wait, struct cm_batch **out, struct cm_error *err)
{
    (void) s;
    (void) wait;
    (void) err;
    *out = NULL;
    return CM_OK;
}

static cm_err nothing(struct cm_sink *s, struct cm_error *err)
{
    (void) s;
    (void) err;
    return CM_OK;
}

static void null_close(struct cm_sink *s)
{
    free(s);
}

const struct cm_sink_ops cm_sink_null_ops = { .name = "none",
                                              .caps = CM_SINK_BUNDLE,
                                              .open = bundles_open,
                                              .put = null_put,
                                              .reap = null_reap,
                                              .cut = nothing,
                                              .sync = nothing,
                                              .finish = nothing,
                                              .close = null_close };

const struct cm_sink_ops cm_sink_norows_ops = { .name = "norows",
                                                .caps = CM_SINK_MANIFEST,
                                                .open = rows_open,
                                                .put = null_put,
                                                .reap = null_reap,
                                                .cut = nothing,
                                                .sync = nothing,
                                                .finish = nothing,
                                                .close = null_close };
