/* Targets: cm_source_list_open and the reading of what it accepted: any octets as a device list. It must give
 * as many devices as it counted, numbered from 1 without a gap, with ids that fit. */
#include "engine/ident.h"
#include "engine/pool.h"
#include "io/source_list.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DEVICES = 16 };

/* A batch with room for ids and columns, and nothing else. */
static struct cm_batch *batch(void)
{
    static struct cm_batch b;
    static struct cm_rec rec[DEVICES];
    static char ids[DEVICES * CM_ID_MAX];

    b = (struct cm_batch) { .rec = rec, .cap = DEVICES, .ids = ids, .plan = { .ids = sizeof ids } };
    return &b;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct cm_hasher hasher;
    static const uint8_t run_id[16];
    struct cm_source *s = NULL;
    char path[64];
    const int fd = memfd_create("list", MFD_CLOEXEC);

    (void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (hasher.sha1 == NULL)
        CM_ASSERT(cm_hasher_open(&hasher, NULL) == CM_OK);
    CM_ASSERT(fd >= 0 && write(fd, data, len) == (ssize_t) len);
    const struct cm_source_list_conf conf = {
        .path = path, .fold_case = true, .run_id = run_id, .hasher = &hasher, .spill_dir = "/dev/shm"
    };
    if (cm_source_list_open(&conf, &s, NULL) == CM_OK) {
        uint64_t seen = 0;
        for (;;) {
            struct cm_batch *b = batch();
            if (s->ops->next(s, b, NULL) != CM_OK)
                break;
            for (uint32_t i = 0; i < b->count; i++)
                CM_ASSERT(b->rec[i].seq == ++seen && b->rec[i].id_len > 0 && b->rec[i].id_len <= CM_ID_MAX);
        }
        CM_ASSERT(seen == s->devices);
        s->ops->close(s);
    }
    (void) close(fd);
    return 0;
}
