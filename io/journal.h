#ifndef CM_IO_JOURNAL_H
#define CM_IO_JOURNAL_H

#include "engine/recorder.h"
#include "engine/when.h"
#include "io/rundir.h"
#include "io/sinks.h"

#include <jansson.h>

/* journal.h - the record of a run: what was asked, which serial prefixes are
 * reserved, what is committed (docs/formats.md, "journal"). This is its writer;
 * journalread.h reads it back.
 *
 *  Order     a record is durable before the call that wrote it succeeds, and before
 *            the next one is written (but for --sync none).
 *  Failure   a record that could not be made durable is cut off again; when that fails,
 *            too (retract tells), nothing may be touched any more: a resume will look.
 *  Threads   one at a time: the main thread's until the pipeline runs, then the
 *            registrar's.
 */
struct cm_journal;

struct cm_journal_conf {
    const struct cm_rundir *dir; /* borrowed */
    const char *run_id;          /* borrowed */
    const struct cm_places *places;
    uint64_t requested; /* devices of the run in all */
    bool durable;
};

/* How far the run is: zeros for a new one. */
struct cm_journal_at {
    uint64_t length; /* octets of sound records */
    uint64_t records;
    uint8_t chain[32];                   /* hash of the last of them */
    uint64_t devices, commits, attempts; /* devices: rows, those that are superseded included */
    uint64_t superseded;                 /* devices that supersede records asked for again, in all */
    uint64_t burned_bytes;               /* of burned.ndjson */
};

/* A new journal with `run` as its first record. */
CM_MUST_CHECK cm_err cm_journal_create(const struct cm_journal_conf *conf, const json_t *run,
                                       struct cm_journal **out, struct cm_error *err);
/* Goes on behind what was read back; the file must end there. again: numbers of the devices
 * that a supersede record asked for and no commit has brought yet; copied. */
CM_MUST_CHECK cm_err cm_journal_continue(const struct cm_journal_conf *conf, const struct cm_journal_at *at,
                                         const struct cm_ranges *again, struct cm_journal **out,
                                         struct cm_error *err);
/* The attempt begins: command is "mint", "resume", …; discarded: names that were removed, an array, or NULL.
 */
CM_MUST_CHECK cm_err cm_journal_attempt(struct cm_journal *j, const char *command, json_t *discarded,
                                        struct cm_error *err);
/* From now on a commit of one of these devices puts its new certificate in the place of the one in force. */
CM_MUST_CHECK cm_err cm_journal_supersede(struct cm_journal *j, const char *reason,
                                          const struct cm_ranges *seqs, struct cm_error *err);
/* The keys in segments or shards with numbers under `before` are about to go (done: are gone). */
CM_MUST_CHECK cm_err cm_journal_purge(struct cm_journal *j, bool done, uint32_t before, struct cm_error *err);
/* Any other record: its keys but "record" and "type". */
CM_MUST_CHECK cm_err cm_journal_put(struct cm_journal *j, const char *type, const json_t *keys,
                                    struct cm_error *err);
/* The time at which the attempt ended, RFC 3339, as it is on record; NULL: it is not. */
const char *cm_journal_ended(const struct cm_journal *j);
const char *cm_journal_end_state(const struct cm_journal *j);    /* and as what; NULL */
uint64_t cm_journal_rows_superseded(const struct cm_journal *j); /* committed rows that are not in force */
/* Octets of the manifest that are committed, as the last commit of this attempt says; 0: none yet, or j is
 * NULL. Any thread. */
uint64_t cm_journal_committed_bytes(const struct cm_journal *j);
/* Prefixes of a killed attempt, of which nobody knows how many signatures were made, into burned.ndjson;
 * what it has behind burned_bytes is cut off first. On record with the next attempt. */
CM_MUST_CHECK cm_err cm_journal_burn(struct cm_journal *j, const struct cm_burned *burned, size_t count,
                                     const uint32_t *at_most, struct cm_error *err);
/* For the pipeline. */
struct cm_recorder *cm_journal_recorder(struct cm_journal *j);
void cm_journal_close(struct cm_journal *j); /* NULL accepted */

#endif
