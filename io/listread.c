#include "engine/ident.h"
#include "io/file.h"
#include "io/listread_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const format_names[] = { "auto", "lines", "csv", "ndjson" };

/* --- the file ------------------------------------------------------------ */

static cm_err open_file(struct cm_listread *l, struct cm_error *err)
{
    struct stat st;

    l->fd = open(l->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (l->fd < 0)
        CM_FAIL(err, errno == ENOENT ? CM_E_INPUT : CM_E_IO, "can't open the device list %s%s", l->path,
                errno == ENOENT ? ": there is no such file" : "");
    if (fstat(l->fd, &st) != 0 || !S_ISREG(st.st_mode))
        CM_FAIL(err, CM_E_INPUT,
                "the device list %s is not a regular file; it is read twice, so a pipe won't do", l->path);
    return cm_digest_open(&l->digest, err);
}

static cm_err read_file(void *arg, uint8_t *buf, size_t cap, size_t *got, struct cm_error *err)
{
    struct cm_listread *const l = arg;
    ssize_t n = 0;

    do
        n = read(l->fd, buf, cap);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        CM_FAIL(err, CM_E_IO, "can't read %s", l->path);
    *got = (size_t) n;
    return cm_digest_update(l->digest, buf, *got, err);
}

static bool has_suffix(const char *path, const char *suffix)
{
    const size_t len = strlen(path), n = strlen(suffix);

    return len > n && strcasecmp(path + len - n, suffix) == 0;
}

static cm_err format_of(const char *path, enum cm_list_format *out, struct cm_error *err)
{
    static const char *const others[] = { ".json", ".tsv", ".xls", ".xlsx", ".ods", ".xml" };

    for (size_t i = 0; i < CM_COUNT(others); i++)
        if (has_suffix(path, others[i]))
            CM_FAIL(
                err, CM_E_USAGE,
                "the device list %s is no CSV, NDJSON or list of ids by its name (%s): convert it, or say "
                "with --devices-format what it is",
                path, others[i]);
    *out = has_suffix(path, ".csv")                                    ? CM_LIST_CSV
           : has_suffix(path, ".ndjson") || has_suffix(path, ".jsonl") ? CM_LIST_NDJSON
                                                                       : CM_LIST_LINES;
    return CM_OK;
}

/* --- values -------------------------------------------------------------- */

/* Printable ASCII but '"' and '\\': its own JSON, and UTF-8. */
static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

/* What is wrong with text as a value, or NULL: is it UTF-8 without NUL? *json: its octets as a
 * JSON string. */
static const char *text_fault(struct cm_span text, size_t *json)
{
    uint32_t code = 0;

    *json = text.len;
    for (size_t i = 0, n = 0; i < text.len; i += n) {
        n = is_plain(text.data[i]) ? 1 : cm_utf8_next(text.data + i, text.len - i, &code);
        if (n == 0)
            return "it is not UTF-8";
        if (text.data[i] == 0)
            return "it holds a zero octet";
        if (n == 1 && !is_plain(text.data[i]))
            *json += text.data[i] < 0x20 ? 5 : text.data[i] == '"' || text.data[i] == '\\';
    }
    return NULL;
}

static const char *why(struct cm_listread *l, const char *column, const char *reason)
{
    (void) snprintf(l->why, sizeof l->why, "column \"%s\": %s", column, reason);
    return l->why;
}

/* l->value, as it was read, becomes the row's. */
static void take_values(struct cm_listread *l, struct cm_list_row *row)
{
    row->attributes_len = l->braces;
    for (size_t i = 0; i < l->columns.count; i++) {
        size_t json = 0;
        const char *const fault = text_fault(l->value[i], &json);
        if (fault != NULL) {
            row->fault = why(l, l->columns.name[i], fault);
            return;
        }
        row->attributes_len += json;
    }
    if (row->attributes_len > CM_ATTRIBUTES_MAX) {
        (void) snprintf(l->why, sizeof l->why, "its columns take %zu octets as JSON; %d are the most",
                        row->attributes_len, CM_ATTRIBUTES_MAX);
        row->fault = l->why;
        return;
    }
    row->value = l->value;
    row->id = l->value[l->columns.id];
}

/* --- rows, by format ------------------------------------------------------ */

static cm_err next_line(struct cm_listread *l, struct cm_list_row *row, struct cm_error *err)
{
    CM_TRY(cm_lineread_next(l->lines, &row->raw, &row->line, err));
    row->id = row->raw;
    return CM_OK;
}

static cm_err next_csv(struct cm_listread *l, struct cm_list_row *row, struct cm_error *err)
{
    struct cm_csv_record rec;

    CM_TRY(cm_csvread_next(l->csv, &rec, err));
    row->line = rec.line;
    row->raw = rec.raw;
    row->fault = rec.fault;
    if (row->fault == NULL && cm_span_eq(rec.raw, l->header))
        row->fault = "it repeats the header";
    if (row->fault == NULL && rec.fields != l->columns.count) {
        (void) snprintf(l->why, sizeof l->why, "%zu field%s where the header has %zu", rec.fields,
                        rec.fields == 1 ? "" : "s", l->columns.count);
        row->fault = l->why;
    }
    if (row->fault != NULL)
        return CM_OK;
    memcpy(l->value, rec.field, rec.fields * sizeof l->value[0]);
    take_values(l, row);
    return CM_OK;
}

/* The fields of the object in the order of the columns. Most objects have it already. */
static const char *order_fields(struct cm_listread *l)
{
    const struct cm_flatjson *const o = l->object;
    bool seen[CM_COLUMNS_MAX] = { false };
    char shown[100];

    for (size_t i = 0; i < o->fields; i++) {
        const bool here = i < l->columns.count && cm_span_eq(o->key[i], cm_span_str(l->name[i]));
        const size_t at = here ? i : cm_columns_find(&l->columns, o->key[i]);
        if (at == l->columns.count) {
            (void) snprintf(l->why, sizeof l->why, "the first object has no key \"%s\"",
                            cm_printable(o->key[i], shown, sizeof shown));
            return l->why;
        }
        if (seen[at])
            return why(l, l->name[at], "its key stands twice");
        seen[at] = true;
        l->value[at] = o->value[i];
    }
    for (size_t i = 0; i < l->columns.count; i++)
        if (!seen[i])
            return why(l, l->name[i], "its key is missing");
    return NULL;
}

static cm_err next_ndjson(struct cm_listread *l, struct cm_list_row *row, struct cm_error *err)
{
    CM_TRY(cm_lineread_next(l->lines, &row->raw, &row->line, err));
    row->fault = cm_flatjson_parse(row->raw, l->text, l->object);
    if (row->fault == NULL)
        row->fault = order_fields(l);
    if (row->fault == NULL)
        take_values(l, row);
    return CM_OK;
}

cm_err cm_listread_next(struct cm_listread *l, struct cm_list_row *out, struct cm_error *err)
{
    struct cm_list_row row = { 0 };

    CM_TRY(l->format == CM_LIST_CSV      ? next_csv(l, &row, err)
           : l->format == CM_LIST_NDJSON ? next_ndjson(l, &row, err)
                                         : next_line(l, &row, err));
    *out = row;
    return CM_OK;
}

/* --- opening --------------------------------------------------------------- */

static cm_err read_header(struct cm_listread *l, struct cm_error *err)
{
    struct cm_csv_record rec;

    const cm_err rc = cm_csvread_next(l->csv, &rec, err);
    if (rc == CM_E_END)
        CM_FAIL(err, CM_E_INPUT, "%s has no header row, which names the columns", l->path);
    CM_TRY(rc);
    if (rec.fault != NULL)
        CM_FAIL(err, CM_E_INPUT, "%s, line %llu: the header can't be read: %s", l->path,
                (unsigned long long) rec.line, rec.fault);
    if (rec.fields == 1 && (memchr(rec.field[0].data, ';', rec.field[0].len) != NULL ||
                            memchr(rec.field[0].data, '\t', rec.field[0].len) != NULL))
        CM_FAIL(err, CM_E_INPUT,
                "%s, line %llu: the header is divided by semicolons or tabs; CSV takes commas: save it so",
                l->path, (unsigned long long) rec.line);
    if (l->header.data != NULL)
        return CM_OK; /* another reading: that the file is the same, its hash tells */
    char *const header = strndup((const char *) rec.raw.data, rec.raw.len);
    if (header == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory for the columns of %s", l->path);
    l->header = cm_span(header, rec.raw.len);
    return cm_listread_set_columns(l, rec.field, rec.fields, rec.line, err);
}

/* The first object is a row, too. */
static cm_err read_keys(struct cm_listread *l, struct cm_error *err)
{
    struct cm_span text;
    uint64_t line = 0;

    const cm_err rc = cm_lineread_next(l->lines, &text, &line, err);
    if (rc == CM_E_END)
        CM_FAIL(err, CM_E_INPUT, "%s holds no device", l->path);
    CM_TRY(rc);
    const char *const fault = cm_flatjson_parse(text, l->text, l->object);
    if (fault != NULL)
        CM_FAIL(err, CM_E_INPUT, "%s, line %llu: %s; its keys would be the columns", l->path,
                (unsigned long long) line, fault);
    CM_TRY(cm_listread_set_columns(l, l->object->key, l->object->fields, line, err));
    return cm_listread_restart(l, err);
}

static cm_err open_reader(struct cm_listread *l, struct cm_error *err)
{
    if (l->format == CM_LIST_CSV) {
        CM_TRY(cm_csvread_open(l->path, read_file, l, &l->csv, err));
        return read_header(l, err);
    }
    CM_TRY(cm_lineread_open(l->path, read_file, l, &l->lines, err));
    if (l->format == CM_LIST_LINES)
        return CM_OK;
    l->object = malloc(sizeof *l->object);
    l->text = malloc(CM_LINE_MAX);
    if (l->object == NULL || l->text == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory to read %s", l->path);
    return read_keys(l, err);
}

cm_err cm_listread_open(const char *path, enum cm_list_format format, const char *id_column,
                        struct cm_listread **out, struct cm_error *err)
{
    struct cm_listread *const l = calloc(1, sizeof *l);

    if (l == NULL)
        CM_FAIL(err, CM_E_NOMEM, "no memory to read %s", path);
    l->path = path;
    l->fd = -1;
    l->format = format;
    cm_err rc = format == CM_LIST_AUTO ? format_of(path, &l->format, err) : CM_OK;
    if (rc == CM_OK)
        rc = open_file(l, err);
    if (rc == CM_OK)
        rc = open_reader(l, err);
    if (rc == CM_OK && l->format != CM_LIST_LINES)
        rc = cm_listread_choose_id(l, id_column, err);
    else if (rc == CM_OK && id_column != NULL)
        rc = cm_fail(err, CM_E_USAGE, CM_HERE,
                     "%s is read as one id a line and has no columns, so --id-column makes no sense; say "
                     "--devices-format csv or ndjson",
                     path);
    if (rc != CM_OK)
        cm_listread_close(l);
    else
        *out = l;
    return rc;
}

cm_err cm_listread_restart(struct cm_listread *l, struct cm_error *err)
{
    if (lseek(l->fd, 0, SEEK_SET) != 0)
        CM_FAIL(err, CM_E_IO, "can't read %s again", l->path);
    CM_TRY(cm_digest_restart(l->digest, err));
    if (l->format != CM_LIST_CSV) {
        cm_lineread_restart(l->lines);
        return CM_OK;
    }
    cm_csvread_restart(l->csv);
    return read_header(l, err);
}

cm_err cm_listread_sha256(struct cm_listread *l, uint8_t out[32], struct cm_error *err)
{
    return cm_digest_final(l->digest, out, err);
}

void cm_listread_close(struct cm_listread *l)
{
    if (l == NULL)
        return;
    for (size_t i = 0; i < l->columns.count; i++)
        free((void *) (uintptr_t) l->name[i]);
    free((void *) (uintptr_t) l->header.data);
    free(l->object);
    free(l->text);
    cm_csvread_close(l->csv);
    cm_lineread_close(l->lines);
    cm_digest_close(l->digest);
    cm_fd_close(&l->fd);
    free(l);
}

enum cm_list_format cm_listread_format(const struct cm_listread *l)
{
    return l->format;
}

const char *cm_listread_format_name(const struct cm_listread *l)
{
    return format_names[l->format];
}

const struct cm_columns *cm_listread_columns(const struct cm_listread *l)
{
    return l->format == CM_LIST_LINES ? NULL : &l->columns;
}

struct cm_span cm_listread_header(const struct cm_listread *l)
{
    return l->header;
}
