#include "cli/cmd.h"
#include "cli/extraction.h"
#include "cli/msg.h"
#include "cli/term.h"
#include "io/fleet.h"
#include "io/journalread.h"

#include <jansson.h>
#include <limits.h>

struct opts {
    const char *out, *keys;
    bool certificates_only;
};

static const struct cm_arg args[] = {
    { "out", CM_ARG_STR, offsetof(struct opts, out), 0, 0, NULL, "DIR",
      "where the files go, made with mode 0700 if it isn't there; the current directory" },
    { "keys", CM_ARG_STR, offsetof(struct opts, keys), 0, 0, NULL, "DIR",
      "where the keys are; DIR/keys, or where the run wrote them" },
    { "certificates-only", CM_ARG_FLAG, offsetof(struct opts, certificates_only), 0, 0, NULL, NULL,
      "no keys: for what needs none, and after purge-keys" },
};

struct extraction {
    struct cm_extraction files;
    json_t *list; /* NULL: print */
    bool quiet;
};

static cm_err say(const struct extraction *x, const struct cm_row *row, const struct cm_extracted *done,
                  struct cm_error *err)
{
    if (x->list == NULL) {
        for (size_t i = 0; i < done->count; i++) {
            cm_term_put(stdout, done->path[i]);
            (void) putchar('\n');
        }
        return CM_OK;
    }
    json_t *one = json_pack("{s:s s:s s:s?}", "device_id", row->device_id, "certificate", done->path[0],
                            "key", done->count > 1 ? done->path[1] : NULL);
    if (json_array_append_new(x->list, one) != 0)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the result");
    return CM_OK;
}

static cm_err extract_row(const struct extraction *x, const struct cm_row *row, struct cm_error *err)
{
    struct cm_extracted done;

    CM_TRY(cm_extraction_row(&x->files, row, &done, err));
    return say(x, row, &done, err);
}

/* A key that is gone is no reason to give less than was asked for in silence. */
static cm_err check_row(const struct extraction *x, const struct cm_row *row, struct cm_error *err)
{
    const struct cm_journal_state *journal = cm_fleet_journal(x->files.fleet);

    if (!x->files.certificates_only && cm_fleet_key_purged(x->files.fleet, row))
        CM_FAIL(err, CM_E_INPUT,
                "the keys of %s were purged at %s, that of %.96s with them; nothing was written: "
                "--certificates-only gives its certificates",
                cm_fleet_path(x->files.fleet), journal->purged_at, row->device_id);
    if (!x->quiet && cm_journal_superseded(journal, (uint64_t) row->seq, row->at) != NULL)
        cm_msg_note(
            "the certificate %s of %.96s is no longer in force; its device id leads to the one that is",
            row->certificate_id, row->device_id);
    return CM_OK;
}

/* One pass over the ids: the first looks them up only, so that a mistyped one costs nothing. */
static cm_err each_id(const struct extraction *x, const struct cm_strs *ids, bool write, struct cm_error *err)
{
    struct cm_row row = { 0 };

    for (size_t i = 1; i < ids->count; i++) {
        cm_err rc = cm_fleet_row_find(x->files.fleet, ids->item[i], true, &row, NULL, err);
        if (rc == CM_E_END)
            CM_FAIL(err, CM_E_INPUT, "no device \"%.100s\" in %s; nothing was written", ids->item[i],
                    cm_fleet_path(x->files.fleet));
        if (rc == CM_OK)
            rc = write ? extract_row(x, &row, err) : check_row(x, &row, err);
        cm_rowread_done(&row);
        CM_TRY(rc);
    }
    return CM_OK;
}

static cm_err extract(struct extraction *x, const struct cm_strs *operands, bool json, struct cm_error *err)
{
    x->list = json ? json_array() : NULL;
    if (json && x->list == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the result");
    CM_TRY(cm_extraction_open(&x->files, err));
    CM_TRY(each_id(x, operands, false, err));
    CM_TRY(cm_extraction_begin(&x->files, err));
    CM_TRY(each_id(x, operands, true, err));
    CM_TRY(cm_extraction_end(&x->files, err));
    return json ? cm_msg_json(json_pack("{s:O}", "extracted", x->list), err) : CM_OK;
}

static cm_err run(const void *opts_void, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    const struct opts *opts = opts_void;
    struct extraction x = {
        .files = { .out = opts->out, .certificates_only = opts->certificates_only, .out_fd = -1 },
        .quiet = common->quiet
    };
    struct cm_fleet *fleet = NULL;

    CM_TRY(cm_fleet_open(operands->item[0], opts->keys, &fleet, err));
    x.files.fleet = fleet;
    const cm_err rc = extract(&x, operands, common->json, err);
    cm_extraction_close(&x.files);
    json_decref(x.list);
    cm_fleet_close(fleet);
    return rc;
}

const struct cm_cmd cm_cmd_extract = {
    .name = "extract",
    .usage = "DIR ID...",
    .summary = "write a device's bundle and key to files of their own",
    .notes =
        "Writes ID.crt (mode 0644) and ID.key (mode 0600), both or neither, and never over a file\n"
        "that is there. ID is a device id or a certificate id; file names are the device id,\n"
        "percent-encoded. What is read is checked against the manifest before it is written. Of a device\n"
        "that was reissued, the device id gives the certificate in force.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .operands_min = 2,
    .operands_max = UINT_MAX,
    .run = run,
};
