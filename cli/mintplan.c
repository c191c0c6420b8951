#include "cli/mintplan.h"

#include "cli/cafiles.h"
#include "cli/mintrules.h"
#include "cli/mintsource.h"
#include "engine/cainit.h"
#include "engine/fips.h"
#include "engine/ident.h"
#include "engine/random.h"
#include "io/sys.h"

#include <sys/statvfs.h>

enum {
    BACKDATE = 3600, /* seconds: for device clocks that run behind */
    COMMIT_BYTES = 24 << 20,
    COMMIT_MS = 1000,
    TREE_COMMIT_MS = 5000, /* a commit is a shard: few devices a second must not make many shards */
    COMMIT_DEVICES = 16384,
    COMMIT_ROWS = 64 << 20, /* octets of rows with columns that a commit may hold */
};

/* They go into run.json and every row, which are UTF-8. */
static cm_err check_texts(const struct cm_mint_opts *o, struct cm_error *err)
{
    const struct {
        const char *option, *text;
    } list[] = { { "lot", o->lot },          { "sku", o->sku },         { "order", o->order },
                 { "san", o->san },          { "subject", o->subject }, { "id-pattern", o->id_pattern },
                 { "keys-out", o->keys_out } };

    for (size_t i = 0; i < CM_COUNT(list); i++) {
        const char *text = list[i].text != NULL ? list[i].text : "";
        for (size_t at = 0, len = strlen(text), n = 0; at < len; at += n) {
            uint32_t code = 0;
            n = cm_utf8_next((const uint8_t *) text + at, len - at, &code);
            if (n == 0)
                CM_FAIL(err, CM_E_USAGE, "--%s is not UTF-8 (octet %zu)", list[i].option, at + 1);
        }
    }
    return CM_OK;
}

static cm_err check_opts(const struct cm_mint_opts *o, struct cm_error *err)
{
    if (o->standin == NULL && (o->ca == NULL || o->ca_key == NULL))
        CM_FAIL(err, CM_E_USAGE,
                "mint needs --ca FILE and --ca-key FILE; `certmill ca init --out DIR` makes a CA");
    if (o->out == NULL && o->layout != CM_LAYOUT_NONE)
        CM_FAIL(err, CM_E_USAGE, "mint needs --out DIR: where the fleet is to go");
    if (o->out != NULL && o->layout == CM_LAYOUT_NONE)
        CM_FAIL(err, CM_E_USAGE, "--layout none writes nothing, so --out makes no sense with it");
    if ((o->count == 0) == (o->devices == NULL))
        CM_FAIL(err, CM_E_USAGE, "say which devices: --count N, or --devices FILE%s",
                o->devices != NULL ? "; not both" : "");
    if (o->devices == NULL && (o->devices_format != 0 || o->id_column != NULL || o->skip_bad != NULL))
        CM_FAIL(err, CM_E_USAGE,
                "--devices-format, --id-column and --skip-bad are about a list: say --devices FILE");
    if (o->devices != NULL && o->id_pattern != NULL)
        CM_FAIL(err, CM_E_USAGE,
                "--id-pattern makes ids for --count; with --devices the ids come from the file");
    if (o->days != 0 && o->not_after != NULL)
        CM_FAIL(err, CM_E_USAGE, "--days and --not-after say the same thing; use one of them");
    if (!o->plaintext_keys && o->layout != CM_LAYOUT_NONE)
        CM_FAIL(err, CM_E_USAGE,
                "private keys would be written unencrypted: say --plaintext-keys to accept that");
    if (o->keys_out != NULL && o->layout == CM_LAYOUT_NONE)
        CM_FAIL(err, CM_E_USAGE, "--layout none writes no keys, so --keys-out makes no sense with it");
    if (o->ledger != NULL && o->layout == CM_LAYOUT_NONE)
        CM_FAIL(err, CM_E_USAGE,
                "--layout none mints nothing that lasts, so --ledger makes no sense with it");
    CM_TRY(cm_feeds_check(&o->feeds, o->layout != CM_LAYOUT_NONE, o->sync == 0, err));
    if (o->fips && o->ec == 1)
        CM_FAIL(err, CM_E_USAGE, "--fips takes nothing of our own making: leave --ec batch out, or --fips");
    if (o->fips && o->rsa_keygen == 1)
        CM_FAIL(err, CM_E_USAGE,
                "--fips takes nothing of our own making: leave --rsa-keygen own out, or --fips");
    return check_texts(o, err);
}

/* Before anything else uses libcrypto. */
static cm_err set_provider(struct cm_mint_plan *p, struct cm_error *err)
{
    char fips[80] = "";

    if (p->o->fips)
        CM_TRY(cm_fips_enable(fips, sizeof fips, err));
    (void) snprintf(p->libcrypto, sizeof p->libcrypto, "%s%s%s", cm_sigalg_libcrypto(),
                    fips[0] != '\0' ? "; " : "", fips);
    return CM_OK;
}

static cm_err open_ca(struct cm_mint_plan *p, struct cm_error *err)
{
    const struct cm_cafiles files = { .cert = p->o->ca,
                                      .key = p->o->ca_key,
                                      .passphrase_file = p->o->ca_passphrase_file,
                                      .passphrase_option = "--ca-passphrase-file",
                                      .what = "CA",
                                      .signature = p->o->signature,
                                      .allow_insecure = p->o->allow_insecure_ca_key };

    if (p->o->standin != NULL) {
        p->ca = p->standin = p->o->standin;
        return CM_OK;
    }
    CM_TRY(cm_cafiles_open(&files, p->clock, &p->ca, err));
    if (!p->o->explain)
        return CM_OK;
    return cm_cainit_standin(cm_ca_key_type(p->ca), cm_ca_sigalg(p->ca)->name, p->clock, &p->standin, err);
}

/* notBefore an hour back, but not before the chain's; notAfter the chain's unless
 * less was asked for. */
static cm_err set_validity(struct cm_mint_plan *p, struct cm_error *err)
{
    const cm_when ca_before = cm_ca_not_before(p->ca), ca_after = cm_ca_not_after(p->ca);
    const uint32_t days = p->o->days != 0 ? p->o->days : p->profile->days;
    char mine[24] = "", theirs[24] = "";
    struct cm_writer m = cm_writer(mine, sizeof mine - 1), t = cm_writer(theirs, sizeof theirs - 1);

    p->not_before = p->now - BACKDATE > ca_before ? p->now - BACKDATE : ca_before;
    p->not_after = ca_after;
    if (p->o->not_after != NULL)
        CM_TRY(cm_when_parse(p->o->not_after, &p->not_after, err));
    else if (days != 0)
        p->not_after = p->now + (cm_when) days * 86400;
    cm_put_rfc3339(&m, p->not_after < CM_WHEN_MAX ? p->not_after : CM_WHEN_MAX);
    cm_put_rfc3339(&t, ca_after);
    if (p->not_after > CM_WHEN_MAX)
        CM_FAIL(err, CM_E_USAGE, "--days %u passes the year 9999, where X.509 ends", days);
    if (p->not_after <= p->clock)
        CM_FAIL(err, CM_E_USAGE, "the certificates would have ended at %s already; say a later --not-after",
                mine);
    if (p->not_after > ca_after && !p->o->allow_outlive_ca)
        CM_FAIL(err, CM_E_USAGE,
                "the certificates would end at %s, after their CA (%s): validators refuse them then; "
                "say less, or --allow-outlive-ca",
                mine, theirs);
    return CM_OK;
}

static cm_err open_profile(struct cm_mint_plan *p, struct cm_error *err)
{
    const char *which = p->o->profile;

    CM_TRY(cm_profiles_load(which, &p->profile_text, err));
    CM_TRY(cm_profile_open(p->profile_text.name, cm_span(p->profile_text.text, p->profile_text.len),
                           p->columns, &p->profile, err));
    CM_TRY(cm_profile_pattern(p->profile, "subject", p->subject_buf, sizeof p->subject_buf, &p->subject_text,
                              err));
    CM_TRY(cm_profile_pattern(p->profile, "san", p->san_buf, sizeof p->san_buf, &p->san_text, err));
    if (p->o->subject != NULL)
        p->subject_text = p->o->subject;
    if (p->o->san != NULL)
        p->san_text = p->o->san;
    if (p->subject_text == NULL)
        p->subject_text = "/CN={id}";
    return cm_name_parse(p->subject_text, p->columns, &p->name, err);
}

struct cm_certspec cm_mint_plan_spec(const struct cm_mint_plan *p)
{
    return (struct cm_certspec) { .ca = p->ca,
                                  .key = p->pipeline.mint.key,
                                  .profile = p->profile,
                                  .subject = &p->name,
                                  .san = p->san_text,
                                  .not_before = p->not_before,
                                  .not_after = p->not_after };
}

static enum cm_keygen keygen_of(const struct cm_mint_opts *o, const struct cm_keyalg *key)
{
    const bool evp = o->fips || (key->family == CM_KEYFAM_RSA && o->rsa_keygen == 2) ||
                     (key->family == CM_KEYFAM_EC && o->ec == 2);

    return evp ? CM_KEYGEN_EVP : CM_KEYGEN_OWN;
}

static cm_err compile(struct cm_mint_plan *p, struct cm_error *err)
{
    const struct cm_keyalg *key = cm_keyalg_find(p->o->key);
    struct cm_mint_conf *m = &p->pipeline.mint;

    if (key == NULL)
        CM_FAIL(err, CM_E_USAGE, "unknown key algorithm \"%.40s\"; there are %s", p->o->key,
                cm_keyalg_names());
    if (p->o->key_format == CM_KEYS_TRADITIONAL && key->family == CM_KEYFAM_ED25519)
        CM_FAIL(err, CM_E_USAGE, "Ed25519 keys have no traditional form; use --key-format pkcs8");
    CM_TRY(cm_profile_check(p->profile, key, cm_ca_sigalg(p->ca), err));
    m->key = key;
    CM_TRY(cm_mint_rules_check(p, err));
    const struct cm_certspec spec = cm_mint_plan_spec(p);
    CM_TRY(cm_tmpl_compile(&spec, &p->tmpl, err));
    *m = (struct cm_mint_conf) { .ca = p->ca,
                                 .key = key,
                                 .keygen = keygen_of(p->o, key),
                                 .tmpl = p->tmpl,
                                 .subject = &p->name,
                                 .row = &p->row,
                                 .layout = (enum cm_layout) p->o->layout,
                                 .key_format = (enum cm_key_format) p->o->key_format,
                                 .encoding = (enum cm_encoding) p->o->encoding,
                                 .mtime = p->now,
                                 .run_id = p->run_id,
                                 .columns = p->columns,
                                 .bounds = p->columns != NULL ? &p->bounds : NULL };
    return CM_OK;
}

/* Begins the reservation of the run's ids; who makes the directory commits it. */
static cm_err open_ledger(struct cm_mint_plan *p, struct cm_error *err)
{
    const struct cm_ledger_claim claim = { .ca_certificate_id = cm_ca_certificate_id(p->ca),
                                           .run_id = p->run_id_text,
                                           .order = p->o->order };

    if (p->o->ledger == NULL)
        return CM_OK;
    CM_TRY(cm_ledger_public(p->o->ledger, p->ledger_public, sizeof p->ledger_public, err));
    if (p->o->explain)
        return CM_OK;
    CM_TRY(cm_ledger_open(p->o->ledger, CM_LEDGER_WAIT_MS, &p->ledger, err));
    return cm_ledger_begin(p->ledger, &claim, err);
}

void cm_mint_plan_parent(const char *out, char dir[PATH_MAX])
{
    const char *slash = out != NULL ? strrchr(out, '/') : NULL;

    (void) snprintf(dir, PATH_MAX, "%.*s", slash == NULL || slash == out ? 1 : (int) (slash - out),
                    slash == NULL ? "." : out);
}

static cm_err open_row(struct cm_mint_plan *p, struct cm_error *err)
{
    const struct cm_row_run run = { .run_id = p->run_id_text,
                                    .lot = p->o->lot,
                                    .sku = p->o->sku,
                                    .order = p->o->order,
                                    .profile = p->profile->name,
                                    .ca_certificate_id = cm_ca_certificate_id(p->ca),
                                    .key_alg = p->pipeline.mint.key->name,
                                    .sig_alg = cm_ca_sigalg(p->ca)->name,
                                    .not_before = p->not_before,
                                    .not_after = p->not_after,
                                    .layout = (enum cm_layout) p->o->layout,
                                    .columns = p->columns };

    return cm_row_texts_open(&run, &p->row, err);
}

uint32_t cm_mint_plan_batch(const struct cm_mint_plan *p)
{
    const uint32_t devices = p->o->batch != 0 ? p->o->batch : p->pipeline.mint.key->batch;

    return devices < p->source->devices ? devices : (uint32_t) p->source->devices;
}

/* What the calibration puts into a batch must fit, too. */
static cm_err make_room_for_standin(struct cm_mint_plan *p, struct cm_error *err)
{
    struct cm_mint_conf mint = p->pipeline.mint;
    struct cm_batch_plan other;

    mint.ca = p->standin;
    CM_TRY(cm_mint_plan(&mint, p->batch.devices, &other, err));
    if (other.chain > p->batch.chain)
        p->batch.chain = other.chain;
    return CM_OK;
}

static void close_minters(struct cm_minter **minter, uint32_t count)
{
    while (minter != NULL && count > 0)
        cm_minter_close(minter[--count]);
    free(minter);
}

/* What the workers open each for themselves, when they begin: their key memory, too, must be had. */
static cm_err open_minters(const struct cm_mint_plan *p, struct cm_minter ***out, struct cm_error *err)
{
    const uint32_t workers = p->pipeline.workers;
    struct cm_minter **const minter = calloc(workers, sizeof *minter);
    cm_err rc = CM_OK;

    if (minter == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for %u workers", workers);
    for (uint32_t i = 0; rc == CM_OK && i < workers; i++)
        rc = cm_minter_open(&p->pipeline.mint, &minter[i], err);
    if (rc == CM_OK)
        *out = minter;
    else
        close_minters(minter, workers);
    return rc;
}

/* The pool, with smaller batches while the key memory can't be locked. */
static cm_err open_pool(struct cm_mint_plan *p, struct cm_error *err)
{
    uint32_t devices = cm_mint_plan_batch(p);
    struct cm_minter **minter = NULL;
    cm_err rc = CM_E_LIMIT;

    p->batches = cm_pipeline_batches(p->pipeline.workers);
    CM_TRY(open_minters(p, &minter, err));
    for (; rc == CM_E_LIMIT && devices > 0; devices /= 2) {
        rc = cm_mint_plan(&p->pipeline.mint, devices, &p->batch, err);
        if (rc == CM_OK && p->standin != NULL)
            rc = make_room_for_standin(p, err);
        if (rc == CM_OK)
            rc = cm_pool_open(p->batches, &p->batch, &p->pool, err);
    }
    close_minters(minter, p->pipeline.workers);
    return rc;
}

/* The manifest's sink holds the rows of a commit in memory: with long rows, fewer of them. */
static uint32_t commit_devices(const struct cm_mint_plan *p)
{
    const uint64_t most = CM_TUNE("commit_devices", COMMIT_DEVICES);
    const uint64_t fit = COMMIT_ROWS / (p->batch.rows / p->batch.devices);

    return (uint32_t) (p->columns == NULL || most < fit ? most : fit);
}

static cm_err set_pipeline(struct cm_mint_plan *p, struct cm_error *err)
{
    cm_cores_look(&p->cores);
    p->pipeline.workers = p->o->workers != 0 ? p->o->workers : cm_cores_workers(&p->cores);
    CM_TRY(open_pool(p, err));
    p->pipeline.source = p->source;
    p->pipeline.pool = p->pool;
    p->pipeline.cpus = p->cores.cpu;
    p->pipeline.cpus_count = p->cores.count;
    p->pipeline.commit = (struct cm_commit_bounds) { .bytes = CM_TUNE("commit_bytes", COMMIT_BYTES),
                                                     .devices = commit_devices(p),
                                                     .ms = (uint32_t) CM_TUNE("commit_ms", COMMIT_MS) };
    if (p->o->layout == CM_LAYOUT_TREE) {
        /* A shard is a commit: it ends before a batch could take it past its bound. */
        const uint32_t shard = (uint32_t) CM_TUNE("shard_devices", CM_SHARD_DEVICES);
        const uint32_t room = p->batch.devices < shard ? shard - p->batch.devices + 1 : 1;
        p->pipeline.commit =
            (struct cm_commit_bounds) { .bytes = UINT64_MAX, .devices = room, .ms = TREE_COMMIT_MS };
    }
    return CM_OK;
}

static cm_err set_identity(struct cm_mint_plan *p, const struct cm_mint_identity *again, struct cm_error *err)
{
    CM_TRY(cm_hasher_open(&p->hasher, err));
    p->clock = cm_when_now();
    p->now = again != NULL ? again->created_at : p->clock;
    if (again != NULL)
        memcpy(p->run_id, again->run_id, sizeof p->run_id);
    else
        CM_TRY(cm_random_uuid(p->run_id, err));
    cm_uuid_text(p->run_id, p->run_id_text);
    return CM_OK;
}

static cm_err check_signatures(const struct cm_mint_plan *p, struct cm_error *err)
{
    if (p->o->max_signatures != 0 && p->source->devices > p->o->max_signatures)
        CM_FAIL(err, CM_E_USAGE, "%llu devices are more than --max-signatures %llu allows the CA to sign",
                (unsigned long long) p->source->devices, (unsigned long long) p->o->max_signatures);
    return CM_OK;
}

/* The source's ids are then asked for there, too. */
static cm_err connect_feeds(struct cm_mint_plan *p, bool again, struct cm_error *err)
{
    const char *const ca = cm_ca_certificate_id(p->ca);

    if (p->o->explain)
        return cm_feeds_look(p->feeds, p->run_id_text, ca, err);
    return cm_feeds_connect(p->feeds, p->run_id_text, ca, again, err);
}

cm_err cm_mint_plan_open(const struct cm_mint_opts *o, const struct cm_mint_identity *again,
                         struct cm_mint_plan *p, struct cm_error *err)
{
    *p = (struct cm_mint_plan) { .o = o };
    CM_TRY(check_opts(o, err));
    CM_TRY(set_provider(p, err));
    CM_TRY(set_identity(p, again, err));
    CM_TRY(open_ca(p, err));
    CM_TRY(cm_mint_source_list(p, err));
    CM_TRY(open_profile(p, err));
    CM_TRY(set_validity(p, err));
    CM_TRY(compile(p, err));
    CM_TRY(cm_feeds_open(&o->feeds, &p->feeds, err));
    CM_TRY(connect_feeds(p, again != NULL, err));
    CM_TRY(open_ledger(p, err));
    CM_TRY(cm_mint_source_open(p, again == NULL, err));
    CM_TRY(cm_feeds_checked(p->feeds, err));
    CM_TRY(check_signatures(p, err));
    p->source->done = again != NULL ? again->done : NULL;
    CM_TRY(open_row(p, err));
    return set_pipeline(p, err);
}

void cm_mint_plan_close(struct cm_mint_plan *p)
{
    cm_feeds_close(p->feeds);
    cm_ledger_close(p->ledger);
    cm_badrows_close(&p->bad);
    cm_pool_close(p->pool);
    cm_row_texts_close(&p->row);
    if (p->source != NULL)
        p->source->ops->close(p->source);
    cm_tmpl_free(p->tmpl);
    cm_profile_close(p->profile);
    cm_profiles_done(&p->profile_text);
    if (p->o == NULL || p->o->standin == NULL) {
        cm_ca_close(p->standin);
        cm_ca_close(p->ca);
    }
    cm_hasher_close(&p->hasher);
    *p = (struct cm_mint_plan) { 0 };
}

uint64_t cm_mint_plan_bytes(const struct cm_mint_plan *p)
{
    return (p->batch.chain + p->batch.keys + p->batch.rows) / p->batch.devices;
}

cm_err cm_mint_plan_check_room(const struct cm_mint_plan *p, struct cm_error *err)
{
    /* The bound on a device is for the longest id and more; half of it is surely needed.
     * Room may be made while the run goes on, and it ends cleanly when there is none:
     * only what is hopeless is refused. */
    enum { HOPELESS = 16 };
    const double need = (double) p->source->devices * (double) cm_mint_plan_bytes(p) / 2;
    const double files = p->o->layout == CM_LAYOUT_TREE ? 2.0 * (double) p->source->devices : 0;
    char dir[PATH_MAX];
    struct statvfs fs;

    cm_mint_plan_parent(p->o->out, dir);
    if (statvfs(dir, &fs) != 0)
        return CM_OK; /* making the directory will tell better */
    const double room = (double) fs.f_bavail * (double) fs.f_frsize;
    if (need > HOPELESS * room)
        CM_FAIL(err, CM_E_LIMIT,
                "No space for %s: %llu devices need more than %.0f MB, %s has room for %.0f MB; mint fewer, "
                "or elsewhere",
                p->o->out, (unsigned long long) p->source->devices, need / 1e6, dir, room / 1e6);
    if (files > 0 && fs.f_files > 0 && files > HOPELESS * (double) fs.f_favail)
        CM_FAIL(
            err, CM_E_LIMIT,
            "No space for %s: %llu devices are two files each, %s has room for %llu files; use --layout tar",
            p->o->out, (unsigned long long) p->source->devices, dir, (unsigned long long) fs.f_favail);
    return CM_OK;
}
