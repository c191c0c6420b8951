#ifndef CM_IO_INDEX_H
#define CM_IO_INDEX_H

#include "engine/bytes.h"
#include "engine/err.h"

/* index.h - from a device id or certificate id to its row, without reading the
 * manifest. docs/formats.md, "index", has the bytes.
 *
 * The index is a convenience that can be made again from the manifest at any
 * time; nothing relies on it being there. It gives candidates: hashes collide, so
 * the caller reads the row at the offset and compares the id.
 *
 *  Memory   building: 4 MiB and a little, however many rows; looking up: one page.
 *  Time     looking up: three or four preads of 4 KiB in tens of millions of rows.
 *  Errors   CM_E_IO, CM_E_NOMEM; CM_E_INPUT: the file is damaged.
 */

/* Builder: fed row by row while minting, by one thread. Temporary data goes into
 * `dir`, the run directory, in a file without a name. */
struct cm_index_builder;
CM_MUST_CHECK cm_err cm_index_builder_open(const char *dir, struct cm_index_builder **out,
                                           struct cm_error *err);
/* device_id: the id itself, not its JSON form. certificate_id: 64 hex digits. offset: of the row in the
 * manifest. */
CM_MUST_CHECK cm_err cm_index_builder_push(struct cm_index_builder *b, struct cm_span device_id,
                                           struct cm_span certificate_id, uint64_t offset,
                                           struct cm_error *err);
/* Sorts, writes index.part, makes it durable and renames it to index.
 * manifest_bytes: the length of the manifest, whose last row was pushed. Nothing
 * more may be pushed. CM_E_LIMIT: another process is building this index. */
CM_MUST_CHECK cm_err cm_index_builder_finish(struct cm_index_builder *b, uint64_t manifest_bytes,
                                             struct cm_error *err);
void cm_index_builder_close(
    struct cm_index_builder *b); /* NULL and unfinished accepted: nothing is left behind */

/* Builds the index of dir from its manifest. One pass over the manifest; rows that
 * can't be read are passed over, and so is a last row without its LF. */
CM_MUST_CHECK cm_err cm_index_rebuild(const char *dir, struct cm_error *err);

/* Reader. *out is NULL, and the call succeeds, when there is no index or a stale
 * one: it has to cover exactly manifest_bytes. Any thread may look up. */
struct cm_index;
enum cm_index_key { CM_INDEX_DEVICE, CM_INDEX_CERTIFICATE };
enum { CM_INDEX_FOUND_MAX = 16 };
CM_MUST_CHECK cm_err cm_index_open(const char *dir, uint64_t manifest_bytes, struct cm_index **out,
                                   struct cm_error *err);
uint64_t cm_index_rows(const struct cm_index *x);
/* Offsets of the rows whose key has the text's hash, ascending, the last
 * CM_INDEX_FOUND_MAX of them; *count 0: no such row. Every page that was read has been
 * checked, so that answer can be trusted. */
CM_MUST_CHECK cm_err cm_index_find(const struct cm_index *x, enum cm_index_key key, struct cm_span text,
                                   uint64_t offset[CM_INDEX_FOUND_MAX], size_t *count, struct cm_error *err);
void cm_index_close(struct cm_index *x); /* NULL accepted */

#endif
