#include "io/leafread.h"

#include "engine/hash.h"
#include "engine/pemread.h"
#include "engine/xxh.h"
#include "io/file.h"
#include "io/readat.h"

#include <limits.h>

enum {
    WINDOW = CM_ROW_CHAIN_MAX,
    STRIDE = 128 << 10,        /* octets of a segment at a time: they stay in a processor's cache */
    CERTIFICATE_MAX = 64 << 10 /* octets of DER */
};

struct cm_leafread {
    const struct cm_fleet *fleet;
    struct cm_hasher hasher;
    struct cm_fleet_file file; /* the segment or bundle that was read last */
    char file_name[PATH_MAX];  /* "": none */
    uint8_t *data;             /* a stretch of it */
    uint64_t from;
    size_t len;
    uint8_t certificate[CERTIFICATE_MAX];
};

static cm_err bad_bundle(const struct cm_leafread *l, const struct cm_rowview *row, const char *what,
                         struct cm_error *err)
{
    CM_FAIL(err, CM_E_INPUT, "device %.*s: %.*s in %s: %s; run certmill verify and certmill repair",
            (int) row->device_id.len, (const char *) row->device_id.data, (int) row->chain_file.len,
            (const char *) row->chain_file.data, cm_fleet_path(l->fleet), what);
}

static cm_err open_file(struct cm_leafread *l, const struct cm_rowview *row, struct cm_error *err)
{
    const struct cm_span name = row->chain_file;

    if (strlen(l->file_name) == name.len && memcmp(l->file_name, name.data, name.len) == 0)
        return CM_OK;
    cm_fd_close(&l->file.fd);
    l->len = 0;
    l->file_name[0] = '\0';
    CM_ASSERT(name.len < sizeof l->file_name);
    char wanted[PATH_MAX];
    (void) snprintf(wanted, sizeof wanted, "%.*s", (int) name.len, (const char *) name.data);
    /* Rows say chains/…: the reader has made sure of it. */
    const cm_err rc = cm_fleet_file_open(l->fleet, CM_FLEET_CHAINS, strchr(wanted, '/') + 1,
                                         row->chain_offset >= 0, &l->file, err);
    if (rc == CM_E_END)
        return bad_bundle(l, row, "missing", err);
    CM_TRY(rc);
    (void) snprintf(l->file_name, sizeof l->file_name, "%s", wanted);
    return CM_OK;
}

/* The bundle, a view that lives until the next one. Segments are read in long strides: rows follow them. */
static cm_err read_bundle(struct cm_leafread *l, const struct cm_rowview *row, struct cm_span *out,
                          struct cm_error *err)
{
    const uint64_t from = row->chain_offset >= 0 ? (uint64_t) row->chain_offset : 0;
    const size_t len = (size_t) row->chain_length;
    uint8_t xxh3[16], hex[32];
    struct cm_writer h = cm_writer(hex, sizeof hex);

    CM_TRY(open_file(l, row, err));
    if (from < l->from || from + len > l->from + l->len) {
        l->from = from;
        l->len = 0;
        const size_t most = row->chain_offset >= 0 && len < STRIDE ? STRIDE : len;
        CM_TRY(cm_read_at(l->file.fd, l->file_name, l->data, most, from, &l->len, err));
    }
    if (from + len > l->from + l->len || (row->chain_offset < 0 && l->file.size != len))
        return bad_bundle(l, row, "not of the length that the row says", err);
    *out = cm_span(l->data + (from - l->from), len);
    cm_xxh128(out->data, len, xxh3);
    cm_put_hex(&h, xxh3, sizeof xxh3);
    if (!cm_span_eq(cm_span(hex, sizeof hex), row->chain_xxh3))
        return bad_bundle(l, row, "damaged: not what was written", err);
    return CM_OK;
}

/* The first DER element of data; empty: there is none. */
static struct cm_span first_element(struct cm_span data)
{
    size_t len = 0, head = 2;

    if (data.len < 2 || data.data[0] != 0x30)
        return cm_span(data.data, 0);
    len = data.data[1];
    if (len > 0x80 && len <= 0x83 && data.len >= 2 + (len & 3)) {
        head += len & 3;
        len = 0;
        for (size_t i = 2; i < head; i++)
            len = len << 8 | data.data[i];
    } else if (len >= 0x80) {
        return cm_span(data.data, 0);
    }
    return cm_span(data.data, len <= data.len - head ? head + len : 0);
}

cm_err cm_leafread(struct cm_leafread *l, const struct cm_rowview *row, struct cm_span *out,
                   struct cm_error *err)
{
    struct cm_span bundle;
    uint8_t digest[32], hex[64];
    struct cm_writer h = cm_writer(hex, sizeof hex);
    size_t len = 0;

    CM_TRY(read_bundle(l, row, &bundle, err));
    if (cm_fleet_run(l->fleet)->der) {
        *out = first_element(bundle);
    } else {
        if (cm_pemread_next(&bundle, "CERTIFICATE", l->certificate, sizeof l->certificate, &len, NULL) !=
            CM_OK)
            return bad_bundle(l, row, "no certificate in PEM", err);
        *out = cm_span(l->certificate, len);
    }
    CM_TRY(cm_sha256(&l->hasher, out->data, out->len, digest, err));
    cm_put_hex(&h, digest, sizeof digest);
    if (!cm_span_eq(cm_span(hex, sizeof hex), row->certificate_id))
        return bad_bundle(l, row, "its certificate is not the row's", err);
    return CM_OK;
}

void cm_leafread_forget(struct cm_leafread *l)
{
    l->len = 0;
}

cm_err cm_leafread_open(const struct cm_fleet *fleet, struct cm_leafread **out, struct cm_error *err)
{
    struct cm_leafread *l = calloc(1, sizeof *l);

    if (l == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for reading bundles");
    l->fleet = fleet;
    l->file.fd = -1;
    l->data = malloc(WINDOW);
    cm_err rc =
        l->data != NULL ? CM_OK : cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for reading bundles");
    if (rc == CM_OK)
        rc = cm_hasher_open(&l->hasher, err);
    if (rc != CM_OK)
        cm_leafread_close(l);
    else
        *out = l;
    return rc;
}

void cm_leafread_close(struct cm_leafread *l)
{
    if (l == NULL)
        return;
    cm_fd_close(&l->file.fd);
    cm_hasher_close(&l->hasher);
    free(l->data);
    free(l);
}
