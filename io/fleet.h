#ifndef CM_IO_FLEET_H
#define CM_IO_FLEET_H

#include "engine/bytes.h"
#include "engine/err.h"
#include "engine/when.h"
#include "io/rowread.h"

#include <sys/types.h>

/* fleet.h - a run directory, opened for reading (docs/formats.md, "The run directory").
 *
 *  Ownership  open makes it, close frees it; what the getters return lives as long.
 *  Threads    constant after open but for grow: any thread may call anything but grow and close.
 *  Trust      every name inside is opened without following symbolic links, and is
 *             one that the format allows; files are read with bounds.
 *  Errors     CM_E_INPUT: not a fleet, or damaged; CM_E_IO; CM_E_NOMEM.
 */
enum cm_fleet_state {
    CM_FLEET_OPEN, /* outcome null: under way, or was killed */
    CM_FLEET_COMPLETE,
    CM_FLEET_STOPPED,
    CM_FLEET_FAILED,
};

enum { CM_FLEET_LABELS = 3 }; /* lot, sku, order */

/* A label that all rows of the run have. */
struct cm_fleet_label {
    bool known; /* run.json tells */
    bool null;
    char text[1025];
};

/* What run.json says. Keys that it has besides are passed over. */
struct cm_fleet_run {
    char run_id[37];
    char ca_certificate_id[65];
    char profile[257];
    char keys_dir[4096]; /* "": keys/ */
    cm_when created_at;
    uint64_t requested;   /* devices */
    bool list;            /* a device list; else a count */
    uint64_t start;       /* first sequence number; 1 for a list */
    bool tree, der, keys; /* layout, encoding, whether keys were written */
    bool may_outlive_ca;  /* --allow-outlive-ca was said */
    struct cm_fleet_label label[CM_FLEET_LABELS];
    enum cm_fleet_state state;
    uint64_t devices, manifest_bytes; /* of the outcome; 0 when there is none */
    uint64_t superseded; /* of it: rows that are no longer in force; 0: run.json has no word of it */
};

enum cm_fleet_side { CM_FLEET_CHAINS, CM_FLEET_KEYS };

struct cm_fleet;
struct cm_journal_state;
/* keys_dir: --keys, or NULL: the directory keys/, or where run.json says they were
 * written. A keys directory that can't be opened is no failure yet: cm_fleet_need_keys. */
CM_MUST_CHECK cm_err cm_fleet_open(const char *dir, const char *keys_dir, struct cm_fleet **out,
                                   struct cm_error *err);
void cm_fleet_close(struct cm_fleet *f); /* NULL accepted */

const struct cm_fleet_run *cm_fleet_run(const struct cm_fleet *f);
const char *cm_fleet_path(const struct cm_fleet *f);
const char *cm_fleet_state_name(enum cm_fleet_state state); /* "complete"; "unfinished" for CM_FLEET_OPEN */
const char *cm_fleet_label_name(size_t i);
struct cm_span cm_fleet_ca_pem(const struct cm_fleet *f);
/* CM_E_INPUT or CM_E_IO, with what to do, when the run wrote keys and their directory can't be opened. */
CM_MUST_CHECK cm_err cm_fleet_need_keys(const struct cm_fleet *f, struct cm_error *err);
/* The key that a row lists was purged, or its purge has begun. */
bool cm_fleet_key_purged(const struct cm_fleet *f, const struct cm_row *row);
/* Descriptor of chains/ or of the keys' directory; -1: not there. Borrowed. */
int cm_fleet_side_fd(const struct cm_fleet *f, enum cm_fleet_side side);
int cm_fleet_fd(const struct cm_fleet *f);

/* A small file of the directory, run.json, whole: *out, malloced, is the caller's. */
CM_MUST_CHECK cm_err cm_fleet_read_small(const struct cm_fleet *f, const char *name, char **out,
                                         size_t *out_len, struct cm_error *err);

/* What the journal says is committed; the rest of it is in journalread.h. */
const struct cm_journal_state *cm_fleet_journal(const struct cm_fleet *f);

/* The committed manifest as it was at open: what grows later is not seen, and what is not committed is not
 * there. */
uint64_t cm_fleet_manifest_bytes(const struct cm_fleet *f);
uint64_t cm_fleet_manifest_size(const struct cm_fleet *f); /* of the file, committed or not */
CM_MUST_CHECK cm_err cm_fleet_manifest_read(const struct cm_fleet *f, void *buf, size_t len, uint64_t offset,
                                            size_t *got, struct cm_error *err);

/* The run goes on in this process, and its journal has committed up to there since open. */
CM_MUST_CHECK cm_err cm_fleet_grow(struct cm_fleet *f, uint64_t manifest_bytes, struct cm_error *err);

/* A file of one side, by its name below it ("000000.tar", "000000/ID.crt"). */
struct cm_fleet_file {
    int fd;
    uint64_t size;
    mode_t mode;
    bool part; /* a .part was taken in its place */
};
/* part_ok: where the run did not end cleanly, a segment that bears .part still is
 * taken too; its committed beginning is what rows point to. CM_E_END: no such file. */
CM_MUST_CHECK cm_err cm_fleet_file_open(const struct cm_fleet *f, enum cm_fleet_side side, const char *name,
                                        bool part_ok, struct cm_fleet_file *out, struct cm_error *err);

/* Opens the file that a row's place names, and reads the bundle or key into buf,
 * at least place->length octets. CM_E_INPUT: missing, or too short. part: as above. */
CM_MUST_CHECK cm_err cm_fleet_read_place(const struct cm_fleet *f, enum cm_fleet_side side,
                                         const struct cm_place *place, bool tree, uint8_t *buf, bool *part,
                                         struct cm_error *err);
/* Is this (place->length octets) what the row lists? By its xxh3, so against accidents. */
bool cm_fleet_place_holds(const struct cm_place *place, const uint8_t *data);

/* The row at an offset, into *out: finds its end, parses it. line (may be NULL):
 * malloced, the row as it stands, without the LF and spaces before it. */
CM_MUST_CHECK cm_err cm_fleet_row_at(const struct cm_fleet *f, uint64_t offset, struct cm_row *out,
                                     char **line, struct cm_error *err);
/* The row of a device id that is in force, which is its newest, or the row of a certificate
 * id (64 lowercase hex digits), in force or not. By the
 * index where there is a sound one, building it first where that can be done and
 * `build`; else by reading the manifest through. CM_E_END: there is none. */
CM_MUST_CHECK cm_err cm_fleet_row_find(const struct cm_fleet *f, const char *id, bool build,
                                       struct cm_row *out, char **line, struct cm_error *err);

#endif
