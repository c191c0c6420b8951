#include "io/export_impl.h"

#include "engine/pem.h"
#include "engine/pemread.h"
#include "engine/xxh.h"
#include "io/awslimits.h"
#include "io/bundle.h"
#include "io/extsort.h"
#include "io/fleet_walk.h"
#include "io/jsontext.h"
#include "io/leafread.h"

#include <ctype.h>
#include <jansson.h>

typedef unsigned long long ull;

static const struct cm_export_format *const formats[] = {
    &cm_export_aws_bulk,     &cm_export_aws_jitp,  &cm_export_allow_list,  &cm_export_thingpress,
    &cm_export_azure_iothub, &cm_export_azure_dps, &cm_export_thingsboard, &cm_export_espressif,
    &cm_export_rainmaker,    &cm_export_csv,       &cm_export_json,        &cm_export_sql,
};

enum { UNIQUE_RECORD = 24 }; /* XXH3-128 of a name, offset of its row */

const char *cm_export_format_name(size_t i)
{
    return i < CM_COUNT(formats) ? formats[i]->name : NULL;
}

/* ---- the first walk: would the importer take it? ---- */

struct judging {
    struct cm_export *x;
    const struct cm_export_format *format;
    struct cm_extsort *names; /* of `unique`; NULL without */
    struct cm_export_result *result;
};

static void refuse(const struct judging *j, const char *device_id, const char *why)
{
    j->result->refused++;
    j->x->conf->refused(j->x->conf->arg, device_id, why);
}

static cm_err note_columns(struct cm_export *x, const struct cm_row *row, struct cm_error *err)
{
    const char *key = NULL;
    json_t *value = NULL;

    json_object_foreach(cm_json_each(row->attributes), key, value)
    {
        size_t i = 0;
        while (i < x->columns && strcmp(x->column[i], key) != 0)
            i++;
        if (i < x->columns)
            continue;
        if (x->columns == CM_EXPORT_COLUMNS)
            CM_FAIL(err, CM_E_INPUT, "the attributes have more than %d different names; export to json",
                    CM_EXPORT_COLUMNS);
        x->column[i] = strdup(key);
        if (x->column[i] == NULL)
            CM_FAIL(err, CM_E_NOMEM, "out of memory for the names of columns");
        x->columns++;
    }
    return CM_OK;
}

static cm_err note_name(const struct judging *j, const struct cm_row *row, struct cm_error *err)
{
    char key[CM_EXPORT_KEY];
    uint8_t record[UNIQUE_RECORD];

    (void) j->format->unique(j->x, row, key);
    for (char *c = key; j->format->unique_folded && *c != '\0'; c++)
        *c = (char) tolower((unsigned char) *c);
    cm_xxh128(key, strlen(key), record);
    memcpy(record + 16, &row->at, 8);
    return cm_extsort_push(j->names, record, err);
}

static cm_err judge_row(const struct judging *j, const struct cm_row *row, struct cm_error *err)
{
    char why[CM_EXPORT_WHY] = "";

    j->x->devices++;
    if (j->format->columns)
        CM_TRY(note_columns(j->x, row, err));
    if (j->format->judge != NULL && !j->format->judge(j->x, row, why))
        refuse(j, row->device_id, why);
    else if (j->names != NULL)
        CM_TRY(note_name(j, row, err));
    return CM_OK;
}

/* Two devices of one name: the importer would take the second for the first. */
static cm_err judge_names(const struct judging *j, struct cm_error *err)
{
    uint8_t last[UNIQUE_RECORD] = { 0 };
    const uint8_t *record = NULL;
    cm_err rc = CM_OK;

    for (bool first = true; (rc = cm_extsort_pop(j->names, &record, err)) == CM_OK; first = false) {
        if (!first && memcmp(last, record, 16) == 0) {
            struct cm_row row = { 0 }, other = { 0 };
            char why[CM_EXPORT_WHY], key[CM_EXPORT_KEY];
            uint64_t at[2];
            memcpy(&at[0], last + 16, 8);
            memcpy(&at[1], record + 16, 8);
            rc = cm_fleet_row_at(j->x->fleet, at[0], &other, NULL, err);
            if (rc == CM_OK)
                rc = cm_fleet_row_at(j->x->fleet, at[1], &row, NULL, err);
            if (rc == CM_OK) {
                (void) snprintf(why, sizeof why, "%.40s is its name there, and that of %.60s%s",
                                j->format->unique(j->x, &row, key), other.device_id,
                                j->format->unique_folded ? "; case makes no difference" : "");
                refuse(j, row.device_id, why);
            }
            cm_rowread_done(&other);
            cm_rowread_done(&row);
            CM_TRY(rc);
        }
        memcpy(last, record, UNIQUE_RECORD);
    }
    return rc == CM_E_END ? CM_OK : rc;
}

static cm_err stopped(const struct cm_export *x, struct cm_error *err)
{
    if (x->conf->stop(x->conf->arg))
        CM_FAIL(err, CM_E_CLOSED, "stopped; nothing of the export is left");
    return CM_OK;
}

static cm_err judge_all(const struct judging *j, struct cm_error *err)
{
    struct cm_fleet_walk *walk = NULL;
    const struct cm_row *row = NULL;
    cm_err rc = CM_OK;

    CM_TRY(cm_fleet_walk_open(j->x->fleet, &walk, err));
    while (rc == CM_OK && (rc = cm_fleet_walk_next(walk, &row, err)) == CM_OK) {
        rc = judge_row(j, row, err);
        if (rc == CM_OK)
            rc = stopped(j->x, err);
    }
    j->result->superseded = cm_fleet_walk_superseded(walk);
    cm_fleet_walk_close(walk);
    if (rc == CM_E_END)
        rc = j->names != NULL ? judge_names(j, err) : CM_OK;
    return rc;
}

static cm_err judge(struct cm_export *x, const struct cm_export_format *format,
                    struct cm_export_result *result, struct cm_error *err)
{
    struct judging j = { .x = x, .format = format, .result = result };

    if (format->unique != NULL)
        CM_TRY(cm_extsort_open(x->conf->tmp_dir, UNIQUE_RECORD, CM_EXTSORT_MEMORY, &j.names, err));
    const cm_err rc = judge_all(&j, err);
    cm_extsort_close(j.names);
    CM_TRY(rc);
    if (result->refused > 0)
        CM_FAIL(err, CM_E_INPUT, "%llu of %llu devices can't be exported to %s; nothing was written",
                (ull) result->refused, (ull) x->devices, format->name);
    if (x->devices == 0)
        CM_FAIL(err, CM_E_INPUT, "%s has no committed device: there is nothing to export",
                cm_fleet_path(x->fleet));
    return format->judged != NULL ? format->judged(x, err) : CM_OK;
}

/* ---- the second walk: it is written ---- */

struct writing {
    struct cm_export *x;
    const struct cm_export_format *format;
    struct cm_export_out *out;
    struct cm_leafread *leaves;
    uint64_t rows_per_file, done;
    struct cm_export_result *result;
};

static cm_err put_text(const struct writing *w, const char *what, struct cm_error *err)
{
    struct cm_writer *const text = &w->x->text;
    const struct cm_span all = cm_span(text->data, text->len);

    if (!cm_writer_ok(text))
        CM_FAIL(err, CM_E_LIMIT, "%.96s becomes more than %d octets, or memory ran out", what,
                CM_EXPORT_TEXT);
    text->len = 0;
    return cm_export_out_put(w->out, all, err);
}

static cm_err begin_file(struct writing *w, struct cm_error *err)
{
    CM_TRY(cm_export_out_next(w->out, err));
    w->x->in_file = 0;
    if (w->format->begin == NULL)
        return CM_OK;
    w->format->begin(w->x);
    return put_text(w, "the beginning of the file", err);
}

static cm_err end_file(const struct writing *w, struct cm_error *err)
{
    if (w->format->end == NULL)
        return CM_OK;
    w->format->end(w->x);
    return put_text(w, "the end of the file", err);
}

static cm_err load_leaf(const struct writing *w, const struct cm_row *row, struct cm_error *err)
{
    const struct cm_rowview view = { .device_id = cm_span_str(row->device_id),
                                     .certificate_id = cm_span_str(row->certificate_id),
                                     .chain_file = cm_span_str(row->chain.file),
                                     .chain_xxh3 = cm_span_str(row->chain.xxh3),
                                     .chain_offset = row->tree ? -1 : (int64_t) row->chain.offset,
                                     .chain_length = (int64_t) row->chain.length };
    struct cm_span der;

    CM_TRY(cm_leafread(w->leaves, &view, &der, err));
    w->x->leaf.len = 0;
    cm_put_pem(&w->x->leaf, "CERTIFICATE", der.data, der.len);
    CM_ASSERT(cm_writer_ok(&w->x->leaf));
    return CM_OK;
}

static cm_err write_row(struct writing *w, const struct cm_row *row, struct cm_error *err)
{
    const struct cm_export_conf *const conf = w->x->conf;

    if (w->x->in_file == w->rows_per_file) {
        CM_TRY(end_file(w, err));
        CM_TRY(begin_file(w, err));
    }
    CM_TRY(load_leaf(w, row, err));
    CM_TRY(w->format->row(w->x, row, err));
    CM_TRY(put_text(w, row->device_id, err));
    w->x->in_file++;
    w->done++;
    conf->progress(conf->arg, w->done, cm_export_out_bytes(w->out));
    return stopped(w->x, err);
}

static cm_err write_rows(struct writing *w, struct cm_error *err)
{
    struct cm_fleet_walk *walk = NULL;
    const struct cm_row *row = NULL;
    cm_err rc = CM_OK;

    CM_TRY(cm_fleet_walk_open(w->x->fleet, &walk, err));
    while (rc == CM_OK && (rc = cm_fleet_walk_next(walk, &row, err)) == CM_OK)
        rc = write_row(w, row, err);
    cm_fleet_walk_close(walk);
    return rc == CM_E_END ? CM_OK : rc;
}

static cm_err write_files(struct writing *w, bool beside, struct cm_error *err)
{
    CM_TRY(begin_file(w, err));
    if (w->format->row != NULL)
        CM_TRY(write_rows(w, err));
    CM_TRY(end_file(w, err));
    if (beside) {
        CM_TRY(cm_export_out_next(w->out, err));
        CM_TRY(w->format->beside(w->x, err));
        CM_TRY(put_text(w, "the file beside", err));
    }
    w->result->devices = w->x->devices;
    return cm_export_out_publish(w->out, w->result, err);
}

static cm_err write_all(struct cm_export *x, const struct cm_export_format *format,
                        struct cm_export_result *result, struct cm_error *err)
{
    const struct cm_export_conf *const conf = x->conf;
    const bool beside = format->beside != NULL && (format->beside_wanted == NULL || format->beside_wanted(x));
    struct writing w = { .x = x, .format = format, .result = result };

    w.rows_per_file = conf->rows_per_file > 0 ? conf->rows_per_file : format->rows_max;
    if (w.rows_per_file == 0)
        w.rows_per_file = UINT64_MAX;
    const uint64_t files = format->row == NULL ? 1 : (x->devices - 1) / w.rows_per_file + 1;
    if (conf->out == NULL && (files > 1 || beside))
        CM_FAIL(err, CM_E_USAGE, "%s of this fleet is %llu files: say with --out FILE how to call them",
                format->name, (ull) files + beside);
    if (files > CM_EXPORT_FILES_MAX)
        CM_FAIL(err, CM_E_USAGE,
                "that would be %llu files, at most %d are made: ask for more --rows-per-file", (ull) files,
                CM_EXPORT_FILES_MAX);
    CM_TRY(cm_export_out_open(conf->out, files, beside ? format->beside_suffix : NULL, &w.out, err));
    cm_err rc = cm_leafread_open(x->fleet, &w.leaves, err);
    if (rc == CM_OK)
        rc = write_files(&w, beside, err);
    cm_leafread_close(w.leaves);
    cm_export_out_close(w.out);
    return rc;
}

/* ---- both ---- */

size_t cm_export_leaf_len(const struct cm_export *x, const struct cm_row *row)
{
    const size_t len = row->chain.length > x->chain_len ? row->chain.length - x->chain_len : 0;

    return len > 0 && cm_fleet_run(x->fleet)->der ? cm_pem_len("CERTIFICATE", len) : len;
}

static cm_err measure_chain(struct cm_export *x, struct cm_span chain, struct cm_error *err)
{
    size_t len = 0;

    x->chain_len = chain.len;
    if (!cm_fleet_run(x->fleet)->der)
        return CM_OK;
    for (x->chain_len = 0; chain.len > 0; x->chain_len += len)
        CM_TRY(cm_pemread_next(&chain, "CERTIFICATE", x->cell.data, x->cell.cap, &len, err));
    return CM_OK;
}

static cm_err export(struct cm_export *x, const struct cm_export_format *format,
                     struct cm_export_result *result, struct cm_error *err)
{
    const struct cm_span chain = cm_fleet_ca_pem(x->fleet);
    struct cm_writer ca = cm_writer(x->ca_pem_text, chain.len);

    if (!cm_bundle_leaf(chain, false, &ca) || measure_chain(x, chain, err) != CM_OK)
        CM_FAIL(err, CM_E_INPUT, "%s/ca.pem does not hold certificates alone; restore it from a backup",
                cm_fleet_path(x->fleet));
    x->ca_pem = cm_span(ca.data, ca.len);
    if (format->options != NULL)
        CM_TRY(format->options(x, err));
    CM_TRY(judge(x, format, result, err));
    return write_all(x, format, result, err);
}

static cm_err find_format(const char *name, const struct cm_export_format **out, struct cm_error *err)
{
    for (size_t i = 0; i < CM_COUNT(formats); i++) {
        *out = formats[i];
        if (strcmp(formats[i]->name, name) == 0)
            return CM_OK;
    }
    CM_FAIL(err, CM_E_USAGE, "no format \"%.40s\"", name);
}

cm_err cm_export(const struct cm_export_conf *conf, struct cm_export_result *out, struct cm_error *err)
{
    const size_t leaf_max = cm_bundle_leaf_max(CM_ROW_CHAIN_MAX);
    struct cm_export_options options = conf->options;
    struct cm_export x = {
        .conf = conf, .options = &options, .fleet = conf->fleet, .subject_types = (1u << CM_SUBJECT_TYPES) - 1
    };
    const struct cm_export_format *format = NULL;

    *out = (struct cm_export_result) { 0 };
    CM_TRY(find_format(conf->format, &format, err));
    CM_TRY(cm_aws_check_account(options.account, options.region, &options.partition, err));
    x.ca_pem_text = malloc(cm_fleet_ca_pem(conf->fleet).len);
    x.leaf = cm_writer(malloc(leaf_max), leaf_max);
    x.text = cm_writer(malloc(CM_EXPORT_TEXT), CM_EXPORT_TEXT);
    x.cell = cm_writer(malloc(CM_EXPORT_TEXT), CM_EXPORT_TEXT);
    cm_err rc = CM_OK;
    if (x.ca_pem_text == NULL || x.leaf.data == NULL || x.text.data == NULL || x.cell.data == NULL)
        rc = cm_fail(err, CM_E_NOMEM, CM_HERE, "out of memory for the export");
    else
        rc = export(&x, format, out, err);
    while (x.columns > 0)
        free(x.column[--x.columns]);
    free(x.ca_pem_text);
    free(x.leaf.data);
    free(x.text.data);
    free(x.cell.data);
    return rc;
}

void cm_export_result_done(struct cm_export_result *r)
{
    free(r->path);
    *r = (struct cm_export_result) { 0 };
}
