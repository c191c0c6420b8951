#include "cli/explain.h"

#include "cli/amount.h"
#include "cli/estimate.h"
#include "cli/explain_devices.h"
#include "cli/msg.h"
#include "io/ring.h"

#include <jansson.h>

/* How the segments would be written. */
struct how {
    const char *io;
    char why[CM_ERROR_TEXT];
};

static void look_how(const struct cm_mint_plan *p, struct how *h)
{
    struct cm_error ring = { 0 };

    *h = (struct how) { .io = "blocking writes" };
    if (p->pipeline.mint.layout != CM_LAYOUT_TAR || p->o->io == CM_IO_POSIX)
        return;
    if (cm_ring_probe(&ring) == CM_OK)
        h->io = "io_uring";
    else
        (void) snprintf(h->why, sizeof h->why, "%s", ring.what);
}

static void when_text(cm_when t, char out[24])
{
    struct cm_writer w = cm_writer(out, 23);

    cm_put_rfc3339(&w, t);
    out[w.len] = '\0';
}

static json_t *as_json(const struct cm_mint_plan *p, const struct cm_estimate *e, const struct how *h)
{
    json_t *all = json_pack("{s:s s:s s:i s:s}", "key", p->pipeline.mint.key->name, "signature",
                            cm_ca_sigalg(p->ca)->name, "batches", (int) p->batches, "io", h->io);
    json_t *more = cm_estimate_json(e);

    if (all == NULL || more == NULL || json_object_update(all, more) != 0 ||
        (cm_feeds_count(p->feeds) > 0 &&
         json_object_set_new(all, "databases", cm_feeds_found_json(p->feeds)) != 0)) {
        json_decref(all);
        all = NULL;
    }
    json_decref(more);
    return all;
}

static void print_verdict(const struct cm_mint_plan *p)
{
    const unsigned long long bad = (unsigned long long) p->bad.count;

    if (bad == 0 || p->o->skip_bad != NULL)
        (void) printf("Nothing was written. This run would mint\n");
    else
        (void) printf("Nothing was written. This run would be refused: %llu row%s of %s can't be used (see "
                      "below).\nWithout %s it would mint\n",
                      bad, bad == 1 ? "" : "s", p->o->devices, bad == 1 ? "it" : "them");
}

static void print_request(const struct cm_mint_plan *p)
{
    char before[24], after[24];

    when_text(p->not_before, before);
    when_text(p->not_after, after);
    print_verdict(p);
    (void) printf("  devices      %llu\n"
                  "  keys         %s, signed with %s by %s\n"
                  "  profile      %s, subject %s%s%s\n"
                  "  validity     %s to %s\n",
                  (unsigned long long) p->source->devices, p->pipeline.mint.key->name,
                  cm_ca_sigalg(p->ca)->name, cm_ca_subject_text(p->ca), p->profile->name, p->subject_text,
                  p->san_text != NULL ? ", SAN " : "", p->san_text != NULL ? p->san_text : "", before, after);
}

static void print_means(const struct cm_mint_plan *p, const struct cm_estimate *e, const struct how *h)
{
    struct cm_amount memory, locked, disk, time, low, high;

    (void) printf("with\n"
                  "  workers      %u, sharing %u batches of %u devices each\n"
                  "  buffers      %s, of it %s locked for keys\n"
                  "  disk         %s in %llu files, by %s%s%s\n"
                  "  time         %s (%s to %s) and what the disk adds, %.0f devices a second\n",
                  p->pipeline.workers, p->batches, e->batch, cm_amount_bytes(&memory, e->memory),
                  cm_amount_bytes(&locked, e->locked), cm_amount_bytes(&disk, e->bytes),
                  (unsigned long long) e->files, h->io, h->why[0] != '\0' ? ": " : "", h->why,
                  cm_amount_time(&time, e->seconds), cm_amount_time(&low, e->seconds_low),
                  cm_amount_time(&high, e->seconds_high), e->rate);
}

static cm_err print_json(const struct cm_mint_plan *p, const struct cm_estimate *e, const struct how *h,
                         struct cm_error *err)
{
    json_t *const all = as_json(p, e, h);
    const cm_err rc = all != NULL ? cm_explain_add_devices(p, all, err) : CM_OK;

    if (rc != CM_OK) {
        json_decref(all);
        return rc;
    }
    return cm_msg_json(all, err);
}

cm_err cm_explain(struct cm_mint_plan *p, const struct cm_common *common, struct cm_error *err)
{
    enum { MS = 1000, SAMPLES = 10 };
    struct cm_estimate e;
    struct how h;

    look_how(p, &h);
    CM_TRY(cm_estimate_make(p, MS, SAMPLES, &e, err));
    if (common->json) {
        CM_TRY(print_json(p, &e, &h, err));
    } else {
        print_request(p);
        print_means(p, &e, &h);
        cm_feeds_print_found(p->feeds);
        CM_TRY(cm_explain_print_devices(p, err));
    }
    if (p->bad.count == 0)
        return CM_OK;
    *err = (struct cm_error) { .code = CM_E_FOUND }; /* told already */
    return CM_E_FOUND;
}
