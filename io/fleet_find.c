#include "io/fleet_impl.h"

#include "engine/xxh.h"
#include "io/file.h"
#include "io/index.h"
#include "io/readat.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

enum { SCAN_LEN = 1 << 20 }; /* of the manifest at a time; many rows of the largest size */

cm_err cm_fleet_read_place(const struct cm_fleet *f, enum cm_fleet_side side, const struct cm_place *place,
                           bool tree, uint8_t *buf, bool *part, struct cm_error *err)
{
    struct cm_fleet_file file;
    size_t got = 0;

    /* Rows say chains/… and keys/…, wherever the keys really are. */
    const char *name = strchr(place->file, '/') + 1;
    cm_err rc = cm_fleet_file_open(f, side, name, !tree, &file, err);
    if (rc == CM_E_END)
        CM_FAIL(err, CM_E_INPUT, "%s is missing in %s", place->file, f->path);
    CM_TRY(rc);
    rc = cm_read_at(file.fd, place->file, buf, (size_t) place->length, place->offset, &got, err);
    cm_fd_close(&file.fd);
    CM_TRY(rc);
    if (got < place->length || (tree && file.size != place->length))
        CM_FAIL(err, CM_E_INPUT, "%s has not the length that the manifest says; run certmill verify %s",
                place->file, f->path);
    *part = file.part;
    return CM_OK;
}

bool cm_fleet_place_holds(const struct cm_place *place, const uint8_t *data)
{
    uint8_t digest[16];
    char hex[33] = "";
    struct cm_writer w = cm_writer(hex, 32);

    cm_xxh128(data, (size_t) place->length, digest);
    cm_put_hex(&w, digest, sizeof digest);
    return strcmp(hex, place->xxh3) == 0;
}

cm_err cm_fleet_row_at(const struct cm_fleet *f, uint64_t offset, struct cm_row *out, char **line,
                       struct cm_error *err)
{
    struct cm_row row = { 0 };
    size_t got = 0;
    char *text = malloc(CM_ROW_MAX + 1);
    cm_err rc = CM_OK;

    if (text == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for a row");
    rc = cm_fleet_manifest_read(f, text, CM_ROW_MAX, offset, &got, err);
    const char *lf = rc == CM_OK ? memchr(text, '\n', got) : NULL;
    if (rc == CM_OK && lf == NULL)
        rc = cm_fail(err, CM_E_INPUT, CM_HERE, "manifest.ndjson at offset %llu: no whole row",
                     (unsigned long long) offset);
    if (rc == CM_OK) {
        const struct cm_span line_text = cm_span(text, cm_rowread_len(cm_span(text, (size_t) (lf - text))));
        text[line_text.len] = '\0';
        rc = cm_rowread_parse(line_text, &row, err);
    }
    if (rc == CM_OK) {
        row.at = offset;
        *out = row;
        if (line != NULL) {
            *line = text;
            return CM_OK;
        }
    }
    free(text);
    return rc;
}

static bool is_certificate_id(const char *id)
{
    return strlen(id) == 64 && strspn(id, "0123456789abcdef") == 64;
}

/* The last of the candidates that really is the row sought: the newest is in force. */
static cm_err pick(const struct cm_fleet *f, const char *id, bool certificate, const uint64_t *offset,
                   size_t count, struct cm_row *out, char **line, struct cm_error *err)
{
    struct cm_row row = { 0 };

    for (size_t i = count; i-- > 0;) {
        CM_TRY(cm_fleet_row_at(f, offset[i], &row, line, err));
        if (strcmp(certificate ? row.certificate_id : row.device_id, id) == 0) {
            *out = row;
            return CM_OK;
        }
        cm_rowread_done(&row);
        if (line != NULL)
            free(*line);
    }
    return CM_E_END;
}

static cm_err find_by_index(const struct cm_fleet *f, const struct cm_index *x, const char *id,
                            struct cm_row *out, char **line, struct cm_error *err)
{
    const struct cm_span text = cm_span_str(id);
    uint64_t offset[CM_INDEX_FOUND_MAX];
    size_t count = 0;
    cm_err rc = CM_E_END;

    CM_TRY(cm_index_find(x, CM_INDEX_DEVICE, text, offset, &count, err));
    rc = pick(f, id, false, offset, count, out, line, err);
    if (rc == CM_E_END && is_certificate_id(id)) {
        CM_TRY(cm_index_find(x, CM_INDEX_CERTIFICATE, text, offset, &count, err));
        rc = pick(f, id, true, offset, count, out, line, err);
    }
    return rc;
}

/* Is this the row? The cheap look first: most rows are not. */
static bool matches(struct cm_span text, const char *id, bool certificate)
{
    struct cm_span device_id, certificate_id;
    struct cm_row row = { 0 };
    bool found = false;

    if (cm_rowread_peek(text, &device_id, &certificate_id))
        return cm_span_eq(certificate ? certificate_id : device_id, cm_span_str(id));
    if (cm_rowread_parse(text, &row, NULL) != CM_OK)
        return false;
    found = strcmp(certificate ? row.certificate_id : row.device_id, id) == 0;
    cm_rowread_done(&row);
    return found;
}

/* The last one, which is in force. A device id wins over a certificate id of the same
 * text, as in the index. */
static cm_err scan(const struct cm_fleet *f, const char *id, uint8_t *window, uint64_t *offset,
                   struct cm_error *err)
{
    const bool certificate = is_certificate_id(id);
    uint64_t at = 0, first = UINT64_MAX, second = UINT64_MAX;

    while (at < f->manifest_bytes) {
        size_t from = 0, got = 0;
        CM_TRY(cm_fleet_manifest_read(f, window, SCAN_LEN, at, &got, err));
        if (got == 0)
            break;
        for (const uint8_t *lf; (lf = memchr(window + from, '\n', got - from)) != NULL;) {
            const struct cm_span text = cm_span(window + from, (size_t) (lf - window) - from);
            if (matches(text, id, false))
                first = at + from;
            else if (certificate && matches(text, id, true))
                second = at + from;
            from += text.len + 1;
        }
        at += from > 0 ? from : got;
    }
    *offset = first != UINT64_MAX ? first : second;
    return *offset != UINT64_MAX ? CM_OK : CM_E_END;
}

static cm_err find_by_scan(const struct cm_fleet *f, const char *id, struct cm_row *out, char **line,
                           struct cm_error *err)
{
    uint8_t *window = malloc(SCAN_LEN);
    uint64_t offset = 0;

    if (window == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for reading the manifest");
    const cm_err rc = scan(f, id, window, &offset, err);
    free(window);
    return rc == CM_OK ? cm_fleet_row_at(f, offset, out, line, err) : rc;
}

/* A run in the making holds a lock on its directory; its index would be stale at once. */
static bool is_at_rest(const struct cm_fleet *f)
{
    const bool rest = flock(f->fd, LOCK_SH | LOCK_NB) == 0;

    if (rest)
        (void) flock(f->fd, LOCK_UN);
    return rest;
}

/* The index; `make`: a new one, where that can be done. *out NULL: do without. An
 * index is never worth a failure. */
static void open_index(const struct cm_fleet *f, bool make, struct cm_index **out)
{
    *out = NULL;
    if (make && (faccessat(f->fd, ".", W_OK, AT_EACCESS) != 0 || !is_at_rest(f) ||
                 cm_index_rebuild(f->path, NULL) != CM_OK))
        return;
    if (cm_index_open(f->path, f->manifest_bytes, out, NULL) != CM_OK)
        *out = NULL;
}

cm_err cm_fleet_row_find(const struct cm_fleet *f, const char *id, bool build, struct cm_row *out,
                         char **line, struct cm_error *err)
{
    /* First by the index that is there, then by a new one, then without. */
    for (int make = 0; make <= (build ? 1 : 0); make++) {
        struct cm_index *x = NULL;
        cm_err rc = CM_E_INPUT;
        open_index(f, make, &x);
        if (x != NULL)
            rc = find_by_index(f, x, id, out, line, err);
        cm_index_close(x);
        if (rc == CM_OK || rc == CM_E_END)
            return rc;
    }
    return find_by_scan(f, id, out, line, err);
}
