#ifndef CM_CLI_AUDIT_H
#define CM_CLI_AUDIT_H

#include "cli/findings.h"
#include "cli/progress.h"
#include "io/fleet.h"

/* audit.h - audits a whole fleet on all cores, or a sample of its rows.
 *
 *   audit.c         threads, the cutting of the manifest into chunks of rows
 *   audit_rows.c    one chunk: its rows are parsed, read in large pieces, judged
 *   audit_set.c     what only the whole fleet shows: repeats, gaps, counts
 *   audit_device.c  a row against what the request makes of its device
 *   audit_asked.c   a row against the request and the journal's commits
 *   audit_journal.c the journal against run.json and the manifest
 *   audit_books.c   serial prefixes and signatures against burned.ndjson
 *   audit_dirs.c    what lies in its directories
 *   audit_sample.c  which rows a sample takes
 *
 * Every octet of every segment is accounted for: workers account for the entries
 * that rows name, audit_set.c for what lies between and behind them.
 *
 *  Memory   about 2 MiB a worker and 16 MiB, and findings; not the fleet's size.
 *           A sample: 8 octets a row of it, times 20 at most.
 *  Disk     about 160 octets a device in tmp_dir, in files without a name; 50 more
 *           for the digests of an RSA key's primes, when deep.
 *  Errors   what is wrong with the fleet goes to findings; the call itself fails
 *           only when it couldn't do its work.
 */
struct cm_audit_conf {
    const struct cm_fleet *fleet;
    struct cm_findings *findings;
    struct cm_progress *progress;
    const char *tmp_dir;
    uint32_t workers; /* threads, at least 1; fewer run where RLIMIT_MEMLOCK is small */
    uint64_t sample;  /* 0: every row */
    uint64_t seed;    /* of the sample */
    bool deep;        /* libcrypto's own opinion too (engine/deep.h) */
    bool keys_absent; /* no key of the run may be there; else: none of those that were purged */
};

/* Certificates that the CA signed and nobody got. */
struct cm_audit_books {
    uint64_t burned_prefixes, burned_at_most; /* burned.ndjson: certificates under them at most */
    uint64_t open_at_most;                    /* the same of an attempt that neither ended nor was resumed */
};

struct cm_audit_result {
    struct cm_audit_books books;
    uint32_t workers;        /* threads that ran */
    uint64_t rows;           /* that were judged */
    uint64_t octets;         /* of manifest, bundles and keys that were read */
    bool sampled;            /* false: every row, even where a sample was asked for */
    uint64_t keys_encrypted; /* of them: only their digests were compared */
    uint64_t keys_absent;    /* of them: purged, or expected to be elsewhere */
    uint64_t superseded;     /* of them: no longer in force */
    uint64_t damaged;        /* of those: something is wrong with them, which is no finding any more */
};

/* Where sorting may spill to: files of tens of millions of devices need gigabytes. fleet: the last resort. */
const char *cm_audit_tmp_dir(const char *fleet);
CM_MUST_CHECK cm_err cm_audit_fleet(const struct cm_audit_conf *conf, struct cm_audit_result *out,
                                    struct cm_error *err);

#endif
