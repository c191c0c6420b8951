#include "cli/explain.h"

#include "cli/msg.h"
#include "engine/calibrate.h"
#include "io/ring.h"
#include "io/source_list.h"

#include <jansson.h>

/* Microseconds that a device costs besides its key and its signature: digests,
 * encoding, the row, the writer (docs/speed.md). */
static const double rest_us = 8;

struct figures {
    double key_us, sign_us, seconds, rate;
    uint64_t memory, bytes, files;
    const char *io;
    char why[CM_ERROR_TEXT];
};

static cm_err measure(const struct cm_mint_plan *p, struct figures *f, struct cm_error *err)
{
    const enum cm_layout layout = p->pipeline.mint.layout;
    struct cm_calibration c = { 0 };
    struct cm_error ring = { 0 };
    const uint64_t n = p->source->devices;

    CM_TRY(cm_calibrate(p->pipeline.mint.key, p->pipeline.mint.keygen, p->ca, 1000, &c, err));
    f->key_us = c.key_us;
    f->sign_us = c.sign_us;
    f->rate = p->pipeline.workers * 1e6 / (c.key_us + c.sign_us + rest_us);
    f->seconds = (double) n / f->rate;
    f->memory = cm_pool_bytes(&p->batch, p->batches);
    f->bytes = n * cm_mint_plan_bytes(p);
    f->files = layout == CM_LAYOUT_TREE ? 2 * n + n / CM_SHARD_DEVICES * 2 + 4
               : layout == CM_LAYOUT_TAR
                   ? 2 * (1 + n * (p->batch.chain / p->batch.devices) / CM_SEGMENT_BYTES) + 4
                   : 0;
    f->io = "blocking writes";
    if (layout == CM_LAYOUT_TAR && p->o->io != CM_IO_POSIX) {
        if (cm_ring_probe(&ring) == CM_OK)
            f->io = "io_uring";
        else
            (void) snprintf(f->why, sizeof f->why, "%s", ring.what);
    }
    return CM_OK;
}

static void when_text(cm_when t, char out[24])
{
    struct cm_writer w = cm_writer(out, 23);

    cm_put_rfc3339(&w, t);
    out[w.len] = '\0';
}

/* The first device's id, for a look. */
static void first_id(const struct cm_mint_plan *p, char out[CM_PATTERN_OUT + 1])
{
    struct cm_values v;
    size_t len = 0;

    if (p->o->devices != NULL)
        len = cm_source_list_first(p->source, out);
    else if (cm_source_count_at(p->source, 0, out, &v, NULL) == CM_OK)
        len = v.id.len;
    out[len] = '\0';
}

static json_t *as_json(const struct cm_mint_plan *p, const struct figures *f, const char *id)
{
    return json_pack("{s:I s:s s:s s:s s:i s:i s:i s:I s:I s:I s:s s:f s:f s:f s:f}", "devices",
                     (json_int_t) p->source->devices, "first_id", id, "key", p->pipeline.mint.key->name,
                     "signature", cm_ca_sigalg(p->ca)->name, "workers", (int) p->pipeline.workers, "batch",
                     (int) p->batch.devices, "batches", (int) p->batches, "memory_bytes",
                     (json_int_t) f->memory, "disk_bytes_max", (json_int_t) f->bytes, "files",
                     (json_int_t) f->files, "io", f->io, "key_us", f->key_us, "sign_us", f->sign_us,
                     "devices_per_second", f->rate, "seconds", f->seconds);
}

static void print_text(const struct cm_mint_plan *p, const struct figures *f, const char *id)
{
    char before[24], after[24];

    when_text(p->not_before, before);
    when_text(p->not_after, after);
    (void) printf("Nothing was written. This run would mint\n"
                  "  devices      %llu, the first \"%s\"\n"
                  "  keys         %s, signed with %s by %s\n"
                  "  profile      %s, subject %s%s%s\n"
                  "  validity     %s to %s\n",
                  (unsigned long long) p->source->devices, id, p->pipeline.mint.key->name,
                  cm_ca_sigalg(p->ca)->name, cm_ca_subject_text(p->ca), p->profile->name, p->subject_text,
                  p->san_text != NULL ? ", SAN " : "", p->san_text != NULL ? p->san_text : "", before, after);
    (void) printf("with\n"
                  "  workers      %u, batches of %u devices, %u batches\n"
                  "  memory       %.1f MB, of it %.1f MB locked for keys\n"
                  "  disk         at most %.1f MB in %llu files, by %s%s%s\n"
                  "  time         about %.0f s (%.0f devices a second; here a key takes %.1f us, a signature "
                  "%.1f us)\n",
                  p->pipeline.workers, p->batch.devices, p->batches, (double) f->memory / 1e6,
                  (double) p->batch.keys * p->batches / 1e6, (double) f->bytes / 1e6,
                  (unsigned long long) f->files, f->io, f->why[0] != '\0' ? ": " : "", f->why,
                  f->seconds + 0.5, f->rate, f->key_us, f->sign_us);
}

cm_err cm_explain(const struct cm_mint_plan *p, const struct cm_common *common, struct cm_error *err)
{
    struct figures f = { .io = "" };
    char id[CM_PATTERN_OUT + 1];

    CM_TRY(measure(p, &f, err));
    first_id(p, id);
    if (common->json)
        return cm_msg_json(as_json(p, &f, id), err);
    print_text(p, &f, id);
    return CM_OK;
}
