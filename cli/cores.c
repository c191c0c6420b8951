#include "cli/cores.h"

#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool first_line(const char *path, const char *prefix, char *out, size_t cap)
{
    FILE *f = fopen(path, "re");
    char line[512];
    bool found = false;

    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        found = strncmp(line, prefix, strlen(prefix)) == 0;
        if (found)
            (void) snprintf(out, cap, "%.*s", (int) strcspn(line + strlen(prefix), "\n"),
                            line + strlen(prefix));
    }
    if (f != NULL)
        (void) fclose(f);
    return found;
}

/* The least that the cgroup and those above it allow. Version 2 only: version 1
 * has no cpu.max. */
static unsigned long cgroup_quota(void)
{
    char group[PATH_MAX] = "", path[PATH_MAX + 32], value[64];
    unsigned long least = 0;

    if (!first_line("/proc/self/cgroup", "0::", group, sizeof group))
        return 0;
    for (char *slash = group; slash != NULL;) {
        unsigned long quota = 0, period = 0;
        (void) snprintf(path, sizeof path, "/sys/fs/cgroup%s/cpu.max", group);
        if (first_line(path, "", value, sizeof value) && sscanf(value, "%lu %lu", &quota, &period) == 2 &&
            period > 0 && (least == 0 || quota * 100 / period < least))
            least = quota * 100 / period;
        slash = strrchr(group, '/');
        if (slash != NULL)
            *slash = '\0';
    }
    return least;
}

void cm_cores_look(struct cm_cores *c)
{
    const size_t size = CPU_ALLOC_SIZE(CM_CORES_MAX);
    cpu_set_t *set = CPU_ALLOC(CM_CORES_MAX);

    c->count = 0;
    if (set != NULL && sched_getaffinity(0, size, set) == 0)
        for (int i = 0; i < CM_CORES_MAX; i++)
            if (CPU_ISSET_S((size_t) i, size, set))
                c->cpu[c->count++] = i;
    CPU_FREE(set);
    c->quota = cgroup_quota();
}

uint32_t cm_cores_workers(const struct cm_cores *c)
{
    const size_t by_quota = c->quota == 0 ? c->count : (c->quota + 99) / 100;
    const size_t n = by_quota < c->count ? by_quota : c->count;

    return n > 0 ? (uint32_t) n : 1;
}
