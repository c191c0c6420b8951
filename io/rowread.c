#include "io/rowread.h"

#include "engine/when.h"
#include "io/jsonread.h"

#include <jansson.h>

enum form {
    TEXT,     /* 1 to max octets */
    MAY_TEXT, /* the same, or "" */
    OR_NULL,  /* TEXT or null */
    HEX,      /* exactly max lowercase hexadecimal digits */
    SKI,      /* null, or 2 to max such digits, an even number */
    DEC,      /* decimal digits, at most max, no leading zero */
    UUID,
    TIME,
    NOTHING, /* null */
};

struct field {
    const char *key;
    size_t offset; /* of a const char * in struct cm_row */
    enum form form;
    size_t max;
};

#define AT(name) #name, offsetof(struct cm_row, name)
static const struct field fields[] = {
    { AT(run_id), UUID, 36 },         { AT(device_id), TEXT, 96 },       { AT(lot), OR_NULL, 1024 },
    { AT(sku), OR_NULL, 1024 },       { AT(order), OR_NULL, 1024 },      { AT(profile), TEXT, 1024 },
    { AT(subject), MAY_TEXT, 16384 }, { AT(certificate_id), HEX, 64 },   { AT(ca_certificate_id), HEX, 64 },
    { AT(serial), HEX, 40 },          { AT(serial_dec), DEC, 49 },       { AT(key_alg), TEXT, 64 },
    { AT(sig_alg), TEXT, 64 },        { AT(spki_sha256), HEX, 64 },      { AT(ski), SKI, 128 },
    { AT(thumbprint_sha1), HEX, 40 }, { AT(not_before), TIME, 20 },      { AT(not_after), TIME, 20 },
    { AT(minted_at), TIME, 20 },      { AT(superseded_by), NOTHING, 0 },
};
#undef AT

enum { OTHER_KEYS = 4 }; /* seq, chain, key, attributes */

static bool is_hex(const char *text, size_t len)
{
    return strspn(text, "0123456789abcdef") == len;
}

static bool is_uuid(const char *text)
{
    for (size_t i = 0; i < 36; i++) {
        const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? text[i] != '-' : memchr("0123456789abcdef", text[i], 16) == NULL)
            return false;
    }
    return true;
}

/* What is wrong with the text in this form, or NULL. */
static const char *text_fault(const struct field *f, const char *text, size_t len)
{
    cm_when when = 0;

    if (len > f->max)
        return "too long";
    if (len == 0 && f->form != MAY_TEXT)
        return "empty";
    switch (f->form) {
    case HEX:
        return len == f->max && is_hex(text, len) ? NULL : "not that many lowercase hexadecimal digits";
    case SKI:
        return len % 2 == 0 && is_hex(text, len) ? NULL : "not lowercase hexadecimal octets";
    case DEC:
        return strspn(text, "0123456789") == len && (text[0] != '0' || len == 1) ? NULL
                                                                                 : "not a decimal number";
    case UUID:
        return len == f->max && is_uuid(text) ? NULL : "not a lowercase UUID";
    case TIME:
        return len == f->max && cm_when_parse(text, &when, NULL) == CM_OK
                   ? NULL
                   : "not a time like 2027-01-31T00:00:00Z";
    default:
        return NULL;
    }
}

static cm_err read_field(const struct field *f, const json_t *root, struct cm_row *row, struct cm_error *err)
{
    const json_t *value = json_object_get(root, f->key);
    const char *fault = NULL;

    if (value == NULL)
        CM_FAIL(err, CM_E_INPUT, "%s: missing", f->key);
    if (json_is_null(value)) {
        if (f->form != OR_NULL && f->form != SKI && f->form != NOTHING)
            CM_FAIL(err, CM_E_INPUT, "%s: null", f->key);
        return CM_OK; /* the row was zeroed */
    }
    if (f->form == NOTHING)
        CM_FAIL(err, CM_E_INPUT, "%s: not null", f->key);
    if (!json_is_string(value))
        CM_FAIL(err, CM_E_INPUT, "%s: not a string", f->key);
    const char *text = json_string_value(value);
    fault = text_fault(f, text, json_string_length(value));
    if (fault != NULL)
        CM_FAIL(err, CM_E_INPUT, "%s: %s", f->key, fault);
    memcpy((char *) row + f->offset, &text, sizeof text);
    return CM_OK;
}

/* The file name that the contract gives this id: the reader's own encoding. */
static cm_err encode_name(struct cm_row *row, struct cm_error *err)
{
    struct cm_writer w = cm_writer(row->name, CM_ROW_NAME_MAX);

    for (const char *at = row->device_id; *at != '\0'; at++) {
        const uint8_t c = (uint8_t) *at;
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                           c == '-' || c == '.' || c == '_' || c == '~';
        if (plain)
            cm_put_byte(&w, c);
        else
            cm_put(&w, (const char[]) { '%', "0123456789ABCDEF"[c >> 4], "0123456789ABCDEF"[c & 15] }, 3);
    }
    if (!cm_writer_ok(&w))
        CM_FAIL(err, CM_E_INPUT, "device_id: longer than %d octets as a file name", CM_ROW_NAME_MAX);
    row->name[w.len] = '\0';
    return CM_OK;
}

/* Six digits, or more without a leading zero, at *text; moves *text behind them. */
static bool take_number(const char **text, uint32_t *out)
{
    const size_t n = strspn(*text, "0123456789");
    uint64_t value = 0;

    if (n < 6 || n > 10 || (n > 6 && (*text)[0] == '0'))
        return false;
    for (size_t i = 0; i < n; i++)
        value = value * 10 + (uint64_t) ((*text)[i] - '0');
    *text += n;
    *out = (uint32_t) value;
    return value <= UINT32_MAX;
}

/* room: chains/ or keys/. Nothing but the one name that the contract allows, so
 * that a row can't point out of the fleet. */
static bool read_file_name(const char *text, const char *room, const char *suffix, const struct cm_row *row,
                           struct cm_place *out)
{
    const size_t room_len = strlen(room), name_len = strlen(row->name);

    out->file = text;
    if (strncmp(text, room, room_len) != 0)
        return false;
    text += room_len;
    if (!take_number(&text, &out->number))
        return false;
    if (!row->tree)
        return strcmp(text, ".tar") == 0;
    return text[0] == '/' && strncmp(text + 1, row->name, name_len) == 0 &&
           strcmp(text + 1 + name_len, suffix) == 0;
}

static cm_err read_hex(const json_t *object, const char *what, const char *key, size_t digits,
                       const char **out, struct cm_error *err)
{
    const json_t *value = json_object_get(object, key);

    if (!json_is_string(value) || json_string_length(value) != digits ||
        !is_hex(json_string_value(value), digits))
        CM_FAIL(err, CM_E_INPUT, "%s.%s: not %zu lowercase hexadecimal digits", what, key, digits);
    *out = json_string_value(value);
    return CM_OK;
}

static cm_err read_place(const json_t *object, bool is_key, struct cm_row *row, struct cm_error *err)
{
    struct cm_place *out = is_key ? &row->key : &row->chain;
    const char *const what = is_key ? "key" : "chain", *const where = row->tree ? "path" : "segment";
    const json_t *file = json_object_get(object, where), *offset = json_object_get(object, "offset");
    const json_t *length = json_object_get(object, "length");
    const int64_t length_max = is_key ? CM_ROW_KEY_MAX : CM_ROW_CHAIN_MAX;

    if (!json_is_object(object) || json_object_size(object) != (row->tree ? 4 : 5))
        CM_FAIL(err, CM_E_INPUT, "%s: not an object with %s keys", what, row->tree ? "four" : "five");
    if (!json_is_string(file) || !read_file_name(json_string_value(file), is_key ? "keys/" : "chains/",
                                                 is_key ? ".key" : ".crt", row, out))
        CM_FAIL(err, CM_E_INPUT, "%s.%s: not the name of a %s of this device", what, where,
                row->tree ? "file" : "segment");
    if (!json_is_integer(length) || json_integer_value(length) < 1 || json_integer_value(length) > length_max)
        CM_FAIL(err, CM_E_INPUT, "%s.length: not a number from 1 to %lld", what, (long long) length_max);
    out->length = (uint64_t) json_integer_value(length);
    if (!row->tree) {
        const int64_t at = json_is_integer(offset) ? json_integer_value(offset) : -1;
        if (at < 512 || at % 512 != 0 || at > (INT64_C(1) << 40))
            CM_FAIL(err, CM_E_INPUT, "%s.offset: not that of the data of a tar entry", what);
        out->offset = (uint64_t) at;
    }
    CM_TRY(read_hex(object, what, "xxh3", 32, &out->xxh3, err));
    return read_hex(object, what, "sha256", 64, &out->sha256, err);
}

static cm_err read_places(struct cm_row *row, struct cm_error *err)
{
    const json_t *chain = json_object_get(row->root, "chain"), *key = json_object_get(row->root, "key");

    if (key == NULL)
        CM_FAIL(err, CM_E_INPUT, "key: missing");
    row->tree = json_object_get(chain, "path") != NULL;
    row->has_key = !json_is_null(key);
    CM_TRY(read_place(chain, false, row, err));
    if (!row->has_key)
        return CM_OK;
    CM_TRY(read_place(key, true, row, err));
    if (row->key.number != row->chain.number)
        CM_FAIL(err, CM_E_INPUT, "key: in another segment or shard than the chain");
    return CM_OK;
}

static cm_err read_attributes(struct cm_row *row, struct cm_error *err)
{
    json_t *const attributes = json_object_get(row->root, "attributes");
    json_t *value = NULL;
    const char *key = NULL;
    size_t octets = 0;

    if (!json_is_object(attributes))
        CM_FAIL(err, CM_E_INPUT, "attributes: not an object");
    if (json_object_size(attributes) > CM_ROW_ATTRIBUTES)
        CM_FAIL(err, CM_E_INPUT, "attributes: more than %d", CM_ROW_ATTRIBUTES);
    json_object_foreach(attributes, key, value)
    {
        const size_t len = strlen(key);
        if (!json_is_string(value))
            CM_FAIL(err, CM_E_INPUT, "attributes: a value is not a string");
        if (len == 0 || len > CM_ROW_ATTRIBUTE_NAME)
            CM_FAIL(err, CM_E_INPUT, "attributes: a name that is empty or longer than %d octets",
                    CM_ROW_ATTRIBUTE_NAME);
        octets += len + json_string_length(value);
    }
    if (octets > CM_ROW_ATTRIBUTES_MAX)
        CM_FAIL(err, CM_E_INPUT, "attributes: more than %d octets", CM_ROW_ATTRIBUTES_MAX);
    row->attributes = attributes;
    return CM_OK;
}

static bool has_space(struct cm_span text)
{
    bool inside = false;

    for (size_t i = 0; i < text.len; i++) {
        const uint8_t c = text.data[i];
        if (inside && c == '\\')
            i++;
        else if (c == '"')
            inside = !inside;
        else if (!inside && (c == ' ' || c == '\t' || c == '\r' || c == '\n'))
            return true;
    }
    return false;
}

static cm_err read_row(struct cm_row *row, struct cm_error *err)
{
    const json_t *seq = json_object_get(row->root, "seq");

    for (size_t i = 0; i < CM_COUNT(fields); i++)
        CM_TRY(read_field(&fields[i], row->root, row, err));
    if (json_object_size(row->root) != CM_COUNT(fields) + OTHER_KEYS)
        CM_FAIL(err, CM_E_INPUT, "it has %zu keys where the format has %zu", json_object_size(row->root),
                CM_COUNT(fields) + OTHER_KEYS);
    if (!json_is_integer(seq) || json_integer_value(seq) < 0)
        CM_FAIL(err, CM_E_INPUT, "seq: not a whole number");
    row->seq = json_integer_value(seq);
    CM_TRY(encode_name(row, err));
    CM_TRY(read_places(row, err));
    return read_attributes(row, err);
}

cm_err cm_rowread_parse(struct cm_span text, struct cm_row *out, struct cm_error *err)
{
    struct cm_row row = { 0 };
    json_error_t why;

    if (text.len >= CM_ROW_MAX)
        CM_FAIL(err, CM_E_INPUT, "longer than %d octets", CM_ROW_MAX);
    text.len = cm_rowread_len(text);
    if (has_space(text))
        CM_FAIL(err, CM_E_INPUT, "white space outside strings");
    CM_TRY(cm_json_read(text, &row.root, &why, err));
    if (row.root == NULL)
        CM_FAIL(err, CM_E_INPUT, "not JSON at octet %d: %s", why.position, why.text);
    cm_err rc = CM_OK;
    if (!json_is_object(row.root))
        rc = cm_fail(err, CM_E_INPUT, CM_HERE, "not a JSON object");
    else
        rc = read_row(&row, err);
    if (rc != CM_OK)
        cm_rowread_done(&row);
    else
        *out = row;
    return rc;
}

/* The last row of a commit is followed by spaces up to its LF. */
size_t cm_rowread_len(struct cm_span text)
{
    while (text.len > 0 && text.data[text.len - 1] == ' ')
        text.len--;
    return text.len;
}

void cm_rowread_done(struct cm_row *row)
{
    json_decref(row->root);
    *row = (struct cm_row) { 0 };
}

/* The string that follows the first `key` at or behind *text; false when there is
 * none or when it has an escape. */
static bool peek_string(struct cm_span text, const char *key, struct cm_span *out)
{
    const size_t key_len = strlen(key);
    const uint8_t *at = memmem(text.data, text.len, key, key_len);

    if (at == NULL)
        return false;
    at += key_len;
    const uint8_t *end = memchr(at, '"', (size_t) (text.data + text.len - at));
    if (end == NULL || memchr(at, '\\', (size_t) (end - at)) != NULL)
        return false;
    *out = cm_span(at, (size_t) (end - at));
    return out->len > 0;
}

/* The key with its quotes can't stand inside a string, where a quote has a
 * backslash before it. No object and no free text comes before device_id, and
 * attributes, the only object with keys of its own, after certificate_id. */
bool cm_rowread_peek(struct cm_span text, struct cm_span *device_id, struct cm_span *certificate_id)
{
    static const char start[] = "{\"run_id\":\"";

    return text.len > sizeof start && memcmp(text.data, start, sizeof start - 1) == 0 &&
           peek_string(text, ",\"device_id\":\"", device_id) &&
           peek_string(text, ",\"certificate_id\":\"", certificate_id) && certificate_id->len == 64 &&
           device_id->data < certificate_id->data;
}
