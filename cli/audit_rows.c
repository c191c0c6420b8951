#include "cli/audit_impl.h"
#include "engine/xxh.h"
#include "io/file.h"
#include "io/journalread.h"
#include "io/readat.h"

typedef unsigned long long ull;

enum { COMMIT_ALIGN = 4096 };

static const struct cm_place *place_of(const struct cm_audit_slot *s, enum cm_fleet_side side)
{
    return side == CM_FLEET_KEYS ? &s->row.key : &s->row.chain;
}

/* Is there a key to check? Not where it was purged, or is expected to be elsewhere. */
static bool has_key(const struct cm_audit_lane *lane, const struct cm_audit_slot *s)
{
    const struct cm_audit *a = lane->audit;

    return a->run->keys && !a->conf->keys_absent && !cm_fleet_key_purged(a->fleet, &s->row);
}

static void find(struct cm_audit_lane *lane, struct cm_audit_slot *s, enum cm_fleet_side side,
                 const char *what)
{
    const struct cm_place *p = place_of(s, side);

    s->damaged = true;
    if (s->superseded)
        return;
    cm_audit_find(lane->audit, s->row.device_id, s->at, p->file, p->offset, "%s: %s",
                  side == CM_FLEET_KEYS ? "key" : "chain", what);
}

static void find_in_row(struct cm_audit_lane *lane, const struct cm_audit_slot *s, const char *what)
{
    cm_audit_find(lane->audit, s->row.device_id, s->at, "manifest.ndjson", s->at, "%s", what);
}

/* What all rows of a run have in common. */
static void check_common(struct cm_audit_lane *lane, const struct cm_audit_slot *s)
{
    const struct cm_fleet_run *run = lane->audit->run;
    const struct cm_row *row = &s->row;
    const char *const label[CM_FLEET_LABELS] = { row->lot, row->sku, row->order };

    if (strcmp(row->ca_certificate_id, run->ca_certificate_id) != 0)
        find_in_row(lane, s, "ca_certificate_id: not that of run.json");
    for (size_t i = 0; i < CM_FLEET_LABELS; i++) {
        const struct cm_fleet_label *want = &run->label[i];
        char what[48];
        if (!want->known ||
            (want->null ? label[i] == NULL : label[i] != NULL && strcmp(label[i], want->text) == 0))
            continue;
        (void) snprintf(what, sizeof what, "%s: not that of run.json", cm_fleet_label_name(i));
        find_in_row(lane, s, what);
    }
}

struct about_row {
    struct cm_audit_lane *lane;
    const struct cm_audit_slot *slot;
};

static void take_about_row(void *arg, const char *what)
{
    const struct about_row *about = arg;

    find_in_row(about->lane, about->slot, what);
}

/* A row against the run. False: it can't be followed further. */
static bool row_fits_run(struct cm_audit_lane *lane, const struct cm_audit_slot *s)
{
    const struct cm_fleet_run *run = lane->audit->run;
    const struct cm_row *row = &s->row;
    const uint64_t seq = (uint64_t) row->seq;

    if (strcmp(row->run_id, run->run_id) != 0)
        find_in_row(lane, s, "run_id: not that of run.json");
    if (strcmp(row->profile, run->profile) != 0)
        find_in_row(lane, s, "profile: not that of run.json");
    check_common(lane, s);
    cm_asked_check(lane->audit->asked, row, take_about_row, &(struct about_row) { lane, s });
    if (seq < run->start || seq - run->start >= run->requested)
        find_in_row(lane, s, "seq: a number that the request does not have");
    if (row->has_key != run->keys)
        find_in_row(lane, s, row->has_key ? "key: the run wrote none" : "key: null, but the run wrote keys");
    if (row->tree != run->tree)
        find_in_row(lane, s, "chain: not in the layout of run.json");
    return row->has_key == run->keys && row->tree == run->tree;
}

static void classify(struct cm_audit_lane *lane, struct cm_audit_slot *s)
{
    struct cm_audit *const a = lane->audit;

    s->superseded = cm_journal_superseded(cm_fleet_journal(a->fleet), (uint64_t) s->row.seq, s->at) != NULL;
    atomic_fetch_add(&a->superseded, s->superseded);
    atomic_fetch_add(&a->keys_absent, a->run->keys && !has_key(lane, s));
}

/* The lines of the chunk, parsed, into the slots. */
static cm_err parse_lines(struct cm_audit_lane *lane, struct cm_error *err)
{
    struct cm_error why;

    lane->slots = 0;
    for (size_t i = 0; i < lane->lines; i++) {
        const struct cm_audit_line *line = &lane->line[i];
        struct cm_audit_slot *s = &lane->slot[lane->slots];

        *s = (struct cm_audit_slot) { .at = line->offset };
        const size_t spaces = line->text.len - cm_rowread_len(line->text);
        if (spaces > 0 && (spaces >= COMMIT_ALIGN || (line->offset + line->text.len + 1) % COMMIT_ALIGN != 0))
            cm_audit_find(lane->audit, NULL, line->offset, "manifest.ndjson", line->offset,
                          "spaces behind the row that are not the end of a commit");
        const cm_err rc = cm_rowread_parse(line->text, &s->row, &why);
        if (rc == CM_E_NOMEM)
            CM_FAIL(err, CM_E_NOMEM, "%s", why.what);
        if (rc != CM_OK)
            cm_audit_find(lane->audit, NULL, line->offset, "manifest.ndjson", line->offset,
                          "a row that can't be read: %s", why.what);
        else if (row_fits_run(lane, s))
            classify(lane, &lane->slot[lane->slots++]);
        else
            cm_rowread_done(&s->row);
    }
    return CM_OK;
}

/* XXH3-128 stands for what it is taken of: an accident makes no two equal ones. */
static void note_id(struct cm_audit_lane *lane, enum cm_audit_kind kind, const void *data, size_t len,
                    uint64_t at)
{
    uint8_t *record = lane->ids[lane->ids_count++];

    record[0] = (uint8_t) kind;
    if (kind == CM_AUDIT_SEQ) {
        memset(record + 1, 0, 16);
        memcpy(record + 1, data, len);
    } else {
        cm_xxh128(data, len, record + 1);
    }
    cm_audit_put_be(record + 17, at, 8);
}

/* The rows of a device that was superseded must have one id. */
static void note_again(struct cm_audit_lane *lane, const struct cm_audit_slot *s)
{
    const uint64_t seq = (uint64_t) s->row.seq;
    char text[CM_ROW_NAME_MAX + 32];

    if (cm_journal_superseded(cm_fleet_journal(lane->audit->fleet), seq, 0) == NULL)
        return;
    const int len = snprintf(text, sizeof text, "%llu/%s", (ull) seq, s->row.name);
    note_id(lane, CM_AUDIT_AGAIN, text, (size_t) len, s->at);
}

static void note_ids(struct cm_audit_lane *lane, const struct cm_audit_slot *s,
                     const struct cm_audit_ids *ids)
{
    static const struct cm_audit_ids none;
    uint8_t seq[8];

    atomic_fetch_add(&lane->audit->keys_encrypted, ids->key_encrypted);

    if (lane->audit->sample != NULL)
        return;
    cm_audit_put_be(seq, (uint64_t) s->row.seq, sizeof seq);
    if (!s->superseded) {
        note_id(lane, CM_AUDIT_SEQ, seq, sizeof seq, s->at);
        note_id(lane, CM_AUDIT_ID, s->row.device_id, strlen(s->row.device_id), s->at);
    }
    note_again(lane, s);
    if (memcmp(ids->serial, none.serial, sizeof none.serial) != 0)
        note_id(lane, CM_AUDIT_SERIAL, ids->serial, sizeof ids->serial, s->at);
    if (memcmp(ids->spki_sha256, none.spki_sha256, sizeof none.spki_sha256) != 0)
        note_id(lane, CM_AUDIT_SPKI, ids->spki_sha256, sizeof ids->spki_sha256, s->at);
    for (size_t i = 0; i < CM_COUNT(ids->prime_sha256); i++)
        if (memcmp(ids->prime_sha256[i], none.prime_sha256[i], sizeof none.prime_sha256[i]) != 0)
            note_id(lane, CM_AUDIT_PRIME, ids->prime_sha256[i], sizeof ids->prime_sha256[i], s->at);
}

/* Room for the 16 octets that tell the place. */
static uint8_t *note_place(struct cm_audit_lane *lane, enum cm_fleet_side side, uint32_t number, uint64_t at)
{
    uint8_t *record = lane->places[lane->places_count++];

    record[0] = (uint8_t) side;
    cm_audit_put_be(record + 1, number, 4);
    cm_audit_put_be(record + 21, at, 8);
    return record + 5;
}

struct reporting {
    struct cm_audit_lane *lane;
    struct cm_audit_slot *slot;
};

static void take_report(void *arg, const struct cm_evidence *ev, const char *what)
{
    const struct reporting *r = arg;
    const bool about_key = strncmp(what, "key:", 4) == 0 && r->slot->row.has_key;
    const struct cm_place *p = place_of(r->slot, about_key ? CM_FLEET_KEYS : CM_FLEET_CHAINS);

    (void) ev;
    r->slot->damaged = true;
    if (r->slot->superseded)
        return;
    cm_audit_find(r->lane->audit, r->slot->row.device_id, r->slot->at, p->file, p->offset, "%s", what);
}

static void judge(struct cm_audit_lane *lane, struct cm_audit_slot *s)
{
    const bool keyed = has_key(lane, s);
    const struct cm_row *row = &s->row;
    uint8_t san[CM_AUDIT_SAN_MAX];
    const struct cm_evidence ev = {
        .facts = { .device_id = row->device_id,
                   .subject = row->subject,
                   .certificate_id = row->certificate_id,
                   .ca_certificate_id = row->ca_certificate_id,
                   .serial = row->serial,
                   .serial_dec = row->serial_dec,
                   .key_alg = row->key_alg,
                   .sig_alg = row->sig_alg,
                   .spki_sha256 = row->spki_sha256,
                   .ski = row->ski,
                   .thumbprint_sha1 = row->thumbprint_sha1,
                   .not_before = row->not_before,
                   .not_after = row->not_after,
                   .chain_xxh3 = row->chain.xxh3,
                   .chain_sha256 = row->chain.sha256,
                   .key_xxh3 = keyed ? row->key.xxh3 : NULL,
                   .key_sha256 = keyed ? row->key.sha256 : NULL,
                   .san = cm_asked_san(lane->audit->asked, row, san),
                   .der = lane->audit->run->der,
                   .may_outlive_ca = lane->audit->run->may_outlive_ca },
        .chain = s->stored[CM_FLEET_CHAINS],
        .key = s->stored[CM_FLEET_KEYS],
    };
    struct reporting r = { .lane = lane, .slot = s };
    struct cm_audit_ids ids = { 0 };

    if (s->usable)
        (void) cm_audit(lane->auditor, &ev, take_report, &r, &ids);
    note_ids(lane, s, &ids);
    atomic_fetch_add(&lane->audit->damaged, s->superseded && s->damaged);
    atomic_fetch_add(&lane->audit->rows, 1);
}

static uint8_t *window_of(const struct cm_audit_lane *lane, enum cm_fleet_side side, size_t *cap)
{
    *cap = side == CM_FLEET_KEYS ? lane->keys.cap : CM_AUDIT_WINDOW;
    return side == CM_FLEET_KEYS ? lane->keys.base : lane->window;
}

/* Opens the segment unless it is the one that was read last. False: it can't be. */
static bool open_segment(struct cm_audit_lane *lane, enum cm_fleet_side side, uint32_t number,
                         struct cm_error *why)
{
    struct cm_fleet_file *file = &lane->file[side];
    char name[32];

    if (file->fd >= 0 && lane->file_number[side] == number)
        return true;
    cm_fd_close(&file->fd);
    (void) snprintf(name, sizeof name, "%06u.tar", number);
    const cm_err rc = cm_fleet_file_open(lane->audit->fleet, side, name, true, file, why);
    if (rc == CM_E_END)
        (void) snprintf(why->what, sizeof why->what, "the segment is missing");
    lane->file_number[side] = number;
    return rc == CM_OK;
}

/* The header in front of a bundle or key, and the zeros behind it. */
static void check_entry(struct cm_audit_lane *lane, struct cm_audit_slot *s, enum cm_fleet_side side,
                        const uint8_t *header)
{
    const struct cm_place *p = place_of(s, side);
    const size_t length = (size_t) p->length, blocks = (size_t) cm_tarread_blocks(length);
    const char *const suffix = side == CM_FLEET_KEYS ? ".key" : ".crt";
    const size_t stem = strlen(s->row.name);
    struct cm_tarread t;
    struct cm_error why;

    if (cm_tarread_header(header, p->offset - CM_TARREAD_BLOCK, &t, &why) != CM_OK) {
        find(lane, s, side, why.what);
        return;
    }
    if (t.kind != CM_TARREAD_ENTRY)
        find(lane, s, side, "padding where the row has an entry");
    else if (strncmp(t.name, s->row.name, stem) != 0 || strcmp(t.name + stem, suffix) != 0)
        find(lane, s, side, "the entry has another name");
    if (t.size != length)
        find(lane, s, side, "the entry has another length than the row says");
    if (t.mode != (side == CM_FLEET_KEYS ? 0600 : 0644))
        find(lane, s, side, "the entry has another mode than the format says");
    if (t.mtime != lane->audit->run->created_at)
        find(lane, s, side, "the entry's time is not the start of the run");
    if (!cm_tarread_is_zero(cm_span(header + CM_TARREAD_BLOCK + length, blocks - length)))
        find(lane, s, side, "something stands between the entry's end and its block's");
}

static uint64_t begin_of(const struct cm_place *p)
{
    return p->offset - CM_TARREAD_BLOCK;
}

static uint64_t end_of(const struct cm_place *p)
{
    return p->offset + cm_tarread_blocks(p->length);
}

/* One side of the devices slot[first] to slot[last]: one pread, then entry by entry. */
static void load_side(struct cm_audit_lane *lane, enum cm_fleet_side side, size_t first, size_t last)
{
    const uint64_t begin = begin_of(place_of(&lane->slot[first], side));
    const struct cm_place *p = place_of(&lane->slot[last], side);
    const size_t len = (size_t) (end_of(p) - begin);
    const struct cm_fleet_file *file = &lane->file[side];
    struct cm_error why = { 0 };
    size_t cap = 0, got = 0;
    uint8_t *const window = window_of(lane, side, &cap);

    CM_ASSERT(len <= cap);
    const bool opened = open_segment(lane, side, p->number, &why);
    const bool read = opened && cm_read_at(file->fd, p->file, window, len, begin, &got, &why) == CM_OK;
    atomic_fetch_add(&lane->audit->octets, got);
    for (size_t i = first; i <= last; i++) {
        struct cm_audit_slot *s = &lane->slot[i];
        p = place_of(s, side);
        uint8_t *const header = window + (begin_of(p) - begin);
        if (!read || end_of(p) - begin > got) {
            s->usable = false;
            find(lane, s, side, read ? "the segment ends before the entry does" : why.what);
            continue;
        }
        check_entry(lane, s, side, header);
        s->stored[side] = cm_span(header + CM_TARREAD_BLOCK, (size_t) p->length);
    }
    if (lane->audit->sample == NULL) {
        uint8_t *const where = note_place(lane, side, p->number, lane->slot[first].at);
        cm_audit_put_be(where, begin, 8);
        cm_audit_put_be(where + 8, begin + len, 8);
    }
}

/* May slot[next] be read together with slot[first] to slot[next - 1]? Not over a
 * gap, be it padding: what no row names is judged when all rows are known. */
static bool goes_on(const struct cm_audit_lane *lane, enum cm_fleet_side side, size_t first, size_t next)
{
    const struct cm_place *a = place_of(&lane->slot[first], side), *b = place_of(&lane->slot[next], side);
    const uint64_t end = end_of(place_of(&lane->slot[next - 1], side));
    size_t cap = 0;

    (void) window_of(lane, side, &cap);
    return a->number == b->number && begin_of(b) == end && end_of(b) - begin_of(a) <= cap;
}

static void audit_tar(struct cm_audit_lane *lane)
{
    for (size_t first = 0, next = 0; first < lane->slots; first = next) {
        const bool keys = has_key(lane, &lane->slot[first]);
        next = first + 1;
        while (next < lane->slots && goes_on(lane, CM_FLEET_CHAINS, first, next) &&
               has_key(lane, &lane->slot[next]) == keys &&
               (!keys || goes_on(lane, CM_FLEET_KEYS, first, next)))
            next++;
        load_side(lane, CM_FLEET_CHAINS, first, next - 1);
        if (keys)
            load_side(lane, CM_FLEET_KEYS, first, next - 1);
        for (size_t i = first; i < next; i++)
            judge(lane, &lane->slot[i]);
    }
}

/* One file of the tree layout. */
static void load_file(struct cm_audit_lane *lane, struct cm_audit_slot *s, enum cm_fleet_side side)
{
    const struct cm_place *p = place_of(s, side);
    const char *const name = strchr(p->file, '/') + 1, *const base = strchr(name, '/') + 1;
    struct cm_fleet_file file = { .fd = -1 };
    struct cm_error why;
    size_t cap = 0, got = 0;
    uint8_t *const window = window_of(lane, side, &cap);

    if (lane->audit->sample == NULL)
        cm_xxh128(base, strlen(base), note_place(lane, side, p->number, s->at));
    cm_err rc = cm_fleet_file_open(lane->audit->fleet, side, name, false, &file, &why);
    if (rc == CM_OK)
        rc = cm_read_at(file.fd, p->file, window, (size_t) p->length, 0, &got, &why);
    cm_fd_close(&file.fd);
    atomic_fetch_add(&lane->audit->octets, got);
    s->usable = s->usable && rc == CM_OK && got == p->length && file.size == got;
    if (rc != CM_OK)
        find(lane, s, side, rc == CM_E_END ? "the file is missing" : why.what);
    else if (file.size != p->length)
        find(lane, s, side, "the file has another length than the row says");
    if (rc == CM_OK && side == CM_FLEET_KEYS && file.mode != 0600)
        find(lane, s, side, "the file's mode is not 0600: chmod 600 it, and think about who could read it");
    s->stored[side] = cm_span(window, got);
}

static void audit_tree(struct cm_audit_lane *lane)
{
    for (size_t i = 0; i < lane->slots; i++) {
        load_file(lane, &lane->slot[i], CM_FLEET_CHAINS);
        if (has_key(lane, &lane->slot[i]))
            load_file(lane, &lane->slot[i], CM_FLEET_KEYS);
        judge(lane, &lane->slot[i]);
    }
}

cm_err cm_audit_rows(struct cm_audit_lane *lane, struct cm_error *err)
{
    const cm_err rc = parse_lines(lane, err);

    for (size_t i = 0; i < lane->slots; i++)
        lane->slot[i].usable = true;
    if (rc == CM_OK && lane->audit->run->tree)
        audit_tree(lane);
    else if (rc == CM_OK)
        audit_tar(lane);
    for (size_t i = 0; i < lane->slots; i++)
        cm_rowread_done(&lane->slot[i].row);
    CM_TRY(rc);
    return cm_audit_note(lane, err);
}
