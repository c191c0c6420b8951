#include "io/export_impl.h"

/* Items for DynamoDB's import from S3 (DYNAMODB_JSON): what a just-in-time registration looks a certificate
 * up by. */

static void put_text(struct cm_writer *w, const char *name, const char *value)
{
    if (value == NULL)
        return;
    if (w->data[w->len - 1] != '{')
        cm_put_byte(w, ',');
    cm_put_json_string(w, name);
    cm_put_lit(w, ":{\"S\":");
    cm_put_json_string(w, value);
    cm_put_byte(w, '}');
}

static cm_err put_row(struct cm_export *x, const struct cm_row *row, struct cm_error *err)
{
    struct cm_writer *const w = &x->text;

    (void) err;
    cm_put_lit(w, "{\"Item\":{");
    put_text(w, "certificateId", row->certificate_id);
    put_text(w, "serialNumber", row->serial);
    put_text(w, "serialNumberDecimal", row->serial_dec); /* 48 digits are no number anywhere */
    put_text(w, "deviceId", row->device_id);
    put_text(w, "caCertificateId", row->ca_certificate_id);
    put_text(w, "notAfter", row->not_after);
    put_text(w, "lot", row->lot);
    put_text(w, "sku", row->sku);
    put_text(w, "order", row->order);
    if (x->options->account != NULL) {
        cm_put_lit(w, ",\"certificateArn\":{\"S\":\"");
        cm_put_arn(x, w, "cert", row->certificate_id);
        cm_put_lit(w, "\"},\"caCertificateArn\":{\"S\":\"");
        cm_put_arn(x, w, "cacert", row->ca_certificate_id);
        cm_put_lit(w, "\"}");
    }
    cm_put_lit(w, "}}\n");
    return CM_OK;
}

const struct cm_export_format cm_export_allow_list = {
    .name = "allow-list",
    .row = put_row,
};
