#include "engine/row.h"
#include "io/export_impl.h"

#include "io/awslimits.h"

#include <ctype.h>
#include <jansson.h>

/* Line ends in their short form: PEM is full of them. */
void cm_put_json_span(struct cm_writer *w, struct cm_span text)
{
    const uint8_t *lf = NULL;

    cm_put_byte(w, '"');
    while (text.len > 0 && (lf = memchr(text.data, '\n', text.len)) != NULL) {
        const size_t line = (size_t) (lf - text.data);
        cm_put_json(w, cm_span(text.data, line));
        cm_put_lit(w, "\\n");
        text = cm_span(lf + 1, text.len - line - 1);
    }
    cm_put_json(w, text);
    cm_put_byte(w, '"');
}

void cm_put_json_string(struct cm_writer *w, const char *text)
{
    if (text == NULL)
        cm_put_lit(w, "null");
    else
        cm_put_json_span(w, cm_span_str(text));
}

void cm_put_member(struct cm_writer *w, const char *key, const char *value)
{
    if (w->len > 0 && w->data[w->len - 1] != '{')
        cm_put_byte(w, ',');
    cm_put_json_string(w, key);
    cm_put_byte(w, ':');
    cm_put_json_string(w, value);
}

/* text, every `quote` in it doubled. */
static void put_doubled(struct cm_writer *w, struct cm_span text, uint8_t quote)
{
    cm_put_byte(w, quote);
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == quote)
            cm_put_byte(w, quote);
        cm_put_byte(w, text.data[i]);
    }
    cm_put_byte(w, quote);
}

/* White space at an end is quoted too: some readers trim what is not. */
void cm_put_csv(struct cm_writer *w, struct cm_span text)
{
    bool plain = text.len == 0 || (!isspace(text.data[0]) && !isspace(text.data[text.len - 1]));

    for (size_t i = 0; plain && i < text.len; i++)
        plain = memchr(",\"\r\n;", text.data[i], 5) == NULL;
    if (plain)
        cm_put_span(w, text);
    else
        put_doubled(w, text, '"');
}

void cm_put_sql(struct cm_writer *w, struct cm_span text)
{
    put_doubled(w, text, '\'');
}

const char *cm_export_value(const struct cm_row *row, const char *column)
{
    const char *const label[CM_FLEET_LABELS] = { row->lot, row->sku, row->order };
    const char *const value = json_string_value(json_object_get(row->attributes, column));

    for (size_t i = 0; value == NULL && i < CM_FLEET_LABELS; i++)
        if (strcmp(column, cm_fleet_label_name(i)) == 0)
            return label[i];
    return value;
}

void cm_put_arn(const struct cm_export *x, struct cm_writer *w, const char *kind, const char *id)
{
    const struct cm_export_options *o = x->options;
    const char *const part[] = {
        "arn:", o->partition, ":iot:", o->region, ":", o->account, ":", kind, "/", id
    };

    for (size_t i = 0; i < CM_COUNT(part); i++)
        cm_put_str(w, part[i]);
}

bool cm_export_fits(const char *text, const char *others, size_t min, size_t max)
{
    const size_t len = strlen(text);

    for (size_t i = 0; i < len; i++)
        if (!(text[i] >= '0' && text[i] <= '9') && !(text[i] >= 'A' && text[i] <= 'Z') &&
            !(text[i] >= 'a' && text[i] <= 'z') && strchr(others, text[i]) == NULL)
            return false;
    return len >= min && len <= max;
}

/* One "TYPE=value" of an RFC 4514 text, unescaped; false at the end. */
static bool next_part(const char **at, char type[64], struct cm_writer *value)
{
    const size_t type_len = strcspn(*at, "=");
    const char *in = *at + type_len;

    if (*in == '\0')
        return false;
    (void) snprintf(type, 64, "%.*s", (int) (type_len < 63 ? type_len : 63), *at);
    for (in++; *in != '\0' && *in != ',' && *in != '+'; in++) {
        unsigned octet = 0;
        if (*in == '\\' && isxdigit((unsigned char) in[1]) && isxdigit((unsigned char) in[2]) &&
            sscanf(in + 1, "%2x", &octet) == 1) {
            cm_put_byte(value, (uint8_t) octet);
            in += 2;
            continue;
        }
        if (*in == '\\' && in[1] != '\0')
            in++;
        cm_put_byte(value, (uint8_t) *in);
    }
    *at = *in != '\0' ? in + 1 : in;
    return true;
}

void cm_subject_read(const char *subject, struct cm_subject *out)
{
    static const char *const name[CM_SUBJECT_TYPES] = { "C", "O", "OU", "dnQualifier", "ST", "CN" };
    char type[64], text[CM_EXPORT_KEY];

    *out = (struct cm_subject) { 0 };
    for (struct cm_writer value = cm_writer(text, sizeof text - 1); next_part(&subject, type, &value);
         value = cm_writer(text, sizeof text - 1)) {
        text[value.len] = '\0';
        for (unsigned i = 0; i < CM_SUBJECT_TYPES; i++)
            if (strcmp(type, name[i]) == 0)
                out->types |= 1u << i;
        if (strcmp(type, "CN") == 0 && out->cn[0] == '\0' && cm_writer_ok(&value))
            memcpy(out->cn, text, value.len + 1);
    }
}

bool cm_export_judge_thing(const char *name, const char *what, char why[CM_EXPORT_WHY])
{
    if (cm_aws_thing_name(name))
        return true;
    (void) snprintf(why, CM_EXPORT_WHY,
                    "its %s is no name for a thing: AWS IoT takes A-Z a-z 0-9 : _ -, at most 128 of them",
                    what);
    return false;
}

bool cm_export_judge_cn(struct cm_export *x, const struct cm_row *row, char why[CM_EXPORT_WHY])
{
    struct cm_subject subject;

    (void) x;
    cm_subject_read(row->subject, &subject);
    if (subject.cn[0] != '\0')
        return cm_export_judge_thing(subject.cn, "CN", why);
    (void) snprintf(why, CM_EXPORT_WHY, "its certificate has no CN, which would be the thing's name");
    return false;
}

const char *cm_export_cn(const struct cm_export *x, const struct cm_row *row, char key[CM_EXPORT_KEY])
{
    struct cm_subject subject;

    (void) x;
    cm_subject_read(row->subject, &subject);
    memcpy(key, subject.cn, sizeof subject.cn);
    return key;
}
