#ifndef CM_ENGINE_ROW_H
#define CM_ENGINE_ROW_H

#include "engine/batch.h"
#include "engine/columns.h"
#include "engine/when.h"

/* row.h - renders manifest rows (docs/formats.md, "Manifest rows").
 *
 * The worker renders a row as soon as the certificate is signed; where its
 * bundle will lie is known only to the writer. So a row is stored without the
 * two places, and cm_row_place puts them in while it copies.
 */
enum { CM_ROW_FIXED = 1400, CM_ROW_PLACES = 2 * 48 };

/* What is the same for all rows of a run, rendered once. Strings borrowed. */
struct cm_row_run {
    const char *run_id;
    const char *lot, *sku, *order; /* NULL: null */
    const char *profile;
    const char *ca_certificate_id;
    const char *key_alg, *sig_alg;
    cm_when not_before, not_after;
    enum cm_layout layout;
    const struct cm_columns *columns; /* NULL: the list has none */
};

struct cm_row_texts {
    char *head, *after_id, *after_cert_id, *algs, *times; /* malloced */
    struct cm_row_label {
        char *text; /* malloced: what stands in front of the value of a column */
        size_t len;
    } * label;
    size_t labels;
    enum cm_layout layout;
};

CM_MUST_CHECK cm_err cm_row_texts_open(const struct cm_row_run *run, struct cm_row_texts *out,
                                       struct cm_error *err);
void cm_row_texts_close(struct cm_row_texts *t); /* a zeroed struct is accepted */
/* Octets of all those texts, for the bound on a row. */
size_t cm_row_texts_len(const struct cm_row_texts *t);

/* One stored thing: a bundle or a key. */
struct cm_row_blob {
    uint32_t len;
    uint8_t xxh3[16], sha256[32];
};

/* What is known of one device besides. */
struct cm_row_device {
    uint64_t seq;
    struct cm_span id, id_name; /* as given; percent-encoded */
    struct cm_span subject;     /* RFC 4514 */
    uint8_t certificate_id[32], thumbprint_sha1[20], spki_sha256[32];
    uint8_t serial[CM_SERIAL_LEN];
    const uint8_t *ski; /* 20 octets, or NULL */
    cm_when minted_at;
    struct cm_row_blob chain, key;
    const struct cm_span *column; /* a value for each column of the run */
};

/* Appends the row to w and fills the row fields of rec. */
void cm_row_render(const struct cm_row_texts *t, const struct cm_row_device *dev, struct cm_writer *w,
                   struct cm_rec *rec);
/* Copies the row of rec to w with the places of its bundle and key put in. */
void cm_row_place(const struct cm_batch *b, const struct cm_rec *rec, enum cm_layout layout,
                  struct cm_writer *w);

/* Octets of what these columns and values make of a row's "attributes", braces included. */
size_t cm_row_attributes_len(const struct cm_columns *columns, const struct cm_span *value);
/* {"column":"value",…} */
void cm_row_put_attributes(const struct cm_columns *columns, const struct cm_span *value,
                           struct cm_writer *w);

/* RFC 8259 string contents: escapes '"', '\' and control characters. */
void cm_put_json(struct cm_writer *w, struct cm_span text);
/* A big-endian number of 20 octets in decimal. */
void cm_put_serial_dec(struct cm_writer *w, const uint8_t serial[CM_SERIAL_LEN]);

#endif
