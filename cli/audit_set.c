#include "cli/audit_impl.h"
#include "engine/xxh.h"
#include "io/file.h"
#include "io/journalread.h"
#include "io/readat.h"

#include <fcntl.h>
#include <sys/stat.h>

typedef unsigned long long ull;

enum { SHARD_MAX = 4096 }; /* devices, by the format */

/* The stretch of the places that is being looked at: one segment or shard. */
struct unit {
    enum cm_fleet_side side;
    uint32_t number;
    char file[48];
    /* tar */
    struct cm_fleet_file tar; /* fd -1: not there, which its rows have said */
    uint64_t reached;         /* how far the segment is accounted for */
    uint64_t row, begin, len; /* the stretch before: its first row, its place */
    /* tree */
    size_t names;
    uint8_t name[SHARD_MAX][16]; /* XXH3-128, ascending */
};

struct set {
    struct cm_audit *a;
    struct cm_audit_side side[2];
    uint32_t last[2]; /* the highest number that a row names, and whether there is one */
    bool any[2];
    struct unit unit;
};

/* Walks what no row names, from one offset of a segment to another: padding there
 * may be. to == UINT64_MAX: to its end, which must be as the format has it. */
static void walk_gap(struct cm_audit *a, const struct unit *u, uint64_t from, uint64_t to)
{
    const char *const file = u->file;
    const uint64_t size = u->tar.size;
    const uint64_t stop = to < size ? to : size;
    uint8_t window[CM_TARREAD_WINDOW];
    struct cm_tarread t;
    struct cm_error why;
    size_t got = 0;
    bool ended = false;

    while (from < stop && !ended) {
        cm_err rc = cm_read_at(u->tar.fd, file, window, sizeof window, from, &got, &why);
        if (rc == CM_OK)
            rc = cm_tarread_next(cm_span(window, got), from, from + got == size, &t, &why);
        if (rc != CM_OK && to != UINT64_MAX && to > size)
            return; /* it was cut off in here: what lies behind is missed by its own rows */
        if (rc != CM_OK) {
            cm_audit_find(a, NULL, CM_FINDING_NO_ROW, file, from, "%s, between what rows name", why.what);
            return;
        }
        if (t.kind == CM_TARREAD_ENTRY)
            cm_audit_find(a, NULL, CM_FINDING_NO_ROW, file, from, "an entry that no row names: %s", t.name);
        ended = t.kind == CM_TARREAD_ENDING;
        from += t.total;
    }
    if (to == UINT64_MAX && !ended && from >= stop)
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, file, size, "the segment has no end blocks");
    else if (to != UINT64_MAX && from > to)
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, file, to, "what no row names reaches into an entry");
}

/* The row's device id, for messages; "" where the row can't be read. */
static void id_at(const struct cm_audit *a, uint64_t row, char out[128])
{
    struct cm_row r = { 0 };

    out[0] = '\0';
    if (cm_fleet_row_at(a->fleet, row, &r, NULL, NULL) == CM_OK)
        (void) snprintf(out, 128, "%s", r.device_id);
    cm_rowread_done(&r);
}

static bool superseded_at(const struct cm_audit *a, uint64_t row)
{
    struct cm_row r = { 0 };
    const bool is = cm_fleet_row_at(a->fleet, row, &r, NULL, NULL) == CM_OK &&
                    cm_journal_superseded(cm_fleet_journal(a->fleet), (uint64_t) r.seq, row) != NULL;

    cm_rowread_done(&r);
    return is;
}

/* The first of a device that was superseded has no second row. */
static void find_alone(struct cm_audit *a, uint64_t row)
{
    char id[128];

    id_at(a, row, id);
    cm_audit_find(
        a, id, row, "manifest.ndjson", row,
        "the journal says that this device was superseded, but the rows of its number differ in id");
}

/* What must not be in two certificates; the rest must not be in two rows. */
static bool is_of_certificate(enum cm_audit_kind kind)
{
    return kind == CM_AUDIT_SERIAL || kind == CM_AUDIT_SPKI || kind == CM_AUDIT_PRIME;
}

static void find_repeat(struct cm_audit *a, enum cm_audit_kind kind, uint64_t row, uint64_t other_row)
{
    static const char *const what[] = {
        [CM_AUDIT_ID] = "the same device id",
        [CM_AUDIT_SERIAL] = "the same serial",
        [CM_AUDIT_SPKI] = "the same public key",
        [CM_AUDIT_SEQ] = "the same sequence number",
        [CM_AUDIT_PRIME] = "an RSA prime in common, which gives both keys away: the same",
    };
    char id[128], other[128], text[400];

    id_at(a, row, id);
    id_at(a, other_row, other);
    (void) snprintf(text, sizeof text, "%s as %s, whose row is at offset %llu", what[kind], other,
                    (ull) other_row);
    cm_findings_add(a->conf->findings, &(struct cm_finding) { .device_id = id,
                                                              .what = text,
                                                              .file = "manifest.ndjson",
                                                              .offset = row,
                                                              .row = row,
                                                              .certificate = is_of_certificate(kind) });
}

/* The later of two rows has what the first had before. Where two certificates have
 * something in common, both are condemned: revoking one revokes the other, and who
 * holds one key holds both. What is no longer in force condemns nobody, but nobody may
 * have it again. */
static cm_err check_repeats(struct cm_audit *a, struct cm_error *err)
{
    uint8_t before[CM_AUDIT_ID_RECORD] = { 0 };
    const uint8_t *record = NULL;
    bool first_named = false, alone = false;
    cm_err rc = CM_OK;

    while ((rc = cm_extsort_pop(a->ids, &record, err)) == CM_OK) {
        if (memcmp(before, record, 17) != 0) {
            if (alone)
                find_alone(a, cm_audit_get_be(before + 17, 8));
            memcpy(before, record, sizeof before);
            first_named = false;
            alone = record[0] == CM_AUDIT_AGAIN;
            continue;
        }
        alone = false;
        const enum cm_audit_kind kind = (enum cm_audit_kind) record[0];
        const uint64_t first = cm_audit_get_be(before + 17, 8), row = cm_audit_get_be(record + 17, 8);
        if (kind == CM_AUDIT_AGAIN || superseded_at(a, row))
            continue;
        find_repeat(a, kind, row, first);
        if (is_of_certificate(kind) && !first_named && !superseded_at(a, first))
            find_repeat(a, kind, first, row);
        first_named = true;
    }
    if (alone)
        find_alone(a, cm_audit_get_be(before + 17, 8));
    return rc == CM_E_END ? CM_OK : rc;
}

static void begin_unit(struct set *set, enum cm_fleet_side side, uint32_t number)
{
    struct cm_audit *a = set->a;
    struct unit *u = &set->unit;
    struct cm_audit_side *there = &set->side[side];
    const uint32_t *known = NULL;
    char name[32];

    *u = (struct unit) { .side = side, .number = number, .tar = { .fd = -1 } };
    set->last[side] = number;
    set->any[side] = true;
    (void) snprintf(name, sizeof name, a->run->tree ? "%06u" : "%06u.tar", number);
    (void) snprintf(u->file, sizeof u->file, "%s/%s", cm_audit_side_name[side], name);
    if (there->count > 0)
        known = bsearch(&number, there->number, there->count, sizeof number, cm_audit_compare_numbers);
    if (known != NULL)
        there->named[known - there->number] = true;
    if (!a->run->tree && cm_fleet_file_open(a->fleet, side, name, true, &u->tar, NULL) != CM_OK)
        u->tar.fd = -1;
}

static void find_misplaced(struct cm_audit *a, const struct unit *u, uint64_t row, uint64_t begin,
                           const char *what)
{
    char id[128];

    id_at(a, row, id);
    cm_audit_find(a, id, row, u->file, begin + CM_TARREAD_BLOCK, "its entry %s", what);
}

/* The next stretch of a segment that rows account for. Where the rows of two don't
 * ascend, the shorter one is out of place: what moved is little, what stayed is long. */
static void take_stretch(struct set *set, const uint8_t *record)
{
    struct cm_audit *a = set->a;
    struct unit *u = &set->unit;
    const uint64_t begin = cm_audit_get_be(record + 5, 8), end = cm_audit_get_be(record + 13, 8);
    const uint64_t row = cm_audit_get_be(record + 21, 8);

    if (u->tar.fd < 0)
        return;
    if (begin > u->reached)
        walk_gap(a, u, u->reached, begin);
    if (begin < u->reached)
        find_misplaced(a, u, row, begin, "overlaps another device's");
    else if (row < u->row && u->len < end - begin)
        find_misplaced(a, u, u->row, u->begin, "is not in the order of the rows");
    else if (row < u->row)
        find_misplaced(a, u, row, begin, "is not in the order of the rows");
    u->reached = end > u->reached ? end : u->reached;
    u->row = row;
    u->begin = begin;
    u->len = end - begin;
}

static void take_name(struct set *set, const uint8_t *record)
{
    struct unit *u = &set->unit;

    if (u->names < SHARD_MAX)
        memcpy(u->name[u->names], record + 5, 16);
    else if (u->names == SHARD_MAX)
        cm_audit_find(set->a, NULL, CM_FINDING_NO_ROW, u->file, CM_FINDING_NO_OFFSET,
                      "rows name more than %d files in it", SHARD_MAX);
    u->names++;
}

static int compare_hashes(const void *a, const void *b)
{
    return memcmp(a, b, 16);
}

static cm_err take_shard_file(void *arg, const char *name, struct cm_error *err)
{
    const struct set *set = arg;
    const struct unit *u = &set->unit;
    const size_t names = u->names < SHARD_MAX ? u->names : SHARD_MAX;
    uint8_t hash[16];
    char shown[320];

    (void) err;
    cm_xxh128(name, strlen(name), hash);
    if (u->names > SHARD_MAX || bsearch(hash, u->name, names, 16, compare_hashes) != NULL)
        return CM_OK;
    (void) snprintf(shown, sizeof shown, "%s/%.256s", u->file, name);
    cm_audit_find(set->a, NULL, CM_FINDING_NO_ROW, shown, CM_FINDING_NO_OFFSET, "a file that no row names");
    return CM_OK;
}

static cm_err end_unit(struct set *set, struct cm_error *err)
{
    struct cm_audit *a = set->a;
    struct unit *u = &set->unit;
    char name[32];
    struct stat st;

    if (!set->any[u->side])
        return CM_OK;
    if (!a->run->tree) {
        /* What an unfinished segment holds behind its rows was never listed. */
        if (u->tar.fd >= 0 && !u->tar.part && u->reached <= u->tar.size)
            walk_gap(a, u, u->reached, UINT64_MAX);
        cm_fd_close(&u->tar.fd);
        return CM_OK;
    }
    (void) snprintf(name, sizeof name, "%06u", u->number);
    const int fd = cm_fleet_side_fd(a->fleet, u->side);
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISDIR(st.st_mode))
        return CM_OK; /* its rows have said that it is missing */
    return cm_dir_each(fd, name, u->file, take_shard_file, set, err);
}

static cm_err check_places(struct set *set, struct cm_error *err)
{
    const uint8_t *record = NULL;
    cm_err rc = CM_OK;

    while ((rc = cm_extsort_pop(set->a->places, &record, err)) == CM_OK) {
        const enum cm_fleet_side side = (enum cm_fleet_side) record[0];
        const uint32_t number = (uint32_t) cm_audit_get_be(record + 1, 4);
        if (!set->any[side] || number != set->unit.number || side != set->unit.side) {
            CM_TRY(end_unit(set, err));
            begin_unit(set, side, number);
        }
        if (set->a->run->tree)
            take_name(set, record);
        else
            take_stretch(set, record);
    }
    return rc == CM_E_END ? end_unit(set, err) : rc;
}

static void check_unnamed(struct set *set)
{
    struct cm_audit *a = set->a;
    char file[48];

    for (enum cm_fleet_side side = CM_FLEET_CHAINS; side <= CM_FLEET_KEYS; side++) {
        const struct cm_audit_side *s = &set->side[side];
        for (size_t i = 0; i < s->count; i++) {
            /* A run that was killed may have named a segment and not yet listed its rows. */
            if (s->named[i] || (a->unclean && (!set->any[side] || s->number[i] > set->last[side])))
                continue;
            (void) snprintf(file, sizeof file, a->run->tree ? "%s/%06u" : "%s/%06u.tar",
                            cm_audit_side_name[side], s->number[i]);
            cm_audit_find(a, NULL, CM_FINDING_NO_ROW, file, CM_FINDING_NO_OFFSET,
                          "no row names anything in it");
        }
    }
}

static void check_run(struct cm_audit *a)
{
    const struct cm_fleet_run *run = a->run;
    const uint64_t rows = atomic_load(&a->rows), bytes = cm_fleet_manifest_bytes(a->fleet);

    if (run->state == CM_FLEET_OPEN && a->sample != NULL)
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, NULL, CM_FINDING_NO_OFFSET,
                      "the run did not end cleanly: it is still under way, or was killed");
    else if (run->state == CM_FLEET_OPEN)
        cm_audit_find(
            a, NULL, CM_FINDING_NO_ROW, NULL, CM_FINDING_NO_OFFSET,
            "the run did not end cleanly: it is still under way, or was killed after %llu of %llu devices",
            (ull) rows, (ull) run->requested);
    if (run->state == CM_FLEET_OPEN)
        return;
    if (rows != run->devices + run->superseded && a->sample == NULL)
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, "run.json", CM_FINDING_NO_OFFSET,
                      "outcome.devices is %llu, outcome.superseded %llu, the manifest has %llu readable rows",
                      (ull) run->devices, (ull) run->superseded, (ull) rows);
    if (bytes != run->manifest_bytes)
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, "run.json", CM_FINDING_NO_OFFSET,
                      "outcome.manifest_bytes is %llu, the manifest has %llu", (ull) run->manifest_bytes,
                      (ull) bytes);
    if (run->state == CM_FLEET_COMPLETE && run->devices != run->requested)
        cm_audit_find(a, NULL, CM_FINDING_NO_ROW, "run.json", CM_FINDING_NO_OFFSET,
                      "complete with %llu of %llu devices", (ull) run->devices, (ull) run->requested);
}

static void set_free(struct set *set)
{
    for (size_t i = 0; i < 2; i++) {
        free(set->side[i].number);
        free(set->side[i].named);
    }
    free(set);
}

static cm_err audit_set(struct cm_audit *a, bool whole, struct cm_error *err)
{
    struct set *set = calloc(1, sizeof *set);
    cm_err rc = CM_OK;

    if (set == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the checks of the whole fleet");
    set->a = a;
    set->unit.tar.fd = -1;
    rc = cm_audit_list(a, set->side, err);
    if (rc == CM_OK && whole)
        rc = check_repeats(a, err);
    if (rc == CM_OK && whole)
        rc = check_places(set, err);
    if (rc == CM_OK && whole)
        check_unnamed(set);
    cm_fd_close(&set->unit.tar.fd);
    check_run(a);
    if (rc == CM_OK)
        rc = cm_audit_journal(a, err);
    set_free(set);
    return rc;
}

cm_err cm_audit_set(struct cm_audit *a, struct cm_error *err)
{
    return audit_set(a, true, err);
}

cm_err cm_audit_dirs(struct cm_audit *a, struct cm_error *err)
{
    return audit_set(a, false, err);
}
