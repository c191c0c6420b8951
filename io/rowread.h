#ifndef CM_IO_ROWREAD_H
#define CM_IO_ROWREAD_H

#include "engine/bytes.h"
#include "engine/err.h"

/* rowread.h - a strict reader of one manifest row (docs/formats.md, "Manifest rows").
 *
 * Independent of the writer: the JSON is read by jansson, nothing is shared with
 * engine/row.c. Exactly the keys of the contract, each once, in any order, each of
 * its type and form; no white space outside strings, but for spaces at the end.
 *
 *  Ownership  a cm_row owns everything in it until cm_rowread_done; its strings are
 *             NUL-terminated UTF-8 without a NUL inside.
 *  Limits     a row is at most CM_ROW_MAX octets; see the table in rowread.c.
 *  Threads    no state; jansson's hash seed is set once, by the first call.
 *  Errors     CM_E_INPUT names the key and what is wrong with it; CM_E_NOMEM.
 */
enum {
    CM_ROW_MAX = 64 << 10,            /* octets, with the LF */
    CM_ROW_NAME_MAX = 96,             /* an id as a file name */
    CM_ROW_CHAIN_MAX = 1 << 20,       /* octets of a bundle */
    CM_ROW_KEY_MAX = 16 << 10,        /* octets of a key file */
    CM_ROW_ATTRIBUTES = 256,          /* of a row at most */
    CM_ROW_ATTRIBUTE_NAME = 64,       /* octets */
    CM_ROW_ATTRIBUTES_MAX = 16 << 10, /* octets of names and values together */
};

struct json_t;

/* Where a bundle or a key lies. */
struct cm_place {
    const char *file;          /* "chains/000000.tar", "keys/000012/ID.key" */
    uint32_t number;           /* of the segment or shard: 0, 12 */
    uint64_t offset;           /* of the data in a segment; 0 in the tree layout */
    uint64_t length;           /* 1 to the maximum above */
    const char *xxh3, *sha256; /* lowercase hex */
};

struct cm_row {
    int64_t seq; /* not negative */
    const char *run_id, *device_id;
    const char *lot, *sku, *order; /* NULL: null */
    const char *profile, *subject;
    const char *certificate_id, *ca_certificate_id;
    const char *serial, *serial_dec;
    const char *key_alg, *sig_alg;
    const char *spki_sha256;
    const char *ski; /* NULL: null */
    const char *thumbprint_sha1;
    const char *not_before, *not_after, *minted_at;
    const char *superseded_by; /* NULL: null, the only value so far */
    bool tree;                 /* the row says paths, not segments */
    bool has_key;              /* key is not null */
    struct cm_place chain, key;
    const struct json_t *attributes; /* an object of strings */
    char name[CM_ROW_NAME_MAX +
              1]; /* the id, percent-encoded: files and entries are called name.crt, name.key */
    struct json_t *root;
    uint64_t at; /* its offset in the manifest, where fleet.h has read it */
};

/* Octets of the row itself, without the spaces that may stand before the LF. */
size_t cm_rowread_len(struct cm_span text);
/* text: the row without its LF. */
CM_MUST_CHECK cm_err cm_rowread_parse(struct cm_span text, struct cm_row *out, struct cm_error *err);
void cm_rowread_done(struct cm_row *row); /* a zeroed row is accepted */

/* The two ids of a row whose keys stand in the contract's order, without parsing
 * it: for building the index. false: parse it instead. Views into text. */
bool cm_rowread_peek(struct cm_span text, struct cm_span *device_id, struct cm_span *certificate_id);

#endif
