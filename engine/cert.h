#ifndef CM_ENGINE_CERT_H
#define CM_ENGINE_CERT_H

#include "engine/batch.h"
#include "engine/row.h"
#include "engine/tmpl_cert.h"

/* cert.h - one device: key, certificate, bundle, row. Where a reader starts.
 *
 * A cm_minter is one worker's: its key generator, signer, digests and a locked
 * scratch for the key it is working on. cm_mint_one writes the final bytes into
 * the batch's images and touches nothing else: no threads, no files.
 */
struct cm_mint_conf {
    const struct cm_ca *ca;
    const struct cm_keyalg *key;
    enum cm_keygen keygen;
    const struct cm_tmpl *tmpl;
    const struct cm_name *subject;
    const struct cm_row_texts *row;
    enum cm_layout layout;
    enum cm_key_format key_format;
    enum cm_encoding encoding;
    int64_t mtime;                         /* of archive entries: the start of the run */
    const uint8_t *run_id;                 /* 16 octets */
    const struct cm_columns *columns;      /* of the device list; NULL: none, as the next */
    const struct cm_column_bounds *bounds; /* of what its devices have there */
};

struct cm_minter;

CM_MUST_CHECK cm_err cm_minter_open(const struct cm_mint_conf *conf, struct cm_minter **out,
                                    struct cm_error *err);
void cm_minter_close(struct cm_minter *m); /* NULL accepted */

/* Draws the random parts of the batch's serials and takes the time. Its prefix is
 * there already (serials.h). */
CM_MUST_CHECK cm_err cm_mint_begin(struct cm_minter *m, struct cm_batch *b, struct cm_error *err);
/* Mints rec[i]; the records before it are done, its id, seq and mac are set. */
CM_MUST_CHECK cm_err cm_mint_one(struct cm_minter *m, struct cm_batch *b, uint32_t i, struct cm_error *err);
/* Checks the first signature of the batch against the CA's public key and pads
 * the images. After this the batch is ready to be written. */
CM_MUST_CHECK cm_err cm_mint_end(struct cm_minter *m, struct cm_batch *b, struct cm_error *err);

/* Memory that a batch of so many devices needs at most under this conf. */
CM_MUST_CHECK cm_err cm_mint_plan(const struct cm_mint_conf *conf, uint32_t devices,
                                  struct cm_batch_plan *out, struct cm_error *err);

#endif
