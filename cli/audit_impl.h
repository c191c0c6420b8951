#ifndef CM_CLI_AUDIT_IMPL_H
#define CM_CLI_AUDIT_IMPL_H

#include "cli/audit.h"
#include "cli/audit_asked.h"
#include "engine/audit.h"
#include "engine/secret.h"
#include "io/extsort.h"
#include "io/tarread.h"

#include <pthread.h>
#include <stdatomic.h>

/* audit_impl.h - what the files of audit share. */
enum {
    CM_AUDIT_LINES = 256,                      /* rows in a chunk at most */
    CM_AUDIT_LINES_DEEP = 8,                   /* the same of a deep audit: half a second with RSA keys */
    CM_AUDIT_TEXT = 512 << 10,                 /* octets in a chunk at most; a row fits in */
    CM_AUDIT_WINDOW = CM_ROW_CHAIN_MAX + 1024, /* octets of a segment read at a time */
    CM_AUDIT_KEYS = 256 << 10,                 /* the same of keys, in locked memory */
    CM_AUDIT_KEYS_LEAST = 64 << 10,            /* where RLIMIT_MEMLOCK is small */
    CM_AUDIT_ID_RECORD = 25,                   /* kind, 16 octets that tell it, offset of the row */
    CM_AUDIT_PLACE_RECORD = 29,                /* side, number, 16 octets (below), offset of the row */
};

/* What must not occur twice; AGAIN, the id and number of a device that was superseded, must. */
enum cm_audit_kind {
    CM_AUDIT_ID = 1,
    CM_AUDIT_SERIAL,
    CM_AUDIT_SPKI,
    CM_AUDIT_SEQ,
    CM_AUDIT_PRIME,
    CM_AUDIT_AGAIN
};

/* Shared by all threads. */
struct cm_audit {
    /* constant */
    const struct cm_audit_conf *conf;
    const struct cm_fleet *fleet;
    const struct cm_fleet_run *run;
    bool unclean;           /* the run did not end: unfinished files are to be expected */
    const uint64_t *sample; /* offsets of rows, ascending; NULL: all rows */
    size_t sample_count;
    struct cm_asked *asked;      /* what rows must agree with */
    struct cm_audit_books books; /* when the threads have ended */

    pthread_mutex_t cut_lock; /* guards the next three */
    uint32_t lanes;           /* threads that got their memory */
    uint64_t next_offset;     /* of the manifest */
    size_t next_sample;

    pthread_mutex_t sort_lock; /* guards the next two until the threads have ended */
    struct cm_extsort *ids;    /* CM_AUDIT_ID_RECORD */
    struct cm_extsort *places; /* CM_AUDIT_PLACE_RECORD: tar: begin and end of a stretch of a segment that
                                  rows account for; tree: XXH3-128 of a file's name in its shard */
    _Atomic uint64_t rows, octets, keys_encrypted, keys_absent, superseded, damaged;
    _Atomic bool failed;

    pthread_mutex_t end_lock; /* guards the rest */
    pthread_cond_t end_cond;
    uint32_t running;
    struct cm_error err; /* of the first thread that failed */
};

struct cm_audit_line {
    struct cm_span text; /* without LF */
    uint64_t offset;     /* in the manifest */
};

/* A row at hand. */
struct cm_audit_slot {
    struct cm_row row;
    uint64_t at;              /* its offset in the manifest */
    struct cm_span stored[2]; /* bundle and key as read, by cm_fleet_side */
    bool usable;              /* both could be read */
    bool superseded;          /* another row took its place: what is wrong with it is counted, no finding */
    bool damaged;             /* and something is */
};

/* One thread's. */
struct cm_audit_lane {
    struct cm_audit *audit;
    struct cm_auditor *auditor;
    uint8_t *text; /* CM_AUDIT_TEXT: the chunk */
    struct cm_audit_line line[CM_AUDIT_LINES];
    size_t lines;
    struct cm_audit_slot slot[CM_AUDIT_LINES];
    size_t slots;
    uint8_t *window;              /* CM_AUDIT_WINDOW: of chains */
    struct cm_secret keys;        /* the same of keys */
    struct cm_fleet_file file[2]; /* the segments last read from, by side; fd -1: none */
    uint32_t file_number[2];
    uint8_t ids[7 * CM_AUDIT_LINES][CM_AUDIT_ID_RECORD]; /* one of each kind, two primes */
    size_t ids_count;
    uint8_t places[2 * CM_AUDIT_LINES][CM_AUDIT_PLACE_RECORD];
    size_t places_count;
};

/* The chunk in lane->line. CM_E_FOUND never: findings go where they belong. */
CM_MUST_CHECK cm_err cm_audit_rows(struct cm_audit_lane *lane, struct cm_error *err);
/* One chunk's records into the sorts. */
CM_MUST_CHECK cm_err cm_audit_note(struct cm_audit_lane *lane, struct cm_error *err);

/* After the threads have ended: everything that concerns the whole fleet. */
CM_MUST_CHECK cm_err cm_audit_set(struct cm_audit *a, struct cm_error *err);
/* The directories alone: for a sample, too. */
CM_MUST_CHECK cm_err cm_audit_dirs(struct cm_audit *a, struct cm_error *err);
/* What the journal says of the run, against what is there. */
CM_MUST_CHECK cm_err cm_audit_journal(struct cm_audit *a, struct cm_error *err);
/* Serial prefixes and signatures: is every one accounted for? Fills a->books. */
CM_MUST_CHECK cm_err cm_audit_books(struct cm_audit *a, struct cm_error *err);

/* The segments or shards that lie in one side's directory, ascending; malloced. */
struct cm_audit_side {
    uint32_t *number;
    bool *named; /* by a row: for the caller to set */
    size_t count;
};
extern const char *const cm_audit_side_name[2];             /* "chains", "keys" */
int cm_audit_compare_numbers(const void *a, const void *b); /* uint32_t, for qsort and bsearch */
/* Lists both, and reports what a fleet does not have: other names, leftovers, wrong modes. */
CM_MUST_CHECK cm_err cm_audit_list(struct cm_audit *a, struct cm_audit_side out[2], struct cm_error *err);

/* Chooses conf->sample rows; *out NULL: that is all of them. The caller frees. */
CM_MUST_CHECK cm_err cm_audit_pick(const struct cm_audit *a, uint64_t **out, size_t *count,
                                   struct cm_error *err);

/* One finding; device_id and file may be NULL. */
void cm_audit_find(struct cm_audit *a, const char *device_id, uint64_t row, const char *file, uint64_t offset,
                   const char *fmt, ...) CM_PRINTF(6, 7);

static inline void cm_audit_put_be(uint8_t *at, uint64_t value, size_t len)
{
    for (size_t i = len; i-- > 0; value >>= 8)
        at[i] = (uint8_t) value;
}

static inline uint64_t cm_audit_get_be(const uint8_t *at, size_t len)
{
    uint64_t value = 0;

    for (size_t i = 0; i < len; i++)
        value = value << 8 | at[i];
    return value;
}

#endif
