#ifndef CM_BENCH_MACHINE_H
#define CM_BENCH_MACHINE_H

#include <stddef.h>

/* machine.h - where and with what a figure was measured. What can't be learnt is
 * "unknown"; figures are compared only where all but time, commit and load agree. */
struct cm_machine {
    char at[24];         /* RFC 3339 UTC */
    const char *commit;  /* at configure time, "+": with changes; "unknown" outside git */
    const char *build;   /* "Release, gcc 12.2.0"; static storage, like the next two */
    const char *version; /* certmill's */
    const char *libcrypto;
    char libc[32];
    char processor[96];
    size_t cpus; /* usable */
    long online;
    char kernel[200];
    char filesystem[32]; /* of the output directory */
    char disk[96];       /* the device below it */
    double load;         /* runnable threads of the last minute, before the first run */
};

void cm_machine_look(const char *out, size_t cpus, struct cm_machine *m);

#endif
