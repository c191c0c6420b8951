#include "io/export_impl.h"

#include <jansson.h>

/* Every field of the manifest as a column, then the attributes, a column each. */

static bool is_attributes(size_t i)
{
    return strcmp(cm_table_name(i), "attributes") == 0;
}

static void begin(struct cm_export *x)
{
    char name[CM_EXPORT_KEY];

    for (size_t i = 0; i < cm_table_count(x); i++) {
        if (is_attributes(i))
            continue;
        if (i > 0)
            cm_put_byte(&x->text, ',');
        cm_put_str(&x->text, cm_table_name(i));
    }
    for (size_t i = 0; i < x->columns; i++) {
        (void) snprintf(name, sizeof name, "attributes.%s", x->column[i]);
        cm_put_byte(&x->text, ',');
        cm_put_csv(&x->text, cm_span_str(name));
    }
    cm_put_byte(&x->text, '\n');
}

static cm_err put_row(struct cm_export *x, const struct cm_row *row, struct cm_error *err)
{
    (void) err;
    for (size_t i = 0; i < cm_table_count(x); i++) {
        struct cm_span value;
        if (is_attributes(i))
            continue;
        if (i > 0)
            cm_put_byte(&x->text, ',');
        if (cm_table_value(x, i, row, &value))
            cm_put_csv(&x->text, value);
    }
    for (size_t i = 0; i < x->columns; i++) {
        const char *const value = json_string_value(json_object_get(row->attributes, x->column[i]));
        cm_put_byte(&x->text, ',');
        if (value != NULL)
            cm_put_csv(&x->text, cm_span_str(value));
    }
    cm_put_byte(&x->text, '\n');
    return CM_OK;
}

const struct cm_export_format cm_export_csv = {
    .name = "csv",
    .columns = true,
    .begin = begin,
    .row = put_row,
};
