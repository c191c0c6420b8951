#include "cli/audit_device.h"

#include "engine/der.h"

/* --- the request ---------------------------------------------------------- */

static void read_columns(const json_t *request, struct cm_audit_device *out)
{
    const json_t *const columns = json_object_get(request, "columns");
    const char *const id = json_string_value(json_object_get(request, "id_column"));

    out->has_columns = json_is_null(columns) || json_is_array(columns);
    for (size_t i = 0; i < json_array_size(columns) && i < CM_COLUMNS_MAX; i++) {
        const char *const name = json_string_value(json_array_get(columns, i));
        out->column[out->columns.count++] = name != NULL ? name : "";
    }
    out->columns.name = out->column;
    out->columns.id = cm_columns_find(&out->columns, cm_span_str(id != NULL ? id : ""));
}

/* Can it be made again from a row? */
static bool is_told(const struct cm_pattern *p)
{
    return !cm_pattern_uses(p, CM_PIECE_UUID);
}

static void read_subject(const char *text, struct cm_audit_device *out)
{
    out->has_subject = text != NULL && cm_name_parse(text, &out->columns, &out->subject, NULL) == CM_OK;
    for (size_t i = 0; out->has_subject && i < out->subject.count; i++)
        out->has_subject = is_told(&out->subject.attr[i].field.text);
}

/* Up to the next comma; one inside braces belongs to a column's name. */
static size_t item_len(const char *text)
{
    bool braces = false;
    size_t n = 0;

    for (; text[n] != '\0' && (braces || text[n] != ','); n++)
        braces = text[n] == '{' || (braces && text[n] != '}');
    return n;
}

/* "DNS:{id}.example.com" */
static bool read_name(const char *text, size_t len, const struct cm_columns *columns,
                      struct cm_audit_san *out)
{
    static const struct {
        const char *type;
        uint8_t tag;
    } types[] = { { "email:", 0x81 }, { "DNS:", 0x82 }, { "URI:", 0x86 } };
    char value[CM_PATTERN_TEXT];

    for (size_t i = 0; i < CM_COUNT(types); i++) {
        const size_t n = strlen(types[i].type);
        if (len <= n || len - n >= sizeof value || memcmp(text, types[i].type, n) != 0)
            continue;
        memcpy(value, text + n, len - n);
        value[len - n] = '\0';
        out->tag = types[i].tag;
        return strcmp(value, "copy") != 0 && strcmp(value, "move") != 0 &&
               strpbrk(value, " \t\"\\") == NULL &&
               cm_pattern_parse(value, true, columns, &out->text, NULL) == CM_OK && is_told(&out->text);
    }
    return false;
}

static void read_san(const char *text, struct cm_audit_device *out)
{
    out->has_san = text != NULL;
    while (out->has_san && *text != '\0') {
        const size_t len = item_len(text);
        const bool critical = len == 8 && memcmp(text, "critical", 8) == 0;
        if (!critical &&
            (out->sans == CM_AUDIT_SANS || !read_name(text, len, &out->columns, &out->san[out->sans++])))
            out->has_san = false;
        text += len;
        text += *text == ',';
    }
}

void cm_audit_device_read(const json_t *request, struct cm_audit_device *out)
{
    const char *const mac = json_string_value(json_object_get(request, "mac_base"));
    const json_int_t start = json_integer_value(json_object_get(request, "start"));

    out->start = start > 0 ? (uint64_t) start : 0;
    out->mac_base = mac != NULL ? strtoull(mac, NULL, 16) : 0;
    read_columns(request, out);
    read_subject(json_string_value(json_object_get(request, "subject")), out);
    read_san(json_string_value(json_object_get(request, "san")), out);
}

/* --- a row ---------------------------------------------------------------- */

/* The row's values in the order of the columns. False: it has others. */
static bool values_of(const struct cm_audit_device *d, const struct cm_row *row, struct cm_span *column,
                      struct cm_values *out)
{
    json_t *const attributes = (json_t *) (uintptr_t) row->attributes;
    const uint64_t seq = (uint64_t) row->seq;
    const char *key = NULL;
    json_t *value = NULL;
    size_t i = 0;

    if (json_object_size(attributes) != d->columns.count)
        return false;
    json_object_foreach(attributes, key, value)
    {
        if (strcmp(key, d->column[i]) != 0)
            return false;
        column[i++] = cm_span(json_string_value(value), json_string_length(value));
    }
    *out = (struct cm_values) { .id = cm_span_str(row->device_id),
                                .seq = seq,
                                .mac = (d->mac_base + seq - d->start) & ((1ull << 48) - 1),
                                .column = column };
    return true;
}

static bool subject_differs(const struct cm_audit_device *d, const struct cm_row *row,
                            const struct cm_values *v)
{
    uint8_t text[CM_NAME_TEXT];
    struct cm_writer w = cm_writer(text, sizeof text);

    if (!d->has_subject)
        return false;
    cm_name_put_text(&d->subject, v, &w);
    return !cm_writer_ok(&w) || !cm_span_eq(cm_span(text, w.len), cm_span_str(row->subject));
}

void cm_audit_device_check(const struct cm_audit_device *d, const struct cm_row *row,
                           cm_audit_device_report *report, void *arg)
{
    struct cm_span column[CM_COLUMNS_MAX];
    struct cm_values v;

    if (d->has_columns && !values_of(d, row, column, &v)) {
        report(arg, "attributes: not the columns of the device list");
        return;
    }
    if (!d->has_columns && !values_of(d, row, column, &v))
        return;
    if (d->columns.id < d->columns.count && !cm_span_eq(column[d->columns.id], v.id))
        report(arg, "attributes: the id column's value is not device_id");
    if (subject_differs(d, row, &v))
        report(arg, "subject: not what was asked");
}

struct cm_span cm_audit_device_san(const struct cm_audit_device *d, const struct cm_row *row, uint8_t *buf)
{
    struct cm_span column[CM_COLUMNS_MAX];
    struct cm_der der = cm_der(buf, CM_AUDIT_SAN_MAX);
    struct cm_values v;

    if (!d->has_san || !values_of(d, row, column, &v))
        return (struct cm_span) { 0 };
    for (size_t i = d->sans; i-- > 0;) {
        char text[CM_PATTERN_OUT];
        struct cm_writer w = cm_writer(text, sizeof text);
        cm_pattern_put(&d->san[i].text, &v, &w);
        der.overflow |= w.overflow;
        cm_der_raw(&der, text, w.len);
        cm_der_header(&der, d->san[i].tag, w.len);
    }
    return cm_der_ok(&der) ? cm_der_span(&der) : (struct cm_span) { 0 };
}
