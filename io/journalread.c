#include "io/journalread.h"

#include "engine/digest.h"
#include "io/file.h"
#include "io/jsonread.h"

enum { SECTOR = 512, HASH_HEX = 64, SCALE_MAX = 1 << 30 };

struct reader {
    const char *name;
    struct cm_journal_state *s;
    struct cm_digest *digest;
    struct cm_error *err;
};

#define REFUSE(r, ...) return refuse((r), CM_HERE, __VA_ARGS__)

static cm_err refuse(const struct reader *r, const char *where, const char *fmt, ...) CM_PRINTF(3, 4);

static cm_err refuse(const struct reader *r, const char *where, const char *fmt, ...)
{
    char what[200];
    va_list args;

    va_start(args, fmt);
    (void) vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return cm_fail(r->err, CM_E_INPUT, where, "%s, record %llu: %s; take the journal from a backup", r->name,
                   (unsigned long long) r->s->at.records, what);
}

/* --- fields -------------------------------------------------------------- */

static cm_err get_number(const struct reader *r, const json_t *in, const char *key, uint64_t *out)
{
    const json_t *value = json_object_get(in, key);

    if (!json_is_integer(value) || json_integer_value(value) < 0)
        REFUSE(r, "%s is not a whole number", key);
    *out = (uint64_t) json_integer_value(value);
    return CM_OK;
}

static cm_err get_text(const struct reader *r, const json_t *in, const char *key, const char **out)
{
    *out = json_string_value(json_object_get(in, key));
    if (*out == NULL)
        REFUSE(r, "%s is not a string", key);
    return CM_OK;
}

static cm_err get_array(const struct reader *r, const json_t *in, const char *key, const json_t **out)
{
    *out = json_object_get(in, key);
    if (!json_is_array(*out))
        REFUSE(r, "%s is not an array", key);
    return CM_OK;
}

/* n numbers in an array. */
static cm_err get_tuple(const struct reader *r, const json_t *in, const char *what, size_t n, uint64_t *out)
{
    bool good = json_is_array(in) && json_array_size(in) == n;

    for (size_t i = 0; good && i < n; i++) {
        const json_t *value = json_array_get(in, i);
        good =
            json_is_integer(value) && json_integer_value(value) >= 0 && json_integer_value(value) < INT64_MAX;
        out[i] = good ? (uint64_t) json_integer_value(value) : 0;
    }
    if (!good)
        REFUSE(r, "%s: not %zu whole numbers", what, n);
    return CM_OK;
}

/* Of a lowercase hex digit; else -1. */
static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static cm_err get_hex(const struct reader *r, const char *what, const char *text, uint8_t *out, size_t n)
{
    bool good = text != NULL && strlen(text) == 2 * n;

    for (size_t i = 0; good && i < 2 * n; i++) {
        const int digit = hex_value(text[i]);
        good = digit >= 0;
        if (good)
            out[i / 2] = (uint8_t) (i % 2 == 0 ? digit << 4 : out[i / 2] | digit);
    }
    if (!good)
        REFUSE(r, "%s: not %zu lowercase hex digits", what, 2 * n);
    return CM_OK;
}

/* Room for one more in an array that grows by doubling. */
static cm_err make_room(const struct reader *r, void **array, size_t count, size_t *cap, size_t size)
{
    const size_t more = *cap == 0 ? 64 : 2 * *cap;
    void *bigger = NULL;

    if (count < *cap)
        return CM_OK;
    bigger = reallocarray(*array, more, size);
    if (bigger == NULL)
        CM_FAIL(r->err, CM_E_NOMEM, "no memory for %s", r->name);
    *array = bigger;
    *cap = more;
    return CM_OK;
}

/* Ranges that must all be new to `into`. */
static cm_err add_ranges(const struct reader *r, const json_t *in, const char *key, struct cm_ranges *into)
{
    const json_t *list = NULL;
    uint64_t pair[2];

    CM_TRY(get_array(r, in, key, &list));
    for (size_t i = 0; i < json_array_size(list); i++) {
        CM_TRY(get_tuple(r, json_array_get(list, i), key, 2, pair));
        if (pair[0] > pair[1] || cm_ranges_meets(into, pair[0], pair[1]))
            REFUSE(r, "%s: a range that runs backwards, or numbers that were there before", key);
        CM_TRY(cm_ranges_add(into, pair[0], pair[1], r->err));
    }
    return CM_OK;
}

/* A list that add_ranges has checked. */
static cm_err remove_ranges(const struct reader *r, const json_t *list, struct cm_ranges *from)
{
    uint64_t pair[2];

    for (size_t i = 0; from->count > 0 && i < json_array_size(list); i++) {
        CM_TRY(get_tuple(r, json_array_get(list, i), "seqs", 2, pair));
        CM_TRY(cm_ranges_remove(from, pair[0], pair[1], r->err));
    }
    return CM_OK;
}

/* --- records -------------------------------------------------------------- */

static struct cm_journal_attempt_state *attempt_of(const struct reader *r)
{
    return &r->s->attempt[r->s->attempts - 1];
}

static cm_err take_run(const struct reader *r, json_t *record)
{
    uint64_t version = 0;

    CM_TRY(get_number(r, record, "version", &version));
    if (version != 1)
        CM_FAIL(r->err, CM_E_INPUT, "%s: format version %llu; this certmill reads version 1: use a newer one",
                r->name, (unsigned long long) version);
    r->s->run = json_incref(record);
    return CM_OK;
}

static cm_err take_attempt(const struct reader *r, json_t *record)
{
    struct cm_journal_state *s = r->s;
    const char *command = NULL;
    uint64_t number = 0, burned = 0;

    CM_TRY(get_number(r, record, "attempt", &number));
    CM_TRY(get_number(r, record, "burned_bytes", &burned));
    CM_TRY(get_text(r, record, "command", &command));
    if (number != s->attempts + 1 || burned < s->at.burned_bytes)
        REFUSE(r, "attempt: not the number that follows, or less is burned than before");
    if (s->purging)
        REFUSE(r, "attempt: while the keys are being purged");
    CM_TRY(make_room(r, (void **) &s->attempt, s->attempts, &s->attempt_cap, sizeof *s->attempt));
    s->attempt[s->attempts++] = (struct cm_journal_attempt_state) {
        .first_prefix = s->prefixes,
        .rework = strcmp(command, "reissue") == 0 || strcmp(command, "repair") == 0,
        .supersedes = s->supersedes,
    };
    s->at.attempts = number;
    s->at.burned_bytes = burned;
    s->settled = s->prefixes;
    s->ended[0] = '\0';
    return CM_OK;
}

static cm_err take_prefixes(const struct reader *r, const json_t *in)
{
    struct cm_journal_state *s = r->s;
    const json_t *list = NULL;
    uint64_t first = 0, at_most = 0;

    CM_TRY(get_number(r, in, "first", &first));
    CM_TRY(get_number(r, in, "at_most", &at_most));
    CM_TRY(get_array(r, in, "prefixes", &list));
    if (first != s->prefixes || at_most == 0 || at_most > UINT32_MAX)
        REFUSE(r, "first: not the number of the next prefix, or no certificate fits one");
    for (size_t i = 0; i < json_array_size(list); i++) {
        CM_TRY(make_room(r, (void **) &s->prefix, s->prefixes, &s->prefix_cap, sizeof *s->prefix));
        struct cm_journal_prefix *p = &s->prefix[s->prefixes++];
        p->at_most = (uint32_t) at_most;
        CM_TRY(
            get_hex(r, "prefixes", json_string_value(json_array_get(list, i)), p->octets, sizeof p->octets));
    }
    return CM_OK;
}

static cm_err take_reserve(const struct reader *r, json_t *record)
{
    return take_prefixes(r, record);
}

/* Segments only grow, and a new one has a number above all others. */
static cm_err take_unit(const struct reader *r, const json_t *tuple)
{
    struct cm_journal_state *s = r->s;
    uint64_t n[3];

    CM_TRY(get_tuple(r, tuple, "units", 3, n));
    struct cm_unit *last = s->units > 0 ? &s->unit[s->units - 1] : NULL;
    if (n[0] >= SCALE_MAX || (last != NULL && n[0] < last->number))
        REFUSE(r, "units: a segment that was left behind, or a number out of bounds");
    if (last != NULL && n[0] == last->number) {
        if (n[1] < last->chain_len || n[2] < last->key_len)
            REFUSE(r, "units: segment %u has become shorter", last->number);
    } else {
        CM_TRY(make_room(r, (void **) &s->unit, s->units, &s->unit_cap, sizeof *s->unit));
        last = &s->unit[s->units++];
    }
    *last = (struct cm_unit) { .number = (uint32_t) n[0], .chain_len = n[1], .key_len = n[2] };
    return CM_OK;
}

static cm_err take_numbers(const struct reader *r, const json_t *record, struct cm_journal_commit *c)
{
    struct cm_journal_state *s = r->s;
    const char *hex = NULL;
    uint64_t number = 0;

    CM_TRY(get_number(r, record, "commit", &number));
    CM_TRY(get_number(r, record, "devices", &c->devices));
    CM_TRY(get_number(r, record, "manifest_bytes", &c->manifest_bytes));
    CM_TRY(get_text(r, record, "rows_xxh3", &hex));
    CM_TRY(get_hex(r, "rows_xxh3", hex, c->rows_xxh3, sizeof c->rows_xxh3));
    if (number != s->commits + 1 || c->devices <= s->at.devices || c->manifest_bytes <= s->manifest_bytes)
        REFUSE(r, "commit: not what follows the one before");
    return CM_OK;
}

/* Ranges of prefixes that were added: reserved in this attempt, and not in `others`. */
static cm_err check_prefixes(const struct reader *r, const json_t *in, const char *key,
                             const struct cm_ranges *others)
{
    const json_t *list = json_object_get(in, key);

    for (size_t i = 0; i < json_array_size(list); i++) {
        uint64_t pair[2];
        CM_TRY(get_tuple(r, json_array_get(list, i), key, 2, pair));
        if (pair[0] < r->s->settled || pair[1] >= r->s->prefixes || cm_ranges_meets(others, pair[0], pair[1]))
            REFUSE(r, "%s: a prefix that this attempt did not reserve, or that was used", key);
    }
    return CM_OK;
}

static cm_err take_commit(const struct reader *r, json_t *record)
{
    struct cm_journal_state *s = r->s;
    struct cm_journal_commit c = { .attempt = s->attempts };
    const json_t *units = NULL, *reserve = json_object_get(record, "reserve");

    CM_TRY(take_numbers(r, record, &c));
    CM_TRY(get_array(r, record, "units", &units));
    for (size_t i = 0; i < json_array_size(units); i++)
        CM_TRY(take_unit(r, json_array_get(units, i)));
    CM_TRY(add_ranges(r, record, "seqs", &s->seqs));
    CM_TRY(remove_ranges(r, json_object_get(record, "seqs"), &s->again));
    CM_TRY(add_ranges(r, record, "prefixes", &s->used));
    CM_TRY(check_prefixes(r, record, "prefixes", &s->unused));
    CM_TRY(make_room(r, (void **) &s->commit, s->commits, &s->commit_cap, sizeof *s->commit));
    s->commit[s->commits++] = c;
    attempt_of(r)->devices += c.devices - s->at.devices;
    s->at.commits = s->commits;
    s->at.devices = c.devices;
    s->manifest_bytes = c.manifest_bytes;
    return json_is_null(reserve) ? CM_OK : take_prefixes(r, reserve);
}

static cm_err take_end(const struct reader *r, json_t *record)
{
    struct cm_journal_state *s = r->s;
    const char *state = NULL;
    uint64_t burned = 0;

    CM_TRY(get_text(r, record, "state", &state));
    if (strcmp(state, "complete") != 0 && strcmp(state, "stopped") != 0 && strcmp(state, "failed") != 0)
        REFUSE(r, "state: none of complete, stopped, failed");
    (void) snprintf(s->ended, sizeof s->ended, "%s", state);
    CM_TRY(get_number(r, record, "signatures", &attempt_of(r)->signatures));
    CM_TRY(get_number(r, record, "burned_bytes", &burned));
    CM_TRY(add_ranges(r, record, "unused", &s->unused));
    CM_TRY(check_prefixes(r, record, "unused", &s->used));
    if (burned < s->at.burned_bytes)
        REFUSE(r, "burned_bytes: less than before");
    s->at.burned_bytes = burned;
    s->settled = s->prefixes;
    attempt_of(r)->ended = true;
    return CM_OK;
}

/* Only what is committed can be superseded. */
static cm_err move_to_again(const struct reader *r, const struct cm_ranges *seqs)
{
    struct cm_journal_state *s = r->s;

    if (seqs->count == 0)
        REFUSE(r, "seqs: none");
    for (size_t i = 0; i < seqs->count; i++) {
        const struct cm_range *range = &seqs->at[i];
        if (cm_ranges_gap(&s->seqs, range->first) <= range->last)
            REFUSE(r, "seqs: a device that has no certificate, or was asked for again before");
        CM_TRY(cm_ranges_remove(&s->seqs, range->first, range->last, r->err));
        CM_TRY(cm_ranges_add(&s->again, range->first, range->last, r->err));
    }
    s->at.superseded += cm_ranges_size(seqs);
    return CM_OK;
}

static cm_err take_supersede(const struct reader *r, json_t *record)
{
    struct cm_journal_state *s = r->s;
    struct cm_journal_supersede *one = NULL;
    const char *reason = NULL;

    CM_TRY(get_text(r, record, "reason", &reason));
    CM_TRY(make_room(r, (void **) &s->supersede, s->supersedes, &s->supersede_cap, sizeof *s->supersede));
    one = &s->supersede[s->supersedes++];
    *one = (struct cm_journal_supersede) { .reason = strdup(reason), .manifest_bytes = s->manifest_bytes };
    if (one->reason == NULL)
        CM_FAIL(r->err, CM_E_NOMEM, "no memory for %s", r->name);
    CM_TRY(add_ranges(r, record, "seqs", &one->seqs));
    return move_to_again(r, &one->seqs);
}

static cm_err take_purge(const struct reader *r, json_t *record)
{
    struct cm_journal_state *s = r->s;
    const uint64_t end = s->units > 0 ? (uint64_t) s->unit[s->units - 1].number + 1 : 0;
    const char *state = NULL, *at = NULL;
    uint64_t before = 0;

    CM_TRY(get_text(r, record, "state", &state));
    CM_TRY(get_text(r, record, "purged_at", &at));
    CM_TRY(get_number(r, record, "before", &before));
    const bool begun = strcmp(state, "begun") == 0;
    if (!begun && strcmp(state, "done") != 0)
        REFUSE(r, "state: none of begun, done");
    if (s->ended[0] == '\0' || s->purging == begun || before > end || before < s->purged_before)
        REFUSE(r, "purge: where an attempt is under way, out of order, or of segments that there are not");
    if (!begun && before != s->purged_before)
        REFUSE(r, "before: not what the purge began with");
    s->purging = begun;
    s->purged_before = (uint32_t) before;
    (void) snprintf(s->purged_at, sizeof s->purged_at, "%s", at);
    return CM_OK;
}

static const struct {
    const char *type;
    bool in_attempt; /* only between an attempt and its end */
    cm_err (*take)(const struct reader *r, json_t *record);
} types[] = {
    { "run", false, take_run },        { "attempt", false, take_attempt },
    { "reserve", true, take_reserve }, { "commit", true, take_commit },
    { "end", true, take_end },         { "supersede", true, take_supersede },
    { "purge", false, take_purge },
};

static cm_err take(const struct reader *r, json_t *record)
{
    struct cm_journal_state *s = r->s;
    const char *type = NULL;
    uint64_t number = 0;
    size_t i = 0;

    CM_TRY(get_number(r, record, "record", &number));
    CM_TRY(get_text(r, record, "type", &type));
    if (number != s->at.records)
        REFUSE(r, "it has the number %llu", (unsigned long long) number);
    while (i < CM_COUNT(types) && strcmp(type, types[i].type) != 0)
        i++;
    if (i == CM_COUNT(types))
        CM_FAIL(r->err, CM_E_INPUT, "%s, record %llu: unknown type \"%.20s\": use a newer certmill", r->name,
                (unsigned long long) number, type);
    if ((number == 0) != (i == 0))
        REFUSE(r, "the first record, and no other, has the type run");
    if (types[i].in_attempt && (s->attempts == 0 || s->ended[0] != '\0'))
        REFUSE(r, "%s where no attempt is under way", type);
    return types[i].take(r, record);
}

/* --- the chain ----------------------------------------------------------- */

/* Length of the record that begins here, by its LF; 0: none. */
static size_t record_len(struct cm_span rest)
{
    for (size_t end = SECTOR; end <= rest.len; end += SECTOR)
        if (memchr(rest.data + end - SECTOR, '\n', SECTOR) != NULL)
            return rest.data[end - 1] == '\n' &&
                           memchr(rest.data + end - SECTOR, '\n', SECTOR) == rest.data + end - 1
                       ? end
                       : 0;
    return 0;
}

/* Is it what its hash says, behind the record before it? */
static cm_err is_sound(const struct reader *r, struct cm_span record, bool *sound, uint8_t hash[32])
{
    char hex[HASH_HEX];
    struct cm_writer w = cm_writer(hex, sizeof hex);

    CM_TRY(cm_digest_update(r->digest, r->s->at.chain, 32, r->err));
    CM_TRY(cm_digest_update(r->digest, record.data + HASH_HEX, record.len - HASH_HEX, r->err));
    CM_TRY(cm_digest_final(r->digest, hash, r->err));
    cm_put_hex(&w, hash, 32);
    *sound = memcmp(hex, record.data, HASH_HEX) == 0 && record.data[HASH_HEX] == ' ';
    return CM_OK;
}

/* Does a record begin behind the damage? It was written when the one that is damaged
 * was durable: so that is no torn tail. No record looks so within: a quotation mark in
 * the text of JSON ends a string. */
static cm_err look_behind(const struct reader *r, struct cm_span rest)
{
    static const char begin[] = " {\"record\":";

    for (size_t at = SECTOR; at + SECTOR <= rest.len; at += SECTOR) {
        const uint8_t *const here = rest.data + at;
        size_t digits = 0;
        while (digits < HASH_HEX && hex_value((char) here[digits]) >= 0)
            digits++;
        if (digits == HASH_HEX && memcmp(here + HASH_HEX, begin, sizeof begin - 1) == 0)
            REFUSE(r, "it is damaged, and records stand behind it");
    }
    return CM_OK;
}

static cm_err read_one(const struct reader *r, struct cm_span record)
{
    json_t *json = NULL;

    CM_TRY(cm_json_read(cm_span(record.data + HASH_HEX + 1, record.len - HASH_HEX - 1), &json, NULL, r->err));
    if (!json_is_object(json)) {
        json_decref(json);
        REFUSE(r, "not a JSON object");
    }
    const cm_err rc = take(r, json);
    json_decref(json);
    return rc;
}

static cm_err read_all(const struct reader *r, struct cm_span data)
{
    struct cm_journal_at *at = &r->s->at;
    uint8_t hash[32];

    while (at->length < data.len) {
        const struct cm_span rest = cm_span(data.data + at->length, data.len - at->length);
        const size_t len = record_len(rest);
        bool sound = false;
        if (len > 0)
            CM_TRY(is_sound(r, cm_span(rest.data, len), &sound, hash));
        if (!sound)
            return look_behind(r, rest);
        CM_TRY(read_one(r, cm_span(rest.data, len)));
        at->length += len;
        at->records++;
        memcpy(at->chain, hash, sizeof hash);
    }
    return CM_OK;
}

cm_err cm_journal_parse(struct cm_span data, const char *name, struct cm_journal_state *out,
                        struct cm_error *err)
{
    struct cm_journal_state s = { .file_bytes = data.len };
    struct reader r = { .name = name, .s = &s, .err = err };
    cm_err rc = cm_digest_open(&r.digest, err);

    if (rc == CM_OK)
        rc = read_all(&r, data);
    cm_digest_close(r.digest);
    if (rc == CM_OK && s.run == NULL)
        rc = CM_E_END;
    if (rc != CM_OK) {
        cm_journal_state_done(&s);
        return rc;
    }
    *out = s;
    return CM_OK;
}
