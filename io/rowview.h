#ifndef CM_IO_ROWVIEW_H
#define CM_IO_ROWVIEW_H

#include "engine/bytes.h"
#include "engine/err.h"

/* rowview.h - a manifest row (docs/formats.md, "Manifest rows") as views into its text,
 * for loading millions of them: no allocation, a few hundred nanoseconds.
 *
 * It takes rows whose keys stand in the contract's order and whose strings have the
 * contract's escapes, which are the rows that certmill writes; rowread.h, strict and
 * slow, has the say on any other.
 *
 *  Ownership  views into the text, or into the reader's scratch where a string has
 *             escapes: they live until the next row.
 *  Threads    a reader belongs to one thread.
 */
enum { CM_ROWVIEW_SCRATCH = 64 << 10 }; /* no less than CM_ROW_MAX: what unescaping gives is shorter */

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

#endif
