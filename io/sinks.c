#include "io/sinks.h"

static const struct cm_sink_ops *const sinks[] = {
    &cm_sink_tar_ops, &cm_sink_tree_ops, &cm_sink_null_ops, &cm_sink_ndjson_ops, &cm_sink_norows_ops,
};

size_t cm_sink_count(void)
{
    return CM_COUNT(sinks);
}

const struct cm_sink_ops *cm_sink_at(size_t i)
{
    return i < CM_COUNT(sinks) ? sinks[i] : NULL;
}

const struct cm_sink_ops *cm_sink_find(const char *name)
{
    for (size_t i = 0; i < CM_COUNT(sinks); i++)
        if (strcmp(sinks[i]->name, name) == 0)
            return sinks[i];
    return NULL;
}
