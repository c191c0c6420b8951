#include "io/export_impl.h"

/* Two CSV files of Espressif's makers: MAC and certificate, as Thingpress reads it, and RainMaker's
 * node_certs.csv. */
enum { RAINMAKER_ROWS = 50000 };

static const char *mac_of(const struct cm_export *x, const struct cm_row *row)
{
    static const char *const usual[] = { "mac", "MAC", "mac_address" };
    const char *mac = NULL;

    if (x->options->mac_column != NULL)
        return cm_export_value(row, x->options->mac_column);
    for (size_t i = 0; mac == NULL && i < CM_COUNT(usual); i++)
        mac = cm_export_value(row, usual[i]);
    return mac != NULL ? mac : row->device_id;
}

/* Six octets, twelve hex digits, all of them with ':' or '-' between or none. */
static bool is_mac(const char *text)
{
    const size_t step = strlen(text) == 17 ? 3 : 2;

    if (strlen(text) != 6 * step - (step - 2))
        return false;
    for (size_t i = 0; text[i] != '\0'; i++) {
        const bool between = step == 3 && i % 3 == 2;
        if (between ? text[i] != text[2] || strchr(":-", text[i]) == NULL
                    : strchr("0123456789abcdefABCDEF", text[i]) == NULL)
            return false;
    }
    return true;
}

static bool judge_mac(struct cm_export *x, const struct cm_row *row, char why[CM_EXPORT_WHY])
{
    const char *const mac = mac_of(x, row);

    if (mac != NULL && is_mac(mac))
        return true;
    (void) snprintf(why, CM_EXPORT_WHY, "it has no MAC address: neither in %s nor as its id",
                    x->options->mac_column != NULL ? "the column of --mac-column" : "a column mac");
    return false;
}

static const char *unique_mac(const struct cm_export *x, const struct cm_row *row, char key[CM_EXPORT_KEY])
{
    (void) snprintf(key, CM_EXPORT_KEY, "%s", mac_of(x, row));
    return key;
}

static void begin_mac(struct cm_export *x)
{
    cm_put_lit(&x->text, "MAC,cert\n");
}

static void put_line(struct cm_export *x, const char *name)
{
    cm_put_csv(&x->text, cm_span_str(name));
    cm_put_byte(&x->text, ',');
    cm_put_csv(&x->text, cm_span(x->leaf.data, x->leaf.len));
    cm_put_byte(&x->text, '\n');
}

static cm_err put_mac_row(struct cm_export *x, const struct cm_row *row, struct cm_error *err)
{
    (void) err;
    put_line(x, mac_of(x, row));
    return CM_OK;
}

static bool judge_node(struct cm_export *x, const struct cm_row *row, char why[CM_EXPORT_WHY])
{
    (void) x;
    return cm_export_judge_thing(row->device_id, "id", why);
}

static void begin_node(struct cm_export *x)
{
    cm_put_lit(&x->text, "node_id,certs\n");
}

static cm_err put_node_row(struct cm_export *x, const struct cm_row *row, struct cm_error *err)
{
    (void) err;
    put_line(x, row->device_id);
    return CM_OK;
}

const struct cm_export_format cm_export_espressif = {
    .name = "espressif",
    .unique_folded = true,
    .judge = judge_mac,
    .unique = unique_mac,
    .begin = begin_mac,
    .row = put_mac_row,
};

const struct cm_export_format cm_export_rainmaker = {
    .name = "rainmaker",
    .rows_max = RAINMAKER_ROWS,
    .judge = judge_node,
    .begin = begin_node,
    .row = put_node_row,
};
