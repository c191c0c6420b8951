#ifndef CM_IO_DB_H
#define CM_IO_DB_H

#include "io/dburl.h"
#include "io/rowview.h"

/* db.h - the database of the devices, which factories' stations query: SQLite in a
 * file, or PostgreSQL. docs/formats.md, "The database", has its tables; load.h brings
 * a fleet into it.
 *
 *  Once       a run's cursor (octets of its manifest, rows) is in the transaction of
 *             the rows. begin locks it and tells where it is, commit moves it on: so a
 *             row is there once, whoever loads, how often, and however it ended.
 *  Durable    what commit reported.
 *  Lost       when commit fails because the connection broke, nobody knows how it ended;
 *             the cursor tells, after opening once more.
 *  Bulk       the indexes of a new database are made after the first load; from then on
 *             each row goes into them. Doubles are refused by unique ones.
 *  Keys       no private key ever gets here: there is no parameter that could carry one.
 *  Secrets    no message has the password of the URL, nor the URL.
 *  Errors     CM_E_USAGE: the URL; CM_E_DB, CM_E_IO: it can't be reached, read or written; CM_E_INPUT: a
 * newer certmill made it, a table in it is somebody else's, or ids belong to another run. Threads    one at a
 * time.
 *
 * TO ADD A KIND: a file io/db_x.c, its schema in db_schema.c, and what dburl.h says; the
 * contract test walks the table.
 */
enum { CM_DB_VERSION = 1 }; /* of the schema */

struct cm_db;

/* Where a run's rows in the database end. */
struct cm_db_cursor {
    uint64_t manifest_bytes, rows;
};

/* What the database keeps of a run. Borrowed during enter. */
struct cm_db_run {
    const char *run_id, *ca_certificate_id;
    const char *created_at; /* RFC 3339 */
    const char *engine, *libcrypto;
    uint64_t requested;       /* devices */
    const char *directory;    /* of the fleet, absolute */
    const char *keys_dir;     /* absolute; NULL: keys/ in it, or no keys */
    const char *request;      /* run.json's, as JSON */
    const char *chain_pem;    /* the CA's certificate, then the chain above it */
    const char *chain_sha256; /* of that text, hex */
};

struct cm_db_row {
    struct cm_rowview row;
    struct cm_span certificate; /* DER; data NULL: the bundle of a superseded row is gone */
};

/* A row that takes the place of the one of the same device that is in force. */
struct cm_db_successor {
    int64_t seq;
    char certificate_id[65];
};

/* An id that is in force for another run below the same CA. */
struct cm_db_holder {
    char device_id[97], run_id[37];
};

/* Opens the database, making the file where there is none and the tables where they are missing, and bringing
 * an older schema up to date. option: what messages about the URL begin with. away: after a failure,
 * whether it can't be reached or somebody has it locked: trying again may help. */
CM_MUST_CHECK cm_err cm_db_open(const char *url, const char *option, const struct cm_db_wait *wait,
                                struct cm_db **out, bool *away, struct cm_error *err);
/* What open would find, and nothing is made: for a run that is only explained. */
struct cm_db_found {
    bool there;           /* the file, or the server's database */
    int64_t version;      /* of certmill's tables; 0: there are none yet */
    int64_t runs, others; /* other runs than this one, and those of them below the CA */
};
/* Errors are those of open, and of who may not write. *out: a connection where the tables are of this
 * version, else NULL. */
CM_MUST_CHECK cm_err cm_db_look(const char *url, const char *option, const struct cm_db_wait *wait,
                                const char *run_id, const char *ca_certificate_id, struct cm_db_found *found,
                                struct cm_db **out, struct cm_error *err);
/* From now on, as another thread that takes it over wants it. */
void cm_db_wait_with(struct cm_db *d, const struct cm_db_wait *wait);
void cm_db_close(struct cm_db *d);             /* NULL accepted; what was not committed is undone */
bool cm_db_is_new(const struct cm_db *d);      /* this open made its tables */
const char *cm_db_name(const struct cm_db *d); /* what messages call it */
/* Did the last failure come from the connection, or from somebody's lock? Opening again may help. */
bool cm_db_is_away(const struct cm_db *d);
/* Did it come from a unique index: is an id or a certificate there already? */
bool cm_db_is_doubled(const struct cm_db *d);

/* Before begin: the run that is loaded, entered if it is not there. */
CM_MUST_CHECK cm_err cm_db_enter(struct cm_db *d, const struct cm_db_run *run, struct cm_error *err);
/* Are there other runs below this CA? Else `taken` need not be asked. from: where the cursor of this run is,
 * which need not be there yet. */
CM_MUST_CHECK cm_err cm_db_has_others(struct cm_db *d, const char *run_id, const char *ca_certificate_id,
                                      bool *out, uint64_t *from, struct cm_error *err);
/* Is the row of this certificate there? Without the indexes it takes a look at every row. */
CM_MUST_CHECK cm_err cm_db_has(struct cm_db *d, struct cm_span certificate_id, bool *out,
                               struct cm_error *err);
/* Refuses ids (at most CM_DB_IDS_MAX) that another run below the CA has in force: CM_E_INPUT names one, and
 * the run. */
enum { CM_DB_IDS_MAX = 1024 };
CM_MUST_CHECK cm_err cm_db_taken(struct cm_db *d, const char *run_id, const char *ca_certificate_id,
                                 const struct cm_span *id, size_t ids, struct cm_error *err);

/* A transaction: begin, supersede at most once, put for each row, commit; rollback after any failure. */
CM_MUST_CHECK cm_err cm_db_begin(struct cm_db *d, struct cm_db_cursor *at, struct cm_error *err);
/* The devices that the rows to come replace: their rows in force say so from now on. */
CM_MUST_CHECK cm_err cm_db_supersede(struct cm_db *d, const struct cm_db_successor *next, size_t count,
                                     struct cm_error *err);
CM_MUST_CHECK cm_err cm_db_put(struct cm_db *d, const struct cm_db_row *row, struct cm_error *err);
CM_MUST_CHECK cm_err cm_db_commit(struct cm_db *d, const struct cm_db_cursor *to, struct cm_error *err);
void cm_db_rollback(struct cm_db *d);

/* Makes the indexes that a first load has left out; they are there already: does nothing. */
CM_MUST_CHECK cm_err cm_db_index(struct cm_db *d, struct cm_error *err);

#endif
