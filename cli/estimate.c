#include "cli/estimate.h"

#include "engine/calibrate.h"
#include "engine/tarfmt.h"

#include <jansson.h>
#include <math.h>
#include <sys/resource.h>

enum {
    FS_BLOCK = 4096,
    FIXED_FILES = 5,  /* run.json, ca.pem, manifest.ndjson, journal, index */
    BOOKS = 64 << 10, /* octets of journal, run.json, ca.pem: more than they have in most runs */
    DIRECTORY = 48,   /* octets that a file's name takes in its directory */
    INDEX_PAGE = 4096,
    INDEX_ENTRIES = 255, /* of a page: docs/formats.md */
};

static uint64_t round_up(double octets, uint32_t unit)
{
    return (uint64_t) ceil(octets / unit) * unit;
}

/* Where 97.5 % of Student's distribution end, by the Cornish-Fisher expansion: from three degrees on
 * within a twentieth. */
static double student(double df)
{
    return 1.96 + 2.37 / df + 2.82 / (df * df);
}

static void set_times(const struct cm_calibration *c, struct cm_estimate *e)
{
    enum { LEAST = 4 }; /* samples that an interval takes */
    const double n = (double) c->samples, each = (double) e->devices / e->workers / 1e6;
    const double variance = c->squares - c->device_us * c->device_us;
    double half = 0;

    if (c->samples >= LEAST && variance > 0)
        half = student(n - 1) * sqrt(variance / (n - 1));
    e->samples = c->samples;
    e->device_us = c->device_us;
    e->rate = e->workers * 1e6 / c->device_us;
    e->seconds = each * c->device_us;
    e->seconds_low = each * fmax(c->device_us - half, 0);
    e->seconds_high = each * (c->device_us + half);
}

/* Octets of images of n devices, entry octets each on average, in batches that are padded. */
static uint64_t image_octets(const struct cm_estimate *e, enum cm_layout layout, double entry)
{
    const uint64_t full = e->devices / e->batch, rest = e->devices % e->batch;

    if (layout == CM_LAYOUT_TREE)
        return (uint64_t) ceil((double) e->devices * entry);
    return full * round_up(e->batch * entry, CM_TAR_ALIGN) + round_up((double) rest * entry, CM_TAR_ALIGN);
}

static void set_octets(const struct cm_mint_plan *p, const struct cm_calibration *c, struct cm_estimate *e)
{
    enum {
        NUMBER = 6,
        OFFSET = 15 + 9
    }; /* in a row: a segment's or shard's, and `.tar","offset":123456789` */
    const enum cm_layout layout = p->pipeline.mint.layout;
    const double n = (double) e->devices;
    const uint64_t index_pages = 2 * (uint64_t) ceil(n / INDEX_ENTRIES) + 1;
    const double row = c->row + 2 * (layout == CM_LAYOUT_TREE ? NUMBER : NUMBER + OFFSET) + floor(log10(n));

    e->device_chain = c->chain;
    e->device_key = c->key;
    if (layout == CM_LAYOUT_NONE)
        return;
    e->device_row = row;
    e->chains = image_octets(e, layout, c->chain_entry);
    e->keys = image_octets(e, layout, c->key_entry);
    e->manifest = (uint64_t) ceil(n * row);
    e->index = index_pages * INDEX_PAGE;
    e->files = 2 * e->devices + FIXED_FILES;
    e->allocated = e->devices * (round_up((double) c->chain_max, FS_BLOCK) +
                                 round_up((double) c->key_max, FS_BLOCK) + 2 * DIRECTORY);
    if (layout == CM_LAYOUT_TAR) {
        const uint64_t segments = e->chains / CM_SEGMENT_BYTES + 1;
        e->chains += segments * CM_TAR_END;
        e->keys += segments * CM_TAR_END;
        e->files = 2 * segments + FIXED_FILES;
        e->allocated = e->chains + e->keys;
    }
    e->books = BOOKS;
    e->bytes = e->chains + e->keys + e->manifest + e->index + e->books;
    e->allocated += round_up((double) e->manifest, FS_BLOCK) + e->index + e->books;
}

static cm_err set_memory(const struct cm_mint_plan *p, const struct cm_calibration *c, struct cm_estimate *e,
                         struct cm_error *err)
{
    const uint64_t scratch = c->scratch / c->workers * p->pipeline.workers;
    struct cm_batch_plan wanted;

    CM_TRY(cm_mint_plan(&p->pipeline.mint, e->batch_wanted, &wanted, err));
    e->memory = cm_pool_bytes(&p->batch, p->batches) + scratch;
    e->locked = (uint64_t) p->batch.keys * p->batches + scratch;
    e->locked_wanted = (uint64_t) wanted.keys * p->batches + scratch;
    return CM_OK;
}

cm_err cm_estimate_make(struct cm_mint_plan *p, uint32_t ms, uint32_t samples, struct cm_estimate *out,
                        struct cm_error *err)
{
    const struct cm_calibrate_conf conf = {
        .run = &p->pipeline, .standin = p->standin, .ms = ms, .samples = samples
    };
    struct cm_estimate e = { .devices = p->source->devices,
                             .batch = p->batch.devices,
                             .batch_wanted = cm_mint_plan_batch(p) };
    struct cm_calibration c = { 0 };

    CM_TRY(cm_calibrate(&conf, &c, err));
    e.workers = c.workers;
    e.locks_refused = c.refused;
    set_times(&c, &e);
    set_octets(p, &c, &e);
    CM_TRY(set_memory(p, &c, &e, err));
    *out = e;
    return CM_OK;
}

uint64_t cm_estimate_memlock(void)
{
    struct rlimit l;

    return getrlimit(RLIMIT_MEMLOCK, &l) == 0 && l.rlim_cur != RLIM_INFINITY ? (uint64_t) l.rlim_cur
                                                                             : UINT64_MAX;
}

json_t *cm_estimate_json(const struct cm_estimate *e)
{
    const uint64_t limit = cm_estimate_memlock();

    return json_pack("{s:I s:i s:i s:i s:f s:f s:f s:f s:f s:I s:f s:f s:f s:I s:I s:I s:I s:I s:I s:I s:I "
                     "s:I s:I s:I s:o "
                     "s:b}",
                     "devices", (json_int_t) e->devices, "workers", (int) e->workers, "batch", (int) e->batch,
                     "batch_wanted", (int) e->batch_wanted, "device_us", e->device_us, "devices_per_second",
                     e->rate, "seconds", e->seconds, "seconds_low", e->seconds_low, "seconds_high",
                     e->seconds_high, "samples", (json_int_t) e->samples, "device_chain_bytes",
                     e->device_chain, "device_key_bytes", e->device_key, "device_row_bytes", e->device_row,
                     "chain_bytes", (json_int_t) e->chains, "key_bytes", (json_int_t) e->keys,
                     "manifest_bytes", (json_int_t) e->manifest, "index_bytes", (json_int_t) e->index,
                     "books_bytes", (json_int_t) e->books, "disk_bytes", (json_int_t) e->bytes,
                     "disk_bytes_allocated", (json_int_t) e->allocated, "files", (json_int_t) e->files,
                     "memory_bytes", (json_int_t) e->memory, "locked_bytes", (json_int_t) e->locked,
                     "locked_bytes_wanted", (json_int_t) e->locked_wanted, "memlock_limit_bytes",
                     limit == UINT64_MAX ? json_null() : json_integer((json_int_t) limit), "memlock_suffices",
                     (int) (e->batch == e->batch_wanted && !e->locks_refused));
}
