#ifndef CM_TESTS_T_PLANT_H
#define CM_TESTS_T_PLANT_H

#include "engine/pipeline.h"
#include "io/rundir.h"
#include "io/sinks.h"

#include <openssl/evp.h>

/* t_plant.h - all that minting needs, without Criterion: for unit tests, for programs
 * under ThreadSanitizer and for allocation torture. What fails here stops the
 * program (CM_ASSERT): it is the test that is broken then.
 */
struct t_plant {
    uint8_t run_id[16];
    struct cm_hasher hasher;
    struct cm_ca *ca;
    struct cm_profile *profile;
    struct cm_name subject;
    struct cm_tmpl *tmpl;
    struct cm_row_texts row;
    struct cm_mint_conf mint;
    struct cm_batch_plan plan;
    struct cm_pool *pool;
};

struct t_plant_conf {
    const char *key;     /* NULL: P-256 */
    const char *ca_key;  /* NULL: P-256 */
    const char *profile; /* text; NULL: SKI, AKI, keyUsage */
    const char *subject; /* NULL: "/CN={id}" */
    const char *san;
    const struct cm_columns *columns; /* NULL: none, as the next */
    const struct cm_column_bounds *bounds;
    enum cm_layout layout;
    enum cm_key_format key_format;
    enum cm_encoding encoding;
    uint32_t devices, batches; /* of a batch; in the pool. 0: 4, 8 */
};

void t_plant_open(struct t_plant *p, const struct t_plant_conf *conf);
void t_plant_close(struct t_plant *p);
/* A source of count devices "SN00000001" and on. */
struct cm_source *t_plant_source(const struct t_plant *p, uint64_t count);
/* A minted batch of the pool's, its devices numbered from seq; every id has the suffix. */
struct cm_batch *t_plant_batch(const struct t_plant *p, struct cm_minter *m, uint64_t seq,
                               const char *suffix);

/* The files of a new CA on P-256. */
void t_ca_files(const char *cert_path, const char *key_path);

/* A run directory in a fresh temporary directory. */
struct t_place {
    char base[64], out[80];
    struct cm_rundir dir;
};
void t_place_open(struct t_place *t);
void t_place_close(struct t_place *t); /* removes it */
struct cm_sink_conf t_place_sinks(const struct t_place *t, const struct t_plant *p, enum cm_io_kind io);

/* Reads a run directory with jansson and libcrypto alone: every row's bundle and key
 * must lie where the row says, with its length and SHA-256. The number of rows, or -1
 * with the reason in why. */
struct t_reading {
    long rows;
    long lines;      /* of the manifest, whatever they say */
    long unfinished; /* names that end in .part, here, in chains/ and in keys/ */
    char why[512];
};
struct t_reading t_read_run(const char *out);

/* A seed: of the environment's CM_SEED, or of the clock; printed once. */
uint64_t t_seed(void);
/* xorshift64*: the next number, below bound. */
uint64_t t_random(uint64_t *state, uint64_t bound);

#endif
