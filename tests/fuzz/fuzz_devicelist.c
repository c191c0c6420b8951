/* Targets: cm_source_list_open, _check and the reading of what they accepted: any octets as a device list.
 * A first octet C reads the rest as CSV, J as NDJSON, c and j leave out what is refused; anything else is one
 * id a line. There must be as many devices as were counted, numbered from 1 without a gap, with ids and
 * values that fit what was planned, and what was refused must be told in the order of the file. */
#include "engine/ident.h"
#include "engine/row.h"
#include "io/source_list.h"
#include "tests/fuzz/fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { DEVICES = 4 };

struct told {
    uint64_t line, count;
};

static cm_err tell(void *arg, const struct cm_list_fault *fault, struct cm_error *err)
{
    struct told *const t = arg;

    (void) err;
    CM_ASSERT(fault->line > t->line && fault->reason[0] != '\0' && fault->raw.len > 0);
    t->line = fault->line;
    t->count++;
    return CM_OK;
}

/* A batch with room for what the list was said to need, and nothing else. */
static struct cm_batch *batch(const struct cm_column_bounds *bounds)
{
    static struct cm_batch b;
    static struct cm_rec rec[DEVICES];
    const size_t len = DEVICES * (CM_ID_MAX + (bounds != NULL ? bounds->packed : 0));

    free(b.ids);
    b = (struct cm_batch) { .rec = rec, .cap = DEVICES, .ids = malloc(len), .plan = { .ids = len } };
    CM_ASSERT(b.ids != NULL);
    return &b;
}

static void look_at(const struct cm_batch *b, uint32_t i, struct cm_source *s)
{
    static struct cm_span value[CM_COLUMNS_MAX];
    const struct cm_columns *const c = cm_listread_columns(cm_source_list_reader(s));
    const struct cm_column_bounds *const bounds = cm_source_list_bounds(s);
    const struct cm_rec *const rec = &b->rec[i];

    CM_ASSERT(rec->id_len > 0 && rec->id_len <= CM_ID_MAX && (c == NULL) == (bounds == NULL));
    if (c == NULL)
        return;
    cm_batch_values(b, rec, value, c->count);
    CM_ASSERT(cm_row_attributes_len(c, value) <= bounds->json && bounds->json <= CM_ATTRIBUTES_MAX);
    CM_ASSERT(cm_span_eq(value[c->id], cm_span(b->ids + rec->id_off, rec->id_len)));
    for (size_t k = 0; k < c->count; k++)
        CM_ASSERT(value[k].len <= bounds->value[k]);
}

static void read_all(struct cm_source *s)
{
    uint64_t seen = 0;
    struct cm_batch *b = batch(cm_source_list_bounds(s));

    while (s->ops->next(s, b, NULL) == CM_OK) {
        for (uint32_t i = 0; i < b->count; i++) {
            CM_ASSERT(b->rec[i].seq == ++seen);
            look_at(b, i, s);
        }
        b = batch(cm_source_list_bounds(s));
    }
    CM_ASSERT(seen == s->devices && seen > 0);
}

static enum cm_list_format format_of(uint8_t first)
{
    return (first | 0x20) == 'c' ? CM_LIST_CSV : (first | 0x20) == 'j' ? CM_LIST_NDJSON : CM_LIST_LINES;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct cm_hasher hasher;
    static const uint8_t run_id[16];
    const enum cm_list_format format = len > 0 ? format_of(data[0]) : CM_LIST_LINES;
    const size_t skip = format != CM_LIST_LINES;
    struct cm_source *s = NULL;
    struct told told = { 0 };
    char path[64];
    const int fd = memfd_create("list", MFD_CLOEXEC);

    (void) snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (hasher.sha1 == NULL)
        CM_ASSERT(cm_hasher_open(&hasher, NULL) == CM_OK);
    CM_ASSERT(fd >= 0 && write(fd, data + skip, len - skip) == (ssize_t) (len - skip));
    const struct cm_source_list_conf conf = { .fold_case = true,
                                              .run_id = run_id,
                                              .hasher = &hasher,
                                              .spill_dir = "/dev/shm",
                                              .skip = skip && data[0] >= 'a',
                                              .report = tell,
                                              .report_arg = &told };
    if (cm_source_list_open(path, format, NULL, &s, NULL) == CM_OK) {
        if (cm_source_list_check(s, &conf, NULL) == CM_OK) {
            CM_ASSERT(told.count == cm_source_list_refused(s) && (conf.skip || told.count == 0));
            read_all(s);
        }
        s->ops->close(s);
    }
    (void) close(fd);
    return 0;
}
