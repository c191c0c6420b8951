#include "engine/pem.h"
#include "io/export_impl.h"

/* Thingpress, "generated": a line a device, base64 of the certificate's PEM text. Things are named by the CN.
 */

static cm_err put_row(struct cm_export *x, const struct cm_row *row, struct cm_error *err)
{
    (void) row;
    (void) err;
    cm_put_base64(&x->text, x->leaf.data, x->leaf.len);
    cm_put_byte(&x->text, '\n');
    return CM_OK;
}

const struct cm_export_format cm_export_thingpress = {
    .name = "thingpress",
    .rows_max = 50000, /* as its documentation advises */
    .judge = cm_export_judge_cn,
    .unique = cm_export_cn,
    .row = put_row,
};
