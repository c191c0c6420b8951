#include "cli/cmd.h"
#include "cli/dbwait.h"
#include "cli/extraction.h"
#include "cli/identity.h"
#include "cli/msg.h"
#include "cli/term.h"

#include <jansson.h>

struct opts {
    const char *from, *station, *sku, *lot, *order, *lease, *request_id, *fleet, *keys, *out;
    bool pem;
};

static const struct cm_arg args[] = {
    CM_ARG_TEXT(struct opts, "from", from, "URL", "the database: sqlite:FILE or postgresql://…"),
    CM_ARG_TEXT(struct opts, "station", station, "NAME", "who takes it"),
    CM_ARG_TEXT(struct opts, "sku", sku, "TEXT", "only of this SKU; any"),
    CM_ARG_TEXT(struct opts, "lot", lot, "TEXT", "only of this lot; any"),
    CM_ARG_TEXT(struct opts, "order", order, "TEXT", "only of this order; any"),
    CM_ARG_TEXT(struct opts, "lease", lease, "TIME",
                "30s, 15m, 1h, 7d: then others may have it, unless it was reported; none: never; 1h"),
    CM_ARG_TEXT(struct opts, "request-id", request_id, "ID",
                "the same again gives the same identity again, after a crash; each is another"),
    { "pem", CM_ARG_FLAG, offsetof(struct opts, pem), 0, 0, NULL, NULL,
      "print the certificate and the chain above it, nothing else" },
    CM_ARG_TEXT(struct opts, "fleet", fleet, "DIR",
                "write ID.crt and ID.key from this fleet; only print where they lie"),
    CM_ARG_TEXT(struct opts, "out", out, "DIR", "with --fleet: where to; the current directory"),
    CM_ARG_TEXT(struct opts, "keys", keys, "DIR",
                "with --fleet: where the keys are; DIR/keys, or where the run wrote them"),
};

static void defaults(void *opts)
{
    ((struct opts *) opts)->lease = "1h";
}

static cm_err parse_lease(const char *text, uint64_t *seconds, struct cm_error *err)
{
    static const struct {
        char unit;
        uint64_t seconds;
    } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
    enum { DIGITS = 6 };
    const size_t digits = strspn(text, "0123456789");

    *seconds = 0;
    if (strcmp(text, "none") == 0)
        return CM_OK;
    for (size_t i = 0; digits > 0 && digits <= DIGITS && i < CM_COUNT(units); i++)
        if (text[digits] == units[i].unit && text[digits + 1] == '\0')
            *seconds = strtoull(text, NULL, 10) * units[i].seconds;
    if (*seconds == 0)
        CM_FAIL(err, CM_E_USAGE, "--lease %.40s is no time: write 30s, 15m, 1h, 7d, or none", text);
    return CM_OK;
}

static cm_err check(const struct opts *o, const struct cm_common *common, struct cm_claim_request *r,
                    struct cm_error *err)
{
    if (o->from == NULL || o->station == NULL)
        CM_FAIL(err, CM_E_USAGE,
                "say with --from URL which database, and with --station NAME who takes the identity");
    if (o->fleet == NULL && (o->out != NULL || o->keys != NULL))
        CM_FAIL(err, CM_E_USAGE, "--out and --keys say where a fleet's files are and go: add --fleet DIR");
    if (o->pem && (common->json || o->fleet != NULL))
        CM_FAIL(err, CM_E_USAGE, "--pem prints the certificate alone: leave out %s",
                common->json ? "--json, which has it too" : "--fleet, which writes it");
    CM_TRY(cm_identity_check_name("station", o->station, err));
    CM_TRY(cm_identity_check_name("request-id", o->request_id, err));
    *r = (struct cm_claim_request) {
        .station = o->station, .sku = o->sku, .lot = o->lot, .order = o->order, .request_id = o->request_id
    };
    return parse_lease(o->lease, &r->lease_s, err);
}

/* Claimed it is by now, whatever happens to its files: the message says how to get at it again. */
static cm_err write_files(const struct cm_extraction *x, const struct cm_identity *id,
                          struct cm_extracted *done, struct cm_error *err)
{
    const char *const *const f = id->field;
    struct cm_row row = { 0 };
    struct cm_error why = { 0 };

    bool purged = false;

    cm_err rc = cm_fleet_row_find(x->fleet, f[CM_IDENTITY_CERTIFICATE_ID], true, &row, NULL, &why);
    if (rc == CM_E_END)
        rc = cm_fail(&why, CM_E_INPUT, CM_HERE, "%s does not have it, the fleet is in %s",
                     cm_fleet_path(x->fleet), f[CM_IDENTITY_DIRECTORY]);
    purged = rc == CM_OK && !x->certificates_only && cm_fleet_key_purged(x->fleet, &row);
    if (purged)
        rc = cm_fail(&why, CM_E_INPUT, CM_HERE, "its key was purged");
    if (rc == CM_OK)
        rc = cm_extraction_row(x, &row, done, &why);
    if (rc == CM_OK)
        rc = cm_extraction_end(x, &why);
    cm_rowread_done(&row);
    if (rc != CM_OK)
        CM_FAIL(err, rc, "%.96s is claimed, but not written: %.250s; %s", f[CM_IDENTITY_DEVICE_ID], why.what,
                purged                              ? "report it scrapped, then claim another"
                : f[CM_IDENTITY_REQUEST_ID] != NULL ? "the same --request-id gives it again"
                                                    : "report it returned, or let its lease end");
    return CM_OK;
}

static cm_err say(const struct opts *o, const struct cm_identity *id, const struct cm_extracted *done,
                  const struct cm_common *common, struct cm_error *err)
{
    if (o->pem)
        return cm_identity_print_pem(id, err);
    if (common->json)
        return cm_identity_json(id,
                                json_pack("{s:s? s:s?}", "certificate_path",
                                          done->count > 0 ? done->path[0] : NULL, "key_path",
                                          done->count > 1 ? done->path[1] : NULL),
                                err);
    if (done->count == 0)
        cm_identity_print(id);
    for (size_t i = 0; i < done->count; i++) {
        cm_term_put(stdout, done->path[i]);
        (void) putchar('\n');
    }
    return CM_OK;
}

static cm_err nothing_left(const struct cm_claim_request *r, struct cm_error *err)
{
    const bool any = r->sku == NULL && r->lot == NULL && r->order == NULL;

    CM_FAIL(err, CM_E_FOUND, "no unused identity is left%s; mint or load more%s",
            any ? "" : " of that SKU, lot and order", any ? "" : ", or ask for another");
}

static cm_err claim(const struct opts *o, const struct cm_claim_request *r, const struct cm_extraction *x,
                    const struct cm_common *common, struct cm_error *err)
{
    struct cm_extracted done = { 0 };
    struct cm_identity id = { 0 };
    struct cm_dbwait waiting = { .quiet = common->quiet };
    const struct cm_db_wait wait = cm_dbwait(&waiting, CM_DB_WAIT_MS);
    struct cm_db *db = NULL;

    CM_TRY(cm_db_open_used(o->from, "--from", &wait, &db, err));
    cm_err rc = cm_claim(db, r, &id, err);
    cm_db_close(db);
    if (rc == CM_E_END)
        return nothing_left(r, err);
    if (rc == CM_OK && x->fleet != NULL)
        rc = write_files(x, &id, &done, err);
    if (rc == CM_OK)
        rc = say(o, &id, &done, common, err);
    cm_identity_done(&id);
    return rc;
}

/* What can fail of the fleet does so before an identity is taken. */
static cm_err run(const void *opts_void, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    const struct opts *o = opts_void;
    struct cm_extraction x = { .out = o->out, .same_ok = true, .out_fd = -1 };
    struct cm_claim_request r;
    struct cm_fleet *fleet = NULL;
    cm_err rc = CM_OK;

    (void) operands;
    CM_TRY(check(o, common, &r, err));
    if (o->fleet != NULL)
        rc = cm_fleet_open(o->fleet, o->keys, &fleet, err);
    x.fleet = fleet;
    if (rc == CM_OK && fleet != NULL)
        rc = cm_extraction_open(&x, err);
    if (rc == CM_OK && fleet != NULL)
        rc = cm_extraction_begin(&x, err);
    if (rc == CM_OK)
        rc = claim(o, &r, &x, common, err);
    cm_extraction_close(&x);
    cm_fleet_close(fleet);
    return rc;
}

const struct cm_cmd cm_cmd_claim = {
    .name = "claim",
    .usage = "--from URL --station NAME [OPTIONS]",
    .summary = "give a station the next unused identity of a database",
    .notes =
        "One identity, and no station gets one that another has. It is on record before it is printed: a\n"
        "station that may crash in between gives --request-id, and after the crash the same again: it then\n"
        "gets the same identity. Without one, an identity that nobody saw comes back when its lease ends.\n"
        "\n"
        "Whoever uses it says so with certmill report. What was never claimed goes first, then what came\n"
        "back by its lease. Exit code 1: no unused identity is left.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .defaults = defaults,
    .operands_max = 0,
    .run = run,
};
