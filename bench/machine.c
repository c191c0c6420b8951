#include "bench/machine.h"

#include "engine/sigalg.h"
#include "engine/when.h"

#include <gnu/libc-version.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <unistd.h>

/* CMake says these two for this file only, so that a commit recompiles one file. */
#ifndef CM_BENCH_COMMIT
#define CM_BENCH_COMMIT "unknown"
#endif
#ifndef CM_BENCH_BUILD
#define CM_BENCH_BUILD "unknown build"
#endif

/* The first line of a file that begins with `prefix`, behind it and what `skip` holds. */
static bool first_line(const char *path, const char *prefix, const char *skip, char *out, size_t cap)
{
    FILE *f = fopen(path, "re");
    char line[512];
    bool found = false;

    while (f != NULL && !found && fgets(line, sizeof line, f) != NULL) {
        const char *at = line + strlen(prefix);
        found = strncmp(line, prefix, strlen(prefix)) == 0;
        if (!found)
            continue;
        at += strspn(at, skip);
        size_t len = strcspn(at, "\n");
        while (len > 0 && at[len - 1] == ' ') /* SCSI models are padded */
            len--;
        (void) snprintf(out, cap, "%.*s", (int) len, at);
    }
    if (f != NULL)
        (void) fclose(f);
    return found && out[0] != '\0';
}

/* A line of mountinfo: id parent M:m root point options… - type source options. */
static void look_filesystem(dev_t dev, char *out, size_t cap)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char line[4096], want[32];

    (void) snprintf(want, sizeof want, " %u:%u ", major(dev), minor(dev));
    (void) snprintf(out, cap, "unknown");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        const char *here = strstr(line, want), *type = strstr(line, " - ");
        if (here == NULL || type == NULL || here > type)
            continue;
        (void) snprintf(out, cap, "%.*s", (int) strcspn(type + 3, " "), type + 3);
        break;
    }
    if (f != NULL)
        (void) fclose(f);
}

/* "nvme0n1 (Samsung SSD 990)", "vda (virtio)": the disk, also when a partition of it
 * is mounted. */
static void look_disk(dev_t dev, char *out, size_t cap)
{
    char link[64], at[PATH_MAX], file[PATH_MAX + 32], model[64] = "";
    char *name = NULL;

    (void) snprintf(out, cap, "no block device");
    (void) snprintf(link, sizeof link, "/sys/dev/block/%u:%u", major(dev), minor(dev));
    if (realpath(link, at) == NULL)
        return;
    (void) snprintf(file, sizeof file, "%s/partition", at);
    name = strrchr(at, '/');
    if (access(file, F_OK) == 0) {
        *name = '\0';
        name = strrchr(at, '/');
    }
    (void) snprintf(file, sizeof file, "%s/device/model", at);
    if (!first_line(file, "", " ", model, sizeof model) && strstr(at, "/virtio") != NULL)
        (void) snprintf(model, sizeof model, "virtio");
    (void) snprintf(out, cap, "%s%s%s%s", name + 1, model[0] != '\0' ? " (" : "", model,
                    model[0] != '\0' ? ")" : "");
}

void cm_machine_look(const char *out, size_t cpus, struct cm_machine *m)
{
    struct cm_writer w = cm_writer(m->at, sizeof m->at - 1);
    struct utsname u;
    struct stat st;

    *m = (struct cm_machine) { .commit = CM_BENCH_COMMIT,
                               .build = CM_BENCH_BUILD,
                               .version = CM_VERSION,
                               .libcrypto = cm_sigalg_libcrypto(),
                               .cpus = cpus,
                               .online = sysconf(_SC_NPROCESSORS_ONLN),
                               .kernel = "unknown",
                               .filesystem = "unknown",
                               .disk = "unknown" };
    (void) snprintf(m->libc, sizeof m->libc, "glibc %s", gnu_get_libc_version());
    cm_put_rfc3339(&w, cm_when_now());
    if (!first_line("/proc/cpuinfo", "model name", " \t:", m->processor, sizeof m->processor))
        (void) snprintf(m->processor, sizeof m->processor, "unknown processor");
    if (uname(&u) == 0)
        (void) snprintf(m->kernel, sizeof m->kernel, "%s %s %s", u.sysname, u.release, u.machine);
    if (stat(out, &st) == 0) {
        look_filesystem(st.st_dev, m->filesystem, sizeof m->filesystem);
        look_disk(st.st_dev, m->disk, sizeof m->disk);
    }
    if (getloadavg(&m->load, 1) != 1)
        m->load = 0;
}
