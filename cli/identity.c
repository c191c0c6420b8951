#include "cli/identity.h"

#include "cli/msg.h"
#include "cli/term.h"
#include "engine/pem.h"
#include "io/jsonread.h"

#include <jansson.h>

enum { NAME_MAX_OCTETS = 200 };

static bool is_number(enum cm_identity_field field)
{
    return field == CM_IDENTITY_CHAIN_OFFSET || field == CM_IDENTITY_CHAIN_LENGTH ||
           field == CM_IDENTITY_KEY_OFFSET || field == CM_IDENTITY_KEY_LENGTH;
}

/* As PEM, malloced with a NUL behind it; NULL: out of memory, or no hex digits. */
static char *pem_of(const char *hex)
{
    const size_t len = strlen(hex) / 2, pem_len = cm_pem_len("CERTIFICATE", len);
    uint8_t *der = malloc(len > 0 ? len : 1);
    char *pem = malloc(pem_len + 1);
    struct cm_writer w = cm_writer(pem, pem_len);
    size_t i = 0;

    for (; der != NULL && i < len; i++) {
        const char pair[3] = { hex[2 * i], hex[2 * i + 1], '\0' };
        char *end = NULL;
        der[i] = (uint8_t) strtoul(pair, &end, 16);
        if (end != pair + 2)
            break;
    }
    if (der == NULL || pem == NULL || i < len) {
        free(der);
        free(pem);
        return NULL;
    }
    cm_put_pem(&w, "CERTIFICATE", der, len);
    pem[w.len] = '\0';
    free(der);
    return pem;
}

static json_t *value_of(const struct cm_identity *id, enum cm_identity_field field)
{
    const char *const text = id->field[field];
    json_t *value = NULL;

    if (text == NULL)
        return json_null();
    if (is_number(field))
        return json_integer(strtoll(text, NULL, 10));
    if (field == CM_IDENTITY_ATTRIBUTES)
        return cm_json_read(cm_span_str(text), &value, NULL, NULL) == CM_OK ? value : NULL;
    if (field != CM_IDENTITY_CERTIFICATE)
        return json_string(text);
    char *const pem = pem_of(text);
    value = pem != NULL ? json_string(pem) : NULL;
    free(pem);
    return value;
}

cm_err cm_identity_json(const struct cm_identity *id, struct json_t *more, struct cm_error *err)
{
    json_t *result = json_object();
    bool good = result != NULL;

    for (size_t i = 0; good && i < CM_IDENTITY_FIELDS; i++) {
        const char *const name = i == CM_IDENTITY_CERTIFICATE ? "certificate_pem" : cm_identity_name(i);
        good = json_object_set_new(result, name, value_of(id, (enum cm_identity_field) i)) == 0;
    }
    good = good && json_object_set_new(result, "again", json_boolean(id->again)) == 0 &&
           (more == NULL || json_object_update(result, more) == 0);
    json_decref(more);
    if (!good) {
        json_decref(result);
        result = NULL;
    }
    return cm_msg_json(result, err);
}

static void put(const char *name, const char *value)
{
    if (value == NULL)
        return;
    (void) printf("%-16s ", name);
    cm_term_put(stdout, value);
    (void) putchar('\n');
}

/* "/fleets/a/chains/000000.tar, 1500 octets at offset 512". */
static void put_place(const char *name, const char *dir, const char *file, const char *offset,
                      const char *length)
{
    if (file == NULL)
        return;
    (void) printf("%-16s ", name);
    cm_term_put(stdout, dir);
    (void) putchar('/');
    cm_term_put(stdout, file);
    (void) printf(", %s octets", length);
    if (offset != NULL)
        (void) printf(" at offset %s", offset);
    (void) putchar('\n');
}

void cm_identity_print(const struct cm_identity *id)
{
    static const enum cm_identity_field before[] = { CM_IDENTITY_DEVICE_ID, CM_IDENTITY_CERTIFICATE_ID,
                                                     CM_IDENTITY_SERIAL,    CM_IDENTITY_SUBJECT,
                                                     CM_IDENTITY_SKU,       CM_IDENTITY_LOT,
                                                     CM_IDENTITY_ORDER,     CM_IDENTITY_NOT_AFTER };
    static const enum cm_identity_field after[] = { CM_IDENTITY_STATE,       CM_IDENTITY_STATION,
                                                    CM_IDENTITY_REQUEST_ID,  CM_IDENTITY_CLAIMED_AT,
                                                    CM_IDENTITY_LEASE_UNTIL, CM_IDENTITY_REPORTED_AT,
                                                    CM_IDENTITY_NOTE,        CM_IDENTITY_SUPERSEDED_BY };
    const char *const *const f = id->field;
    const char *const keys_dir = f[CM_IDENTITY_KEYS_DIR];
    const char *key_file = f[CM_IDENTITY_KEY_FILE];

    for (size_t i = 0; i < CM_COUNT(before); i++)
        put(cm_identity_name(before[i]), f[before[i]]);
    put_place("chain", f[CM_IDENTITY_DIRECTORY], f[CM_IDENTITY_CHAIN_FILE], f[CM_IDENTITY_CHAIN_OFFSET],
              f[CM_IDENTITY_CHAIN_LENGTH]);
    if (key_file != NULL && keys_dir != NULL) /* rows say keys/…, wherever the keys really are */
        key_file = strchr(key_file, '/') + 1;
    put_place("key", keys_dir != NULL ? keys_dir : f[CM_IDENTITY_DIRECTORY], key_file,
              f[CM_IDENTITY_KEY_OFFSET], f[CM_IDENTITY_KEY_LENGTH]);
    for (size_t i = 0; i < CM_COUNT(after); i++)
        put(cm_identity_name(after[i]), f[after[i]]);
}

cm_err cm_identity_print_pem(const struct cm_identity *id, struct cm_error *err)
{
    char *const pem = pem_of(id->field[CM_IDENTITY_CERTIFICATE]);

    if (pem == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the certificate");
    (void) fputs(pem, stdout);
    (void) fputs(id->field[CM_IDENTITY_CHAIN_PEM], stdout);
    free(pem);
    return CM_OK;
}

cm_err cm_identity_check_name(const char *option, const char *value, struct cm_error *err)
{
    if (value == NULL)
        return CM_OK;
    for (const unsigned char *at = (const unsigned char *) value; *at != '\0'; at++)
        if (*at < 0x20 || *at == 0x7f)
            CM_FAIL(err, CM_E_USAGE, "--%s has a control character", option);
    if (value[0] == '\0' || strlen(value) > NAME_MAX_OCTETS)
        CM_FAIL(err, CM_E_USAGE, "--%s is empty or longer than %d octets", option, NAME_MAX_OCTETS);
    return CM_OK;
}
