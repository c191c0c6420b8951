#include "cli/amount.h"
#include "cli/cmd.h"
#include "cli/estimate.h"
#include "cli/msg.h"
#include "cli/registration.h"
#include "engine/cainit.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

enum { KEYS_MAX = 16 };

struct opts {
    uint64_t count;
    struct cm_strs keys, rates;
    const char *ca_key_alg, *out;
    int layout, rsa_keygen, ec; /* as in struct cm_mint_opts */
    uint32_t workers;
};

#define OPT(field) offsetof(struct opts, field)

static const char *const layouts[] = { "tar", "tree", "none", NULL };
static const char *const rsa_keygens[] = { "auto", "own", "libcrypto", NULL };
static const char *const ecs[] = { "auto", "batch", "libcrypto", NULL };

static const struct cm_arg args[] = {
    { "count", CM_ARG_U64, OPT(count), 1, UINT64_C(1000000000000), NULL, "N", "how many devices" },
    { "key", CM_ARG_STRS, OPT(keys), 0, 0, NULL, "ALG[,ALG…]",
      "device key algorithms to compare, repeat it for more; all" },
    { "ca-key-alg", CM_ARG_STR, OPT(ca_key_alg), 0, 0, NULL, "ALG", "of the CA that would sign; P-256" },
    { "layout", CM_ARG_CHOICE, OPT(layout), 0, 0, layouts, NULL, "as for mint; tar" },
    { "workers", CM_ARG_U32, OPT(workers), 1, 1024, NULL, "N", "threads that mint; one a core" },
    { "ec", CM_ARG_CHOICE, OPT(ec), 0, 0, ecs, NULL,
      "who computes EC keys: our batches, libcrypto one by one, or auto" },
    { "rsa-keygen", CM_ARG_CHOICE, OPT(rsa_keygen), 0, 0, rsa_keygens, NULL,
      "who makes RSA keys, certmill or OpenSSL; own" },
    { "out", CM_ARG_STR, OPT(out), 0, 0, NULL, "DIR", "is there room on its file system? It must exist" },
    { "rate", CM_ARG_STRS, OPT(rates), 0, 0, NULL, "CALL=N",
      "a rate of AWS IoT that was raised, such as RegisterThing=50; the service's defaults" },
};

/* One algorithm of the comparison. */
struct item {
    const struct cm_keyalg *key;
    const char *profile;
    struct cm_estimate e;
    bool fits; /* into --out */
};

struct work {
    const struct opts *o;
    const struct cm_keyalg *ca_key;
    struct cm_reg_rates rates;
    struct cm_ca *ca;
    double room; /* octets free in --out; < 0: not asked for */
    uint32_t workers;
    size_t items;
    struct item item[KEYS_MAX];
};

static cm_err find_key(const char *name, size_t len, const char *option, const struct cm_keyalg **out,
                       struct cm_error *err)
{
    char text[64];

    (void) snprintf(text, sizeof text, "%.*s", (int) (len < 60 ? len : 60), name);
    *out = cm_keyalg_find(text);
    if (*out == NULL)
        CM_FAIL(err, CM_E_USAGE, "--%s: no key algorithm \"%s\"; there are: %s", option, text,
                cm_keyalg_names());
    return CM_OK;
}

/* AWS IoT registers no Ed25519 keys and takes no signature of one. */
static bool registrable(const struct work *w, const struct cm_keyalg *key)
{
    return key->family != CM_KEYFAM_ED25519 && w->ca_key->family != CM_KEYFAM_ED25519;
}

static cm_err add_key(struct work *w, const struct cm_keyalg *key, struct cm_error *err)
{
    for (size_t i = 0; i < w->items; i++)
        if (w->item[i].key == key)
            CM_FAIL(err, CM_E_USAGE, "--key: %s was given twice; say it once", key->name);
    CM_ASSERT(w->items < KEYS_MAX);
    w->item[w->items++] =
        (struct item) { .key = key, .profile = registrable(w, key) ? "aws-iot" : "tls-client", .fits = true };
    return CM_OK;
}

static cm_err choose_keys(struct work *w, struct cm_error *err)
{
    const struct opts *o = w->o;
    const struct cm_keyalg *key = NULL;

    CM_TRY(find_key(o->ca_key_alg, strlen(o->ca_key_alg), "ca-key-alg", &w->ca_key, err));
    for (size_t i = 0; i < o->keys.count; i++)
        for (const char *at = o->keys.item[i]; at != NULL; at = *at == ',' ? at + 1 : NULL) {
            const size_t len = strcspn(at, ",");
            CM_TRY(find_key(at, len, "key", &key, err));
            CM_TRY(add_key(w, key, err));
            at += len;
        }
    for (size_t i = 0; i < cm_keyalg_count() && o->keys.count == 0; i++)
        CM_TRY(add_key(w, cm_keyalg_at(i), err));
    return CM_OK;
}

static cm_err look_room(struct work *w, struct cm_error *err)
{
    struct statvfs fs;
    struct stat st;

    w->room = -1;
    if (w->o->out == NULL)
        return CM_OK;
    if (stat(w->o->out, &st) != 0 || statvfs(w->o->out, &fs) != 0)
        CM_FAIL(err, CM_E_INPUT, "can't look at --out %s: %s; name a directory that exists", w->o->out,
                strerror(errno));
    if (!S_ISDIR(st.st_mode))
        CM_FAIL(err, CM_E_USAGE, "--out %s is no directory; name one that exists", w->o->out);
    w->room = (double) fs.f_bavail * (double) fs.f_frsize;
    return CM_OK;
}

/* What mint would be asked for. */
static struct cm_mint_opts mint_opts(const struct work *w, const struct item *item)
{
    return (struct cm_mint_opts) { .out = w->o->layout == CM_LAYOUT_NONE ? NULL : ".",
                                   .count = w->o->count,
                                   .start = 1,
                                   .key = item->key->name,
                                   .profile = item->profile,
                                   .layout = w->o->layout,
                                   .plaintext_keys = true,
                                   .rsa_keygen = w->o->rsa_keygen,
                                   .ec = w->o->ec,
                                   .workers = w->o->workers,
                                   .explain = true,
                                   .standin = w->ca };
}

static cm_err estimate(struct work *w, struct item *item, struct cm_error *err)
{
    /* One algorithm gets more time than each of many; scattered times take a few samples. */
    const uint32_t ms = w->items == 1 ? 1500 : 400, samples = w->items == 1 ? 30 : 12;
    const struct cm_mint_opts o = mint_opts(w, item);
    struct cm_mint_plan p = { 0 };
    cm_err rc = cm_mint_plan_open(&o, NULL, &p, err);

    if (rc == CM_OK)
        rc = cm_estimate_make(&p, ms, samples, &item->e, err);
    w->workers = p.pipeline.workers;
    cm_mint_plan_close(&p);
    item->fits = w->room < 0 || (double) item->e.allocated <= w->room;
    return rc;
}

/* --- what a person sees --------------------------------------------------- */

static void print_times(const struct work *w)
{
    (void) printf("  %-9s %-14s %-30s %9s %9s %9s %12s\n", "key", "time", "95 % interval", "a second",
                  "buffers", "locked", "to disk");
    for (size_t i = 0; i < w->items; i++) {
        const struct cm_estimate *e = &w->item[i].e;
        struct cm_amount time, low, high, memory, locked, pace;
        char interval[96] = "too few samples to say";
        if (e->seconds_low < e->seconds_high)
            (void) snprintf(interval, sizeof interval, "%s to %s", cm_amount_time(&low, e->seconds_low),
                            cm_amount_time(&high, e->seconds_high));
        (void) printf("  %-9s %-14s %-30s %9.*f %9s %9s %10s/s\n", w->item[i].key->name,
                      cm_amount_time(&time, e->seconds), interval, e->rate < 100 ? 1 : 0, e->rate,
                      cm_amount_bytes(&memory, e->memory), cm_amount_bytes(&locked, e->locked),
                      cm_amount_bytes(&pace, (uint64_t) (e->rate * (double) e->bytes / (double) e->devices)));
    }
}

static void print_octets(const struct work *w)
{
    if (w->o->layout == CM_LAYOUT_NONE)
        return;
    (void) printf("\n  %-9s %23s    %s\n  %-9s %7s %7s %7s   %9s %9s %9s %9s %9s   %s\n", "",
                  "octets of a device", "the fleet", "key", "chain", "key", "row", "chains", "keys",
                  "manifest", "index", "on disk", "files");
    for (size_t i = 0; i < w->items; i++) {
        const struct cm_estimate *e = &w->item[i].e;
        struct cm_amount chains, keys, manifest, index, disk, files;
        (void) printf("  %-9s %7.0f %7.0f %7.0f   %9s %9s %9s %9s %9s   %s\n", w->item[i].key->name,
                      e->device_chain, e->device_key, e->device_row, cm_amount_bytes(&chains, e->chains),
                      cm_amount_bytes(&keys, e->keys), cm_amount_bytes(&manifest, e->manifest),
                      cm_amount_bytes(&index, e->index), cm_amount_bytes(&disk, e->allocated),
                      cm_amount_count(&files, e->files));
    }
    if (w->o->layout == CM_LAYOUT_TREE)
        (void) printf(
            "\n  A tree is two new files for each device, in blocks of 4 KiB. What the file system takes to "
            "make them\n  is not in the time, and may be more than the minting: certmill bench --case tree "
            "measures it.\n");
}

/* What must be known besides. */
static void print_notes(const struct work *w, const struct item *item)
{
    const struct cm_estimate *e = &item->e;
    const char *name = item->key->name;
    struct cm_amount a, b;

    if (e->batch < e->batch_wanted)
        (void) printf(
            "\n  %s: ulimit -l is %s, and %s locked for keys would be right: it would do with batches of\n"
            "  %u devices instead of %u. Raise it.\n",
            name, cm_amount_bytes(&a, cm_estimate_memlock()), cm_amount_bytes(&b, e->locked_wanted), e->batch,
            e->batch_wanted);
    else if (e->locks_refused)
        (void) printf("\n  %s: ulimit -l is %s: too little to compute keys in batches. Raise it.\n", name,
                      cm_amount_bytes(&a, cm_estimate_memlock()));
    if (!item->fits)
        (void) printf("\n  %s: %s has %s free, and %s are needed.\n", name, w->o->out,
                      cm_amount_bytes(&a, (uint64_t) w->room), cm_amount_bytes(&b, e->allocated));
    if (e->workers < w->workers)
        (void) printf("\n  %s: so few devices give only %u of %u workers something to do.\n", name,
                      e->workers, w->workers);
}

static void print_text(const struct work *w)
{
    struct cm_amount n;
    bool some = false;

    (void) printf(
        "%s device%s, %u worker%s, a %s CA, layout %s, measured here just now; nothing was written. The time "
        "is that of\nminting: a disk that can't keep up adds to it.\n\n",
        cm_amount_count(&n, w->o->count), w->o->count == 1 ? "" : "s", w->workers, w->workers == 1 ? "" : "s",
        w->ca_key->name, layouts[w->o->layout]);
    print_times(w);
    print_octets(w);
    for (size_t i = 0; i < w->items; i++) {
        print_notes(w, &w->item[i]);
        some |= registrable(w, w->item[i].key);
    }
    if (some)
        cm_reg_print(&w->rates, w->o->count);
    for (size_t i = 0; i < w->items; i++)
        if (!registrable(w, w->item[i].key))
            (void) printf("%s  AWS IoT Core does not register %s keys%s.\n", some ? "" : "\n",
                          w->item[i].key->name,
                          w->ca_key->family == CM_KEYFAM_ED25519 ? " under an Ed25519 CA" : "");
}

static json_t *as_json(const struct work *w)
{
    json_t *plans = json_array(), *all = NULL;

    for (size_t i = 0; i < w->items; i++) {
        const struct item *item = &w->item[i];
        json_t *plan = cm_estimate_json(&item->e);
        if (plan != NULL && json_object_set_new(plan, "key", json_string(item->key->name)) == 0 &&
            json_object_set_new(plan, "profile", json_string(item->profile)) == 0 &&
            json_object_set_new(plan, "fits", json_boolean(item->fits)) == 0 &&
            json_object_set_new(plan, "registrable", json_boolean(registrable(w, item->key))) == 0)
            (void) json_array_append(plans, plan);
        json_decref(plan);
    }
    if (json_array_size(plans) == w->items)
        all = json_pack("{s:I s:s s:s s:i s:o s:o s:o}", "devices", (json_int_t) w->o->count, "ca_key",
                        w->ca_key->name, "layout", layouts[w->o->layout], "workers", (int) w->workers,
                        "free_bytes", w->room < 0 ? json_null() : json_integer((json_int_t) w->room), "plans",
                        json_incref(plans), "registration", cm_reg_json(&w->rates, w->o->count));
    json_decref(plans);
    return all;
}

static cm_err plan_all(struct work *w, struct cm_error *err)
{
    CM_TRY(cm_cainit_standin(w->ca_key->name, NULL, cm_when_now(), &w->ca, err));
    for (size_t i = 0; i < w->items; i++)
        CM_TRY(estimate(w, &w->item[i], err));
    return CM_OK;
}

static void defaults(void *opts)
{
    struct opts *o = opts;

    o->ca_key_alg = "P-256";
}

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    struct work w = { .o = opts };

    (void) operands;
    if (w.o->count == 0)
        CM_FAIL(err, CM_E_USAGE, "plan needs --count N: for how many devices?");
    CM_TRY(cm_reg_rates_set(&w.o->rates, &w.rates, err));
    CM_TRY(choose_keys(&w, err));
    CM_TRY(look_room(&w, err));
    cm_err rc = plan_all(&w, err);
    cm_ca_close(w.ca);
    CM_TRY(rc);
    if (common->json)
        CM_TRY(cm_msg_json(as_json(&w), err));
    else
        print_text(&w);
    for (size_t i = 0; i < w.items; i++)
        if (!w.item[i].fits)
            CM_FAIL(err, CM_E_FOUND, "%s has no room for all of it", w.o->out);
    return CM_OK;
}

const struct cm_cmd cm_cmd_plan = {
    .name = "plan",
    .usage = "--count N [--key ALG]… [OPTIONS]",
    .summary = "what a run would take here: time, disk, memory, registration; compares key algorithms",
    .notes =
        "Mints into memory for a second or two under a CA that is thrown away, and writes nothing. `mint\n"
        "--explain` says the same of one run with your own CA, profile and names; `certmill bench` measures\n"
        "with the disk.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .defaults = defaults,
    .operands_max = 0,
    .run = run,
};
