#include "io/rowview.h"

#include "engine/ident.h"
#include "engine/when.h"
#include "io/jsontext.h"

#include <jansson.h>

enum { TIMES = 3, ATTRIBUTES = CM_ROW_ATTRIBUTES < 64 ? CM_ROW_ATTRIBUTES : 64 };

struct cm_rowview_reader {
    struct cm_row row; /* what the strict reader made of the last row */
    char *attributes;
    char time[TIMES][21]; /* that were found to be right: most rows of a run repeat them */
    char run_id[36];      /* the same */
    uint8_t scratch[CM_ROW_MAX];
};

/* --- the quick way -------------------------------------------------------- */

struct cursor {
    const uint8_t *at, *end;
    struct cm_writer scratch;
    struct cm_rowview_reader *reader;
    bool ok;
};

static void expect(struct cursor *c, const char *text, size_t len)
{
    c->ok = c->ok && (size_t) (c->end - c->at) >= len && memcmp(c->at, text, len) == 0;
    c->at += c->ok ? len : 0;
}
#define EXPECT(c, lit) expect((c), "" lit, sizeof(lit) - 1)

static bool next_is(const struct cursor *c, const char *text, size_t len)
{
    return c->ok && (size_t) (c->end - c->at) >= len && memcmp(c->at, text, len) == 0;
}

static bool is_plain(uint8_t b)
{
    return b >= 0x20 && b < 0x80 && b != '"' && b != '\\';
}

/* The escape at c->at: what it stands for into the scratch. Only the contract's. */
static void unescape(struct cursor *c)
{
    const size_t left = (size_t) (c->end - c->at);

    if (left >= 2 && (c->at[1] == '"' || c->at[1] == '\\')) {
        cm_put_byte(&c->scratch, c->at[1]);
        c->at += 2;
        return;
    }
    if (left >= 6 && memcmp(c->at, "\\u00", 4) == 0 && (c->at[4] == '0' || c->at[4] == '1')) {
        static const char digits[16] = "0123456789abcdef";
        const char *digit = memchr(digits, c->at[5], sizeof digits);
        const int value = digit != NULL ? (c->at[4] - '0') * 16 + (int) (digit - digits) : 0;
        cm_put_byte(&c->scratch, (uint8_t) value);
        c->at += 6;
        c->ok = value != 0; /* no NUL */
        return;
    }
    c->ok = false;
}

/* A character beyond ASCII, if it is UTF-8. */
static void skip_wide(struct cursor *c)
{
    uint32_t code = 0;
    const size_t n = cm_utf8_next(c->at, (size_t) (c->end - c->at), &code);

    c->ok = n > 0;
    c->at += n;
}

/* The rest of a string behind its opening quote, and the closing one. */
static struct cm_span text(struct cursor *c, size_t max)
{
    const uint8_t *from = c->at;
    const size_t before = c->scratch.len;
    bool escaped = false;

    while (c->ok && c->at < c->end && *c->at != '"') {
        if (is_plain(*c->at)) {
            const uint8_t *at = c->at + 1; /* not in memory: most octets of a row come by here */
            while (at < c->end && is_plain(*at))
                at++;
            c->at = at;
        } else if (*c->at == '\\') {
            cm_put(&c->scratch, from, (size_t) (c->at - from));
            unescape(c);
            from = c->at;
            escaped = true;
        } else if (*c->at >= 0x80) {
            skip_wide(c);
        } else {
            c->ok = false;
        }
    }
    struct cm_span out = cm_span(from, (size_t) (c->at - from));
    if (escaped) {
        cm_put_span(&c->scratch, out);
        out = cm_span(c->scratch.data + before, c->scratch.len - before);
    }
    EXPECT(c, "\"");
    c->ok = c->ok && out.len <= max && cm_writer_ok(&c->scratch);
    return out;
}

static struct cm_span some_text(struct cursor *c, size_t max)
{
    const struct cm_span out = text(c, max);

    c->ok = c->ok && out.len > 0;
    return out;
}

static struct cm_span text_or_null(struct cursor *c, size_t max)
{
    if (next_is(c, "null", 4)) {
        c->at += 4;
        return cm_span(NULL, 0);
    }
    EXPECT(c, "\"");
    return some_text(c, max);
}

/* len octets of the class, and the closing quote. */
static struct cm_span hex(struct cursor *c, size_t len)
{
    const struct cm_span out = cm_span(c->at, len);
    uint8_t bad = 0;

    if (!c->ok || (size_t) (c->end - c->at) < len) {
        c->ok = false;
        return out;
    }
    for (size_t i = 0; i < len; i++) {
        const uint8_t digit = (uint8_t) (out.data[i] - '0'), letter = (uint8_t) (out.data[i] - 'a');
        bad |= (uint8_t) ((digit > 9) & (letter > 5));
    }
    c->ok = bad == 0;
    c->at += len;
    EXPECT(c, "\"");
    return out;
}

static struct cm_span uuid(struct cursor *c)
{
    const struct cm_span out = cm_span(c->at, 36);

    c->ok = c->ok && c->end - c->at > 36;
    const bool known = c->ok && memcmp(c->reader->run_id, out.data, 36) == 0;
    for (size_t i = 0; c->ok && !known && i < 36; i++) {
        const uint8_t digit = (uint8_t) (out.data[i] - '0'), letter = (uint8_t) (out.data[i] - 'a');
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        c->ok = dash ? out.data[i] == '-' : digit <= 9 || letter <= 5;
    }
    if (c->ok && !known)
        memcpy(c->reader->run_id, out.data, 36);
    c->at += c->ok ? 36 : 0;
    EXPECT(c, "\"");
    return out;
}

static struct cm_span ski(struct cursor *c)
{
    if (next_is(c, "null", 4)) {
        c->at += 4;
        return cm_span(NULL, 0);
    }
    EXPECT(c, "\"");
    return hex(c, 40); /* any other length is the strict reader's */
}

static struct cm_span decimal(struct cursor *c, size_t max)
{
    const uint8_t *from = c->at;

    while (c->ok && c->at < c->end && *c->at >= '0' && *c->at <= '9')
        c->at++;
    const size_t len = (size_t) (c->at - from);
    c->ok = c->ok && len > 0 && len <= max && (from[0] != '0' || len == 1);
    return cm_span(from, len);
}

static int64_t number(struct cursor *c, int64_t min, int64_t max)
{
    const struct cm_span digits = decimal(c, 18); /* 63 bits, whatever they are */
    int64_t out = 0;

    for (size_t i = 0; c->ok && i < digits.len; i++)
        out = out * 10 + (digits.data[i] - '0');
    c->ok = c->ok && out >= min && out <= max;
    return out;
}

/* kept: where the last good one of this key is. */
static struct cm_span time_of(struct cursor *c, size_t kept)
{
    char *const last = c->reader->time[kept];
    const struct cm_span out = text(c, 20);
    cm_when when = 0;

    if (!c->ok || out.len != 20) {
        c->ok = false;
    } else if (memcmp(last, out.data, 20) != 0) {
        memcpy(last, out.data, 20);
        c->ok = cm_when_parse(last, &when, NULL) == CM_OK;
        last[0] = c->ok ? last[0] : '\0';
    }
    return out;
}

/* room: "chains/" or "keys/". Six digits and more are the strict reader's. */
static struct cm_span segment(struct cursor *c, const char *room, size_t room_len)
{
    const uint8_t *from = c->at;

    expect(c, room, room_len);
    for (size_t i = 0; c->ok && i < 6; i++) {
        c->ok = c->at < c->end && *c->at >= '0' && *c->at <= '9';
        c->at += c->ok;
    }
    EXPECT(c, ".tar");
    const struct cm_span out = cm_span(from, (size_t) (c->at - from));
    EXPECT(c, "\"");
    return out;
}

struct place {
    struct cm_span file, xxh3, sha256;
    int64_t offset, length;
};

static void read_place(struct cursor *c, const char *room, size_t room_len, int64_t length_max,
                       struct place *out)
{
    EXPECT(c, "{\"segment\":\"");
    out->file = segment(c, room, room_len);
    EXPECT(c, ",\"offset\":");
    out->offset = number(c, 512, INT64_C(1) << 40);
    c->ok = c->ok && out->offset % 512 == 0;
    EXPECT(c, ",\"length\":");
    out->length = number(c, 1, length_max);
    EXPECT(c, ",\"xxh3\":\"");
    out->xxh3 = hex(c, 32);
    EXPECT(c, ",\"sha256\":\"");
    out->sha256 = hex(c, 64);
    EXPECT(c, "}");
}

static void read_places(struct cursor *c, struct cm_rowview *v)
{
    struct place p = { .offset = -1, .length = -1 };

    EXPECT(c, ",\"chain\":");
    read_place(c, "chains/", 7, CM_ROW_CHAIN_MAX, &p);
    v->chain_file = p.file;
    v->chain_xxh3 = p.xxh3;
    v->chain_sha256 = p.sha256;
    v->chain_offset = p.offset;
    v->chain_length = p.length;
    EXPECT(c, ",\"key\":");
    p = (struct place) { .offset = -1, .length = -1 };
    if (next_is(c, "null", 4))
        c->at += 4;
    else
        read_place(c, "keys/", 5, CM_ROW_KEY_MAX, &p);
    v->key_file = p.file;
    v->key_xxh3 = p.xxh3;
    v->key_sha256 = p.sha256;
    v->key_offset = p.offset;
    v->key_length = p.length;
    c->ok = c->ok && (p.length < 0 || memcmp(v->chain_file.data + 7, v->key_file.data + 5, 6) == 0);
}

/* An object of strings, no key twice. */
static struct cm_span read_attributes(struct cursor *c)
{
    const uint8_t *from = c->at;
    struct cm_span key[ATTRIBUTES];
    size_t octets = 0;

    EXPECT(c, "{");
    for (size_t n = 0; c->ok && !next_is(c, "}", 1); n++) {
        if (n > 0)
            EXPECT(c, ",");
        EXPECT(c, "\"");
        const struct cm_span k = some_text(c, CM_ROW_ATTRIBUTE_NAME);
        EXPECT(c, ":\"");
        octets += k.len + text(c, CM_ROW_ATTRIBUTES_MAX).len;
        c->ok = c->ok && n < ATTRIBUTES && octets <= CM_ROW_ATTRIBUTES_MAX;
        for (size_t i = 0; c->ok && i < n; i++)
            c->ok = !cm_span_eq(key[i], k);
        if (c->ok)
            key[n] = k;
    }
    EXPECT(c, "}");
    return cm_span(from, (size_t) (c->at - from));
}

static void read_facts(struct cursor *c, struct cm_rowview *v)
{
    EXPECT(c, "{\"run_id\":\"");
    v->run_id = uuid(c);
    EXPECT(c, ",\"seq\":");
    v->seq = number(c, 0, INT64_MAX);
    EXPECT(c, ",\"device_id\":\"");
    v->device_id = some_text(c, CM_ID_MAX);
    EXPECT(c, ",\"lot\":");
    v->lot = text_or_null(c, 1024);
    EXPECT(c, ",\"sku\":");
    v->sku = text_or_null(c, 1024);
    EXPECT(c, ",\"order\":");
    v->order = text_or_null(c, 1024);
    EXPECT(c, ",\"profile\":\"");
    v->profile = some_text(c, 1024);
    EXPECT(c, ",\"subject\":\"");
    v->subject = text(c, 16384);
    EXPECT(c, ",\"certificate_id\":\"");
    v->certificate_id = hex(c, 64);
    EXPECT(c, ",\"ca_certificate_id\":\"");
    v->ca_certificate_id = hex(c, 64);
    EXPECT(c, ",\"serial\":\"");
    v->serial = hex(c, 40);
    EXPECT(c, ",\"serial_dec\":\"");
    v->serial_dec = decimal(c, 49);
    EXPECT(c, "\",\"key_alg\":\"");
    v->key_alg = some_text(c, 64);
    EXPECT(c, ",\"sig_alg\":\"");
    v->sig_alg = some_text(c, 64);
    EXPECT(c, ",\"spki_sha256\":\"");
    v->spki_sha256 = hex(c, 64);
    EXPECT(c, ",\"ski\":");
    v->ski = ski(c);
    EXPECT(c, ",\"thumbprint_sha1\":\"");
    v->thumbprint_sha1 = hex(c, 40);
    EXPECT(c, ",\"not_before\":\"");
    v->not_before = time_of(c, 0);
    EXPECT(c, ",\"not_after\":\"");
    v->not_after = time_of(c, 1);
}

/* As a file name the id may be longer than it is: such an id is the strict reader's. */
static bool fits_name(struct cm_span id)
{
    char name[CM_ROW_NAME_MAX];
    struct cm_writer w = cm_writer(name, sizeof name);

    if (id.len <= CM_ROW_NAME_MAX / 3)
        return true;
    cm_put_id_name(&w, id);
    return cm_writer_ok(&w);
}

bool cm_rowview_quick(struct cm_rowview_reader *r, struct cm_span line, struct cm_rowview *out)
{
    struct cursor c = { .at = line.data, .end = line.data + line.len, .reader = r, .ok = true };

    if (line.len >= CM_ROW_MAX)
        return false;
    c.scratch = cm_writer(r->scratch, sizeof r->scratch);
    read_facts(&c, out);
    read_places(&c, out);
    EXPECT(&c, ",\"minted_at\":\"");
    out->minted_at = time_of(&c, 2);
    EXPECT(&c, ",\"attributes\":");
    out->attributes = read_attributes(&c);
    EXPECT(&c, ",\"superseded_by\":null}");
    while (c.ok && c.at < c.end && *c.at == ' ')
        c.at++;
    return c.ok && c.at == c.end && fits_name(out->device_id);
}

/* --- the strict way -------------------------------------------------------- */

static struct cm_span span_of(const char *text_or_none)
{
    return text_or_none != NULL ? cm_span_str(text_or_none) : cm_span(NULL, 0);
}

void cm_rowview_of(const struct cm_row *row, struct cm_span attributes, struct cm_rowview *out)
{
    *out = (struct cm_rowview) {
        .seq = row->seq,
        .run_id = span_of(row->run_id),
        .device_id = span_of(row->device_id),
        .lot = span_of(row->lot),
        .sku = span_of(row->sku),
        .order = span_of(row->order),
        .profile = span_of(row->profile),
        .subject = span_of(row->subject),
        .certificate_id = span_of(row->certificate_id),
        .ca_certificate_id = span_of(row->ca_certificate_id),
        .serial = span_of(row->serial),
        .serial_dec = span_of(row->serial_dec),
        .key_alg = span_of(row->key_alg),
        .sig_alg = span_of(row->sig_alg),
        .spki_sha256 = span_of(row->spki_sha256),
        .ski = span_of(row->ski),
        .thumbprint_sha1 = span_of(row->thumbprint_sha1),
        .not_before = span_of(row->not_before),
        .not_after = span_of(row->not_after),
        .minted_at = span_of(row->minted_at),
        .chain_file = span_of(row->chain.file),
        .chain_xxh3 = span_of(row->chain.xxh3),
        .chain_sha256 = span_of(row->chain.sha256),
        .chain_offset = row->tree ? -1 : (int64_t) row->chain.offset,
        .chain_length = (int64_t) row->chain.length,
        .key_file = span_of(row->key.file),
        .key_xxh3 = span_of(row->key.xxh3),
        .key_sha256 = span_of(row->key.sha256),
        .key_offset = row->has_key && !row->tree ? (int64_t) row->key.offset : -1,
        .key_length = row->has_key ? (int64_t) row->key.length : -1,
        .attributes = attributes,
    };
}

static void forget(struct cm_rowview_reader *r)
{
    cm_rowread_done(&r->row);
    free(r->attributes);
    r->attributes = NULL;
}

cm_err cm_rowview_open(struct cm_rowview_reader **out, struct cm_error *err)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for reading the manifest");
    return CM_OK;
}

void cm_rowview_close(struct cm_rowview_reader *r)
{
    if (r == NULL)
        return;
    forget(r);
    free(r);
}

cm_err cm_rowview_read(struct cm_rowview_reader *r, struct cm_span line, struct cm_rowview *out,
                       struct cm_error *err)
{
    size_t len = 0;

    if (cm_rowview_quick(r, line, out))
        return CM_OK;
    forget(r);
    CM_TRY(cm_rowread_parse(line, &r->row, err));
    r->attributes = cm_json_text(r->row.attributes, JSON_COMPACT, &len);
    if (r->attributes == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for a row");
    cm_rowview_of(&r->row, cm_span(r->attributes, len), out);
    return CM_OK;
}
