#include "cli/cmd.h"
#include "cli/msg.h"
#include "cli/term.h"
#include "io/bundle.h"
#include "io/fleet.h"
#include "io/journalread.h"
#include "io/jsontext.h"

#include <jansson.h>

struct opts {
    const char *keys;
};

static const struct cm_arg args[] = {
    { "keys", CM_ARG_STR, offsetof(struct opts, keys), 0, 0, NULL, "DIR",
      "where the keys are; DIR/keys, or where the run wrote them" },
};

static void put(const char *key, const char *value)
{
    if (value == NULL)
        return;
    (void) printf("%-20s ", key);
    cm_term_put(stdout, value);
    (void) putchar('\n');
}

/* "chains/000000.tar, 1500 octets at offset 512". */
static void put_place(const char *key, const struct cm_row *row, const struct cm_place *p, bool part)
{
    char text[300];
    const char *const unfinished = part ? ".part (the run did not end)" : "";

    if (row->tree)
        (void) snprintf(text, sizeof text, "%s%s, %llu octets", p->file, unfinished,
                        (unsigned long long) p->length);
    else
        (void) snprintf(text, sizeof text, "%s%s, %llu octets at offset %llu", p->file, unfinished,
                        (unsigned long long) p->length, (unsigned long long) p->offset);
    put(key, text);
}

static void put_attributes(const struct json_t *attributes)
{
    const char *key = NULL;
    json_t *value = NULL;
    char text[300];

    json_object_foreach(cm_json_each(attributes), key, value)
    {
        (void) snprintf(text, sizeof text, "%.120s = %.160s", key, json_string_value(value));
        put("attribute", text);
    }
}

/* What came of a row after it was written. */
struct later {
    const struct cm_journal_supersede *why; /* NULL: it is in force */
    char by[65];                            /* certificate id of the device that is in force now */
    bool waiting;                           /* asked for again, not minted yet */
    const char *purged_at;                  /* NULL: its key is there, or was never written */
};

static cm_err find_later(const struct cm_fleet *fleet, const struct cm_row *row, struct later *out,
                         struct cm_error *err)
{
    const struct cm_journal_state *journal = cm_fleet_journal(fleet);
    const uint64_t seq = (uint64_t) row->seq;
    struct cm_row now = { 0 };

    *out = (struct later) { .why = cm_journal_superseded(journal, seq, row->at),
                            .waiting = cm_ranges_meets(&journal->again, seq, seq),
                            .purged_at = cm_fleet_key_purged(fleet, row) ? journal->purged_at : NULL };
    if (out->why == NULL)
        return CM_OK;
    CM_TRY(cm_fleet_row_find(fleet, row->device_id, true, &now, NULL, err));
    (void) snprintf(out->by, sizeof out->by, "%s", now.certificate_id);
    cm_rowread_done(&now);
    return CM_OK;
}

static void print_later(const struct later *later)
{
    char text[400];

    if (later->why != NULL) {
        (void) snprintf(text, sizeof text, "%s (%.256s)", later->by, later->why->reason);
        put("superseded_by", text);
    } else if (later->waiting) {
        put("superseded_by", "nothing yet: in force until certmill resume has minted it again");
    }
}

static void print_row(const struct cm_row *row, const struct later *later, bool part)
{
    char text[96];

    put("device_id", row->device_id);
    put("subject", row->subject);
    (void) snprintf(text, sizeof text, "%s to %s", row->not_before, row->not_after);
    put("valid", text);
    put("certificate_id", row->certificate_id);
    put("serial", row->serial);
    put("serial_dec", row->serial_dec);
    put("key_alg", row->key_alg);
    put("sig_alg", row->sig_alg);
    put("spki_sha256", row->spki_sha256);
    put("ski", row->ski);
    put("thumbprint_sha1", row->thumbprint_sha1);
    put("ca_certificate_id", row->ca_certificate_id);
    put("profile", row->profile);
    put("lot", row->lot);
    put("sku", row->sku);
    put("order", row->order);
    put_attributes(row->attributes);
    (void) snprintf(text, sizeof text, "%lld", (long long) row->seq);
    put("seq", text);
    put("minted_at", row->minted_at);
    put("run_id", row->run_id);
    print_later(later);
    put_place("chain", row, &row->chain, part);
    if (later->purged_at != NULL) {
        (void) snprintf(text, sizeof text, "purged at %s", later->purged_at);
        put("key", text);
    } else if (row->has_key)
        put_place("key", row, &row->key, part);
    else
        put("key", "none was written");
}

/* The first certificate of the bundle, as PEM, onto stdout. */
static cm_err print_leaf(const struct cm_row *row, struct cm_span bundle, bool der, struct cm_error *err)
{
    const size_t cap = cm_bundle_leaf_max(bundle.len);
    char *text = malloc(cap);
    struct cm_writer w = cm_writer(text, cap);

    if (text == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the certificate");
    const bool found = cm_bundle_leaf(bundle, der, &w);
    if (found)
        (void) fwrite(text, 1, w.len, stdout);
    free(text);
    if (!found)
        CM_FAIL(err, CM_E_FOUND, "the bundle of %.96s holds no certificate; run certmill verify",
                row->device_id);
    return CM_OK;
}

static cm_err show_bundle(const struct cm_fleet *fleet, const struct cm_row *row, const struct later *later,
                          struct cm_error *err)
{
    uint8_t *bundle = malloc((size_t) row->chain.length);
    bool part = false;

    if (bundle == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the bundle");
    cm_err rc = cm_fleet_read_place(fleet, CM_FLEET_CHAINS, &row->chain, row->tree, bundle, &part, err);
    print_row(row, later, part);
    if (rc == CM_OK && !cm_fleet_place_holds(&row->chain, bundle))
        rc = cm_fail(err, CM_E_FOUND, CM_HERE,
                     "the bundle of %.96s is damaged: it is not what the manifest lists; run certmill verify",
                     row->device_id);
    if (rc == CM_OK) {
        (void) putchar('\n');
        rc = print_leaf(row, cm_span(bundle, (size_t) row->chain.length), cm_fleet_run(fleet)->der, err);
    }
    free(bundle);
    return rc;
}

/* The row as it stands, but that superseded_by tells what the journal knows. */
static cm_err show_json(const struct cm_row *row, const char *line, const struct later *later,
                        struct cm_error *err)
{
    json_t *copy = NULL;

    if (later->why == NULL) {
        (void) puts(line);
        return CM_OK;
    }
    copy = json_copy(row->root);
    if (copy == NULL || json_object_set_new(copy, "superseded_by", json_string(later->by)) != 0) {
        json_decref(copy);
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the row");
    }
    return cm_msg_json(copy, err);
}

static cm_err show(const struct cm_fleet *fleet, const char *id, bool json, struct cm_error *err)
{
    struct later later = { 0 };
    struct cm_row row = { 0 };
    char *line = NULL;

    cm_err rc = cm_fleet_row_find(fleet, id, true, &row, &line, err);
    if (rc == CM_E_END)
        CM_FAIL(err, CM_E_INPUT,
                "no device \"%.100s\" in %s; give a device id or a certificate id (64 hex digits)", id,
                cm_fleet_path(fleet));
    CM_TRY(rc);
    rc = find_later(fleet, &row, &later, err);
    if (rc == CM_OK)
        rc = json ? show_json(&row, line, &later, err) : show_bundle(fleet, &row, &later, err);
    cm_rowread_done(&row);
    free(line);
    return rc;
}

static cm_err run(const void *opts_void, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    const struct opts *opts = opts_void;
    struct cm_fleet *fleet = NULL;

    CM_TRY(cm_fleet_open(operands->item[0], opts->keys, &fleet, err));
    const cm_err rc = show(fleet, operands->item[1], common->json, err);
    cm_fleet_close(fleet);
    return rc;
}

const struct cm_cmd cm_cmd_show = {
    .name = "show",
    .usage = "DIR ID",
    .summary = "one device: its row, its certificate, where its bundle lies",
    .notes = "ID is a device id or a certificate id (the SHA-256 of the certificate, 64 hex digits).\n"
             "Of a device that was reissued, the device id gives the row in force, the old certificate id "
             "the old\n"
             "one. --json prints the manifest row as it stands, superseded_by filled in. The index in DIR is "
             "made anew where it is\n"
             "missing or stale and DIR can be written; else the manifest is read through.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .operands_min = 2,
    .operands_max = 2,
    .run = run,
};
