#ifndef CM_IO_ROWVIEW_H
#define CM_IO_ROWVIEW_H

#include "io/rowread.h"

/* rowview.h - a manifest row (docs/formats.md, "Manifest rows") as views into its text,
 * for loading millions of them: no allocation, about half a microsecond.
 *
 * That holds for rows of the tar layout whose keys stand in the contract's order and
 * whose strings have the contract's escapes, if any: those that certmill writes. Any
 * other goes through rowread.h, strict and slow, which is also who refuses.
 *
 *  Ownership  views into the text, or into the reader where a string has escapes: they
 *             live until the next row.
 *  Threads    a reader belongs to one thread.
 */

struct cm_rowview {
    int64_t seq;
    struct cm_span run_id, device_id;
    struct cm_span lot, sku, order; /* data NULL: null */
    struct cm_span profile, subject;
    struct cm_span certificate_id, ca_certificate_id;
    struct cm_span serial, serial_dec;
    struct cm_span key_alg, sig_alg;
    struct cm_span spki_sha256;
    struct cm_span ski; /* data NULL: null */
    struct cm_span thumbprint_sha1;
    struct cm_span not_before, not_after, minted_at;
    struct cm_span chain_file, chain_xxh3, chain_sha256; /* "chains/000000.tar", "chains/000000/ID.crt" */
    int64_t chain_offset, chain_length;                  /* offset -1: the tree layout has none */
    struct cm_span key_file, key_xxh3, key_sha256;       /* data NULL: no key */
    int64_t key_offset, key_length;                      /* -1 each without a key */
    struct cm_span attributes;                           /* the object as it stands */
};

struct cm_rowview_reader;

CM_MUST_CHECK cm_err cm_rowview_open(struct cm_rowview_reader **out, struct cm_error *err);
void cm_rowview_close(struct cm_rowview_reader *r); /* NULL accepted */
/* text: the row without its LF. CM_E_INPUT as cm_rowread_parse has it. */
CM_MUST_CHECK cm_err cm_rowview_read(struct cm_rowview_reader *r, struct cm_span text, struct cm_rowview *out,
                                     struct cm_error *err);

/* The quick way alone, for tests. false: the strict reader has the say. */
bool cm_rowview_quick(struct cm_rowview_reader *r, struct cm_span text, struct cm_rowview *out);
/* A row that rowread.h has read, as views into it; attributes: their text. */
void cm_rowview_of(const struct cm_row *row, struct cm_span attributes, struct cm_rowview *out);

#endif
