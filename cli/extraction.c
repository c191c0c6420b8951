#include "cli/extraction.h"

#include "io/file.h"
#include "io/readat.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

/* The data and file name of one of a device's two files. */
struct item {
    enum cm_fleet_side side;
    const struct cm_place *place;
    uint8_t *data;
    mode_t mode;
    bool there; /* and just this */
    char name[CM_ROW_NAME_MAX + 8];
};

static cm_err load(const struct cm_extraction *x, const struct cm_row *row, const struct item *item,
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

/* Does the file hold item's data and nothing else? What it held is wiped: it may be a key. */
static bool holds(const struct cm_extraction *x, const struct item *item, const struct stat *st)
{
    struct cm_secret held = { 0 };
    size_t got = 0;
    int fd = -1;

    if (!S_ISREG(st->st_mode) || (uint64_t) st->st_size != item->place->length ||
        (st->st_mode & 0777) != item->mode ||
        cm_secret_init(&held, (size_t) item->place->length, NULL) != CM_OK)
        return false;
    fd = openat(x->out_fd, item->name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    const bool same =
        fd >= 0 &&
        cm_read_at(fd, item->name, held.base, (size_t) item->place->length, 0, &got, NULL) == CM_OK &&
        got == item->place->length && memcmp(held.base, item->data, got) == 0;
    cm_fd_close(&fd);
    cm_secret_done(&held);
    return same;
}

/* item->data is loaded. */
static cm_err must_be_new(const struct cm_extraction *x, struct item *item, struct cm_error *err)
{
    struct stat st;

    if (fstatat(x->out_fd, item->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return CM_OK;
    item->there = x->same_ok && holds(x, item, &st);
    if (!item->there)
        CM_FAIL(err, CM_E_USAGE, "%s/%s exists already; remove it or choose another --out", x->out,
                item->name);
    return CM_OK;
}

/* A file that could not be written whole is removed again. */
static cm_err store(const struct cm_extraction *x, const struct item *item, struct cm_error *err)
{
    char path[4096];
    int fd = -1;

    if (item->there)
        return CM_OK;
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

cm_err cm_extraction_row(const struct cm_extraction *x, const struct cm_row *row, struct cm_extracted *out,
                         struct cm_error *err)
{
    struct item item[2] = { { CM_FLEET_CHAINS, &row->chain, x->bundle, 0644, false, "" },
                            { CM_FLEET_KEYS, &row->key, x->key.base, 0600, false, "" } };
    const size_t count = row->has_key && !x->certificates_only ? 2 : 1;
    cm_err rc = CM_OK;
    size_t stored = 0;

    (void) snprintf(item[0].name, sizeof item[0].name, "%s.crt", row->name);
    (void) snprintf(item[1].name, sizeof item[1].name, "%s.key", row->name);
    for (size_t i = 0; rc == CM_OK && i < count; i++) {
        rc = load(x, row, &item[i], err);
        if (rc == CM_OK)
            rc = must_be_new(x, &item[i], err);
    }
    while (rc == CM_OK && stored < count) {
        rc = store(x, &item[stored], err);
        stored += rc == CM_OK;
    }
    cm_secret_wipe(x->key.base, x->key.cap);
    if (rc != CM_OK) {
        while (stored-- > 0)
            if (!item[stored].there)
                (void) unlinkat(x->out_fd, item[stored].name, 0);
        return rc;
    }
    out->count = count;
    for (size_t i = 0; i < count; i++)
        (void) snprintf(out->path[i], sizeof out->path[i], "%s/%s", x->out, item[i].name);
    return CM_OK;
}

cm_err cm_extraction_open(struct cm_extraction *x, struct cm_error *err)
{
    x->out_fd = -1;
    x->out = x->out != NULL ? x->out : ".";
    x->bundle = malloc(CM_ROW_CHAIN_MAX);
    if (x->bundle == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for a bundle");
    CM_TRY(cm_secret_init(&x->key, CM_ROW_KEY_MAX, err));
    return x->certificates_only ? CM_OK : cm_fleet_need_keys(x->fleet, err);
}

cm_err cm_extraction_begin(struct cm_extraction *x, struct cm_error *err)
{
    if (mkdir(x->out, 0700) != 0 && errno != EEXIST)
        CM_FAIL(err, CM_E_IO, "can't make directory %s%s", x->out,
                errno == ENOENT ? " (its parent does not exist: make it first)" : "");
    return cm_dir_open(x->out, &x->out_fd, err);
}

cm_err cm_extraction_end(const struct cm_extraction *x, struct cm_error *err)
{
    return cm_dir_sync(x->out_fd, x->out, err);
}

void cm_extraction_close(struct cm_extraction *x)
{
    cm_fd_close(&x->out_fd);
    cm_secret_done(&x->key);
    free(x->bundle);
    x->bundle = NULL;
}
