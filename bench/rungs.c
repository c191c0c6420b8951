#include "bench/rungs.h"

#include "engine/err.h"

#include <string.h>

const struct cm_rung cm_rungs[] = {
    [CM_RUNG_NONE] = { "none", "nothing written", false, { "--layout", "none" }, NULL },
    [CM_RUNG_TAR_UNSYNCED] = { "tar-unsynced",
                               "tar, not synced",
                               true,
                               { "--layout", "tar", "--sync", "none" },
                               "none" },
    [CM_RUNG_TAR] = { "tar", "tar, durable", true, { "--layout", "tar" }, "tar-unsynced" },
    [CM_RUNG_TREE] = { "tree", "tree, durable", true, { "--layout", "tree" }, "tar" },
    { "ledger",
      "tar, SQLite ledger",
      true,
      { "--layout", "tar", "--ledger", "sqlite:{fleet}.ledger" },
      "tar" },
    { "database", "tar, SQLite database", true, { "--layout", "tar", "--to", "sqlite:{fleet}.db" }, "tar" },
};
const size_t cm_rungs_count = CM_COUNT(cm_rungs);

_Static_assert(CM_COUNT(cm_rungs) <= CM_RUNGS_MAX, "CM_RUNGS_MAX");

const struct cm_rung *cm_rung_find(const char *name)
{
    for (size_t i = 0; i < cm_rungs_count; i++)
        if (strcmp(cm_rungs[i].name, name) == 0)
            return &cm_rungs[i];
    return NULL;
}
