#include "cli/cmd.h"
#include "cli/msg.h"
#include "cli/term.h"
#include "engine/secret.h"
#include "io/file.h"
#include "io/fleet.h"
#include "io/journalread.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

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
    const struct cm_fleet *fleet;
    const char *out; /* path of the directory */
    int out_fd;
    uint8_t *bundle;      /* CM_ROW_CHAIN_MAX octets */
    struct cm_secret key; /* CM_ROW_KEY_MAX octets */
    json_t *list;         /* NULL: print */
    bool certificates_only, quiet;
};

/* The data and file name of one of a device's two files. */
struct item {
    enum cm_fleet_side side;
    const struct cm_place *place;
    uint8_t *data;
    mode_t mode;
    char name[CM_ROW_NAME_MAX + 8];
};

static cm_err load(const struct extraction *x, const struct cm_row *row, const struct item *item,
                   struct cm_error *err)
{
    bool part = false;

    CM_TRY(cm_fleet_read_place(x->fleet, item->side, item->place, row->tree, item->data, &part, err));
    if (!cm_fleet_place_holds(item->place, item->data))
        CM_FAIL(err, CM_E_INPUT,
                "%s of %.96s is damaged: it is not what the manifest lists; nothing was written for it",
                item->side == CM_FLEET_KEYS ? "the key" : "the bundle", row->device_id);
    return CM_OK;
}

static cm_err must_be_new(const struct extraction *x, const struct item *item, struct cm_error *err)
{
    struct stat st;

    if (fstatat(x->out_fd, item->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        CM_FAIL(err, CM_E_USAGE, "%s/%s exists already; remove it or choose another --out", x->out,
                item->name);
    return CM_OK;
}

/* A file that could not be written whole is removed again. */
static cm_err store(const struct extraction *x, const struct item *item, struct cm_error *err)
{
    char path[4096];
    int fd = -1;

    (void) snprintf(path, sizeof path, "%s/%s", x->out, item->name);
    CM_TRY(cm_file_create(x->out_fd, x->out, item->name, 0, item->mode, &fd, err));
    cm_err rc = cm_file_write(fd, path, item->data, (size_t) item->place->length, 0, err);
    if (rc == CM_OK)
        rc = cm_file_sync(fd, path, err);
    if (close(fd) != 0 && rc == CM_OK)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't write %s", path);
    if (rc != CM_OK)
        (void) unlinkat(x->out_fd, item->name, 0);
    return rc;
}

static cm_err say(const struct extraction *x, const struct cm_row *row, const struct item *item, size_t count,
                  struct cm_error *err)
{
    char path[2][4096] = { "", "" };

    for (size_t i = 0; i < count; i++)
        (void) snprintf(path[i], sizeof path[i], "%s/%s", x->out, item[i].name);
    if (x->list == NULL) {
        for (size_t i = 0; i < count; i++) {
            cm_term_put(stdout, path[i]);
            (void) putchar('\n');
        }
        return CM_OK;
    }
    json_t *one = json_pack("{s:s s:s s:s?}", "device_id", row->device_id, "certificate", path[0], "key",
                            count > 1 ? path[1] : NULL);
    if (json_array_append_new(x->list, one) != 0)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the result");
    return CM_OK;
}

/* Both files of a device, or neither. */
static cm_err extract_row(const struct extraction *x, const struct cm_row *row, struct cm_error *err)
{
    struct item item[2] = { { CM_FLEET_CHAINS, &row->chain, x->bundle, 0644, "" },
                            { CM_FLEET_KEYS, &row->key, x->key.base, 0600, "" } };
    const size_t count = row->has_key && !x->certificates_only ? 2 : 1;
    cm_err rc = CM_OK;
    size_t stored = 0;

    (void) snprintf(item[0].name, sizeof item[0].name, "%s.crt", row->name);
    (void) snprintf(item[1].name, sizeof item[1].name, "%s.key", row->name);
    for (size_t i = 0; rc == CM_OK && i < count; i++) {
        rc = must_be_new(x, &item[i], err);
        if (rc == CM_OK)
            rc = load(x, row, &item[i], err);
    }
    while (rc == CM_OK && stored < count) {
        rc = store(x, &item[stored], err);
        stored += rc == CM_OK;
    }
    cm_secret_wipe(x->key.base, x->key.cap);
    if (rc != CM_OK) {
        while (stored-- > 0)
            (void) unlinkat(x->out_fd, item[stored].name, 0);
        return rc;
    }
    return say(x, row, item, count, err);
}

/* A key that is gone is no reason to give less than was asked for in silence. */
static cm_err check_row(const struct extraction *x, const struct cm_row *row, struct cm_error *err)
{
    const struct cm_journal_state *journal = cm_fleet_journal(x->fleet);

    if (!x->certificates_only && cm_fleet_key_purged(x->fleet, row))
        CM_FAIL(err, CM_E_INPUT,
                "the keys of %s were purged at %s, that of %.96s with them; nothing was written: "
                "--certificates-only gives its certificates",
                cm_fleet_path(x->fleet), journal->purged_at, row->device_id);
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
        cm_err rc = cm_fleet_row_find(x->fleet, ids->item[i], true, &row, NULL, err);
        if (rc == CM_E_END)
            CM_FAIL(err, CM_E_INPUT, "no device \"%.100s\" in %s; nothing was written", ids->item[i],
                    cm_fleet_path(x->fleet));
        if (rc == CM_OK)
            rc = write ? extract_row(x, &row, err) : check_row(x, &row, err);
        cm_rowread_done(&row);
        CM_TRY(rc);
    }
    return CM_OK;
}

static cm_err open_out(struct extraction *x, const char *out, struct cm_error *err)
{
    x->out = out != NULL ? out : ".";
    if (mkdir(x->out, 0700) != 0 && errno != EEXIST)
        CM_FAIL(err, CM_E_IO, "can't make directory %s%s", x->out,
                errno == ENOENT ? " (its parent does not exist: make it first)" : "");
    return cm_dir_open(x->out, &x->out_fd, err);
}

static cm_err extract(struct extraction *x, const struct opts *opts, const struct cm_strs *operands,
                      bool json, struct cm_error *err)
{
    if (!x->certificates_only)
        CM_TRY(cm_fleet_need_keys(x->fleet, err));
    x->bundle = malloc(CM_ROW_CHAIN_MAX);
    x->list = json ? json_array() : NULL;
    if (x->bundle == NULL || (json && x->list == NULL))
        CM_FAIL(err, CM_E_NOMEM, "out of memory for a bundle");
    CM_TRY(cm_secret_init(&x->key, CM_ROW_KEY_MAX, err));
    CM_TRY(each_id(x, operands, false, err));
    CM_TRY(open_out(x, opts->out, err));
    CM_TRY(each_id(x, operands, true, err));
    CM_TRY(cm_dir_sync(x->out_fd, x->out, err));
    return json ? cm_msg_json(json_pack("{s:O}", "extracted", x->list), err) : CM_OK;
}

static cm_err run(const void *opts_void, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    const struct opts *opts = opts_void;
    struct extraction x = { .out_fd = -1,
                            .certificates_only = opts->certificates_only,
                            .quiet = common->quiet };
    struct cm_fleet *fleet = NULL;

    CM_TRY(cm_fleet_open(operands->item[0], opts->keys, &fleet, err));
    x.fleet = fleet;
    const cm_err rc = extract(&x, opts, operands, common->json, err);
    cm_fd_close(&x.out_fd);
    cm_secret_done(&x.key);
    json_decref(x.list);
    free(x.bundle);
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
