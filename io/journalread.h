#ifndef CM_IO_JOURNALREAD_H
#define CM_IO_JOURNALREAD_H

#include "io/journal.h"

/* journalread.h - the journal, read back strictly (docs/formats.md, "journal").
 *
 *  Trust   a record counts when its hash, which chains it to all before it, is
 *          right. What follows the last such record is a torn tail, unless a record
 *          in it is sound by itself: then the journal is damaged, and refused.
 *  Memory  the journal, and a few octets a record and serial prefix.
 *  Errors  CM_E_INPUT: damaged, or contradicting itself; CM_E_END: not one sound
 *          record: the run stopped before its first key.
 */
struct cm_journal_commit {
    uint64_t devices, manifest_bytes; /* so far */
    uint8_t rows_xxh3[16];
    uint64_t attempt;
};

struct cm_journal_attempt_state {
    uint64_t first_prefix; /* number */
    uint64_t devices;      /* committed in it */
    uint64_t signatures;   /* when it ended */
    bool ended;
    bool rework;       /* a reissue or repair */
    size_t supersedes; /* records of that type before it */
};

/* Devices that were asked for again. The certificate that each had is in force until a
 * commit behind this record brings another. */
struct cm_journal_supersede {
    char *reason;
    struct cm_ranges seqs;
    uint64_t manifest_bytes; /* committed when it was written: the rows in question lie before */
};

struct cm_journal_prefix {
    uint8_t octets[CM_SERIAL_PREFIX];
    uint32_t at_most;
};

struct cm_journal_state {
    json_t *run;                   /* the first record */
    struct cm_journal_at at;       /* up to the last sound record */
    uint64_t file_bytes;           /* at.length, and the torn tail */
    char ended[16];                /* state of the last attempt's end; "": it has not ended */
    uint64_t manifest_bytes;       /* committed */
    struct cm_ranges seqs;         /* committed devices, without those of `again` */
    struct cm_ranges again;        /* asked for again, and not committed since: the old ones are in force */
    struct cm_ranges used, unused; /* prefixes that commits have; that nothing was signed under */
    struct cm_journal_prefix *prefix; /* all that were reserved, by number */
    size_t prefixes, prefix_cap;
    uint64_t settled;     /* prefixes before this one are committed, unused or in burned.ndjson */
    struct cm_unit *unit; /* all segments or shards that commits have, by number */
    size_t units, unit_cap;
    struct cm_journal_commit *commit;
    size_t commits, commit_cap;
    struct cm_journal_attempt_state *attempt;
    size_t attempts, attempt_cap;
    struct cm_journal_supersede *supersede;
    size_t supersedes, supersede_cap;
    uint32_t purged_before; /* keys in segments or shards before this one were purged */
    bool purging;           /* that began, and nobody knows how far it got */
    char purged_at[24];     /* when it ended, or began */
};

/* name: for messages. data is borrowed during the call. */
CM_MUST_CHECK cm_err cm_journal_parse(struct cm_span data, const char *name, struct cm_journal_state *out,
                                      struct cm_error *err);
/* DIR/journal of an open directory. CM_E_END also when there is no such file. */
CM_MUST_CHECK cm_err cm_journal_read(int dirfd, const char *dir, struct cm_journal_state *out,
                                     struct cm_error *err);
/* Why the row of a device at an offset of the manifest is no longer in force; NULL: it is. */
const struct cm_journal_supersede *cm_journal_superseded(const struct cm_journal_state *s, uint64_t seq,
                                                         uint64_t row);
uint64_t cm_journal_rows_in_force(const struct cm_journal_state *s);
void cm_journal_state_done(struct cm_journal_state *s); /* zeroed accepted, and left */

#endif
