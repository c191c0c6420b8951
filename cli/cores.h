#ifndef CM_CLI_CORES_H
#define CM_CLI_CORES_H

#include <stddef.h>
#include <stdint.h>

/* cores.h - what this process may use: affinity mask and cgroup (v2) cpu.max. */
enum { CM_CORES_MAX = 1024 };

struct cm_cores {
    int cpu[CM_CORES_MAX]; /* numbers of the processors in the affinity mask */
    size_t count;
    unsigned long quota; /* hundredths of a processor that the cgroup allows; 0: no limit */
};

void cm_cores_look(struct cm_cores *c);
/* One worker for each processor, fewer where the cgroup allows less; at least 1. */
uint32_t cm_cores_workers(const struct cm_cores *c);

#endif
