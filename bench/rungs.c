#include "bench/rungs.h"

#include "engine/err.h"

#include <string.h>

const struct cm_rung cm_rungs[] = {
    [CM_RUNG_NONE] = { .name = "none", .label = "nothing written", .option = { "--layout", "none" } },
    [CM_RUNG_TAR_UNSYNCED] = { .name = "tar-unsynced",
                               .label = "tar, not synced",
                               .stored = true,
                               .option = { "--layout", "tar", "--sync", "none" },
                               .over = "none" },
    [CM_RUNG_TAR] = { .name = "tar",
                      .label = "tar, durable",
                      .stored = true,
                      .option = { "--layout", "tar" },
                      .over = "tar-unsynced" },
    [CM_RUNG_TREE] = { .name = "tree",
                       .label = "tree, durable",
                       .stored = true,
                       .option = { "--layout", "tree" },
                       .over = "tar" },
    { .name = "ledger",
      .label = "tar, SQLite ledger",
      .stored = true,
      .option = { "--layout", "tar", "--ledger", "sqlite:{fleet}.ledger" },
      .over = "tar" },
    { .name = "database",
      .label = "tar, SQLite database",
      .stored = true,
      .option = { "--layout", "tar", "--to", "sqlite:{fleet}.db" },
      .over = "tar",
      .load = "sqlite:{fleet}.loaded.db" },
    { .name = "postgresql",
      .label = "tar, PostgreSQL database",
      .stored = true,
      .option = { "--layout", "tar", "--to", CM_RUNG_SERVER },
      .over = "tar",
      .load = CM_RUNG_SERVER,
      .server = true },
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
