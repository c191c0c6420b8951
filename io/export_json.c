#include "io/export_impl.h"
#include "io/jsontext.h"

#include <jansson.h>

/* One array: the manifest's rows as they stand, each with its certificate. */

static void begin(struct cm_export *x)
{
    cm_put_lit(&x->text, "[");
}

static cm_err put_row(struct cm_export *x, const struct cm_row *row, struct cm_error *err)
{
    size_t len = 0;
    char *text = cm_json_text(row->root, JSON_COMPACT, &len);

    if (text == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for a row");
    if (x->in_file > 0)
        cm_put_byte(&x->text, ',');
    cm_put_byte(&x->text, '\n');
    cm_put(&x->text, text, len - 1); /* but for its last brace */
    free(text);
    cm_put_lit(&x->text, ",\"certificate_pem\":");
    cm_put_json_span(&x->text, cm_span(x->leaf.data, x->leaf.len));
    if (x->options->account != NULL) {
        cm_put_lit(&x->text, ",\"certificate_arn\":\"");
        cm_put_arn(x, &x->text, "cert", row->certificate_id);
        cm_put_lit(&x->text, "\",\"ca_certificate_arn\":\"");
        cm_put_arn(x, &x->text, "cacert", row->ca_certificate_id);
        cm_put_byte(&x->text, '"');
    }
    cm_put_byte(&x->text, '}');
    return CM_OK;
}

static void end(struct cm_export *x)
{
    cm_put_lit(&x->text, "\n]\n");
}

const struct cm_export_format cm_export_json = {
    .name = "json",
    .begin = begin,
    .row = put_row,
    .end = end,
};
