#include "io/export_impl.h"

/* Bulk import of devices: the columns NAME, TYPE, LABEL and X509, to be chosen in its dialogue by these
 * headings, and what else is known, as server attributes. */
static const char *const attribute[] = { "certificate_id", "serial", "lot", "sku", "order", "not_after" };

static void begin(struct cm_export *x)
{
    cm_put_lit(&x->text, "name,type,label,x509");
    for (size_t i = 0; i < CM_COUNT(attribute); i++) {
        cm_put_byte(&x->text, ',');
        cm_put_str(&x->text, attribute[i]);
    }
    for (size_t i = 0; i < x->columns; i++) {
        cm_put_byte(&x->text, ',');
        cm_put_csv(&x->text, cm_span_str(x->column[i]));
    }
    cm_put_byte(&x->text, '\n');
}

static bool is_taken(const char *name)
{
    static const char *const own[] = { "name", "type", "label", "x509" };

    for (size_t i = 0; i < CM_COUNT(own); i++)
        if (strcmp(name, own[i]) == 0)
            return true;
    for (size_t i = 0; i < CM_COUNT(attribute); i++)
        if (strcmp(name, attribute[i]) == 0)
            return true;
    return false;
}

/* Two columns of one name would both go into one attribute. */
static cm_err judged(struct cm_export *x, struct cm_error *err)
{
    for (size_t i = 0; i < x->columns; i++)
        if (is_taken(x->column[i]))
            CM_FAIL(err, CM_E_INPUT,
                    "the device list's column \"%.60s\" has the name of one that a ThingsBoard import has "
                    "itself; "
                    "export to csv and choose the columns there",
                    x->column[i]);
    return CM_OK;
}

static cm_err put_row(struct cm_export *x, const struct cm_row *row, struct cm_error *err)
{
    const char *const type = x->options->device_type != NULL ? x->options->device_type : "default";
    const char *const label = row->sku != NULL ? row->sku : "";
    const char *const value[CM_COUNT(attribute)] = { row->certificate_id, row->serial,   row->lot, row->sku,
                                                     row->order,          row->not_after };
    struct cm_writer *const w = &x->text;

    (void) err;
    cm_put_csv(w, cm_span_str(row->device_id));
    cm_put_byte(w, ',');
    cm_put_csv(w, cm_span_str(type));
    cm_put_byte(w, ',');
    cm_put_csv(w, cm_span_str(label));
    cm_put_byte(w, ',');
    cm_put_csv(w, cm_span(x->leaf.data, x->leaf.len));
    for (size_t i = 0; i < CM_COUNT(attribute) + x->columns; i++) {
        const char *const text =
            i < CM_COUNT(attribute) ? value[i] : cm_export_value(row, x->column[i - CM_COUNT(attribute)]);
        cm_put_byte(w, ',');
        cm_put_csv(w, cm_span_str(text != NULL ? text : ""));
    }
    cm_put_byte(w, '\n');
    return CM_OK;
}

const struct cm_export_format cm_export_thingsboard = {
    .name = "thingsboard",
    .columns = true,
    .judged = judged,
    .begin = begin,
    .row = put_row,
};
