/* Goal: a row is one line of JSON with exactly the keys of docs/formats.md, in their order, and every value
 * is what went in. Method: jansson reads what we write; numbers are compared with libcrypto's. */
#include "engine/row.h"
#include "engine/ossl.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>

static const char *const keys[] = {
    "run_id",
    "seq",
    "device_id",
    "lot",
    "sku",
    "order",
    "profile",
    "subject",
    "certificate_id",
    "ca_certificate_id",
    "serial",
    "serial_dec",
    "key_alg",
    "sig_alg",
    "spki_sha256",
    "ski",
    "thumbprint_sha1",
    "not_before",
    "not_after",
    "chain",
    "key",
    "minted_at",
    "attributes",
    "superseded_by",
};

static const char awkward[] =
    "q\" b\\ /s \x01\x02\x1f\n\r\t\b\f\x7f ü 日本 😀 \xc2\x80 \xe2\x80\xa8 </script> {id}";

struct rendered {
    uint8_t text[8192];
    struct cm_writer w;
};

static struct cm_row_run run_of(enum cm_layout layout)
{
    return (struct cm_row_run) { .run_id = "01234567-89ab-4def-8123-456789abcdef",
                                 .lot = awkward,
                                 .order = "",
                                 .profile = "aws-iot",
                                 .ca_certificate_id = "ca0123",
                                 .key_alg = "P-256",
                                 .sig_alg = "ecdsa-with-SHA256",
                                 .not_before = 1767225600,
                                 .not_after = CM_WHEN_MAX,
                                 .layout = layout };
}

static struct cm_row_device device_of(const uint8_t *ski)
{
    struct cm_row_device d = { .seq = 4711,
                               .id = cm_span(awkward, sizeof awkward - 1),
                               .id_name = cm_span_str("SN%201"),
                               .subject = cm_span_str("CN=a\\,b"),
                               .ski = ski,
                               .minted_at = 1767225601,
                               .chain = { .len = 1234 },
                               .key = { .len = 227 } };

    memset(d.certificate_id, 0xab, sizeof d.certificate_id);
    memset(d.thumbprint_sha1, 0x0c, sizeof d.thumbprint_sha1);
    memset(d.spki_sha256, 0xf0, sizeof d.spki_sha256);
    memset(d.serial, 0x11, sizeof d.serial);
    memset(d.chain.xxh3, 0x21, 16);
    memset(d.chain.sha256, 0x22, 32);
    memset(d.key.xxh3, 0x31, 16);
    memset(d.key.sha256, 0x32, 32);
    return d;
}

static const char *const column_names[] = { "serial", "a \"quoted\" \\ name", "ä", "last" };
static const struct cm_columns columns = { column_names, CM_COUNT(column_names), 0 };
static struct cm_span column[CM_COUNT(column_names)];

static void render(enum cm_layout layout, const uint8_t *ski, struct rendered *out)
{
    struct cm_row_run run = run_of(layout);
    struct cm_row_device dev = device_of(ski);
    struct cm_row_texts texts;
    uint8_t rows[8192];
    struct cm_writer w = cm_writer(rows, sizeof rows);
    struct cm_rec rec = { .chain_off = 512, .key_off = 1024 };

    run.columns = column[0].data != NULL ? &columns : NULL;
    dev.column = column;
    cr_assert_eq(cm_row_texts_open(&run, &texts, NULL), CM_OK);
    cm_put_lit(&w, "before\n"); /* a row does not stand at the beginning */
    cm_row_render(&texts, &dev, &w, &rec);
    cr_assert(cm_writer_ok(&w));
    cr_expect_eq(rec.row_off, 7);
    cr_expect_eq(rec.row_off + rec.row_len, w.len);
    cr_expect_leq(rec.row_len,
                  CM_ROW_FIXED + cm_row_texts_len(&texts) + 2 * (dev.id.len + dev.subject.len) +
                      6 * dev.id.len + (run.columns != NULL ? cm_row_attributes_len(&columns, column) : 0),
                  "the bound that batches are planned by");
    const struct cm_batch b = { .rows = rows, .unit = 12, .chain_base = 40960, .key_base = 8192 };
    out->w = cm_writer(out->text, sizeof out->text - 1);
    cm_row_place(&b, &rec, layout, &out->w);
    cr_assert(cm_writer_ok(&out->w));
    cr_expect_leq(out->w.len, rec.row_len + CM_ROW_PLACES);
    cr_expect_eq(out->text[out->w.len - 1], '\n');
    cr_expect_null(memchr(out->text, '\n', out->w.len - 1));
    out->text[out->w.len] = '\0';
    cm_row_texts_close(&texts);
}

static void expect_blob(const json_t *row, const char *key, const char *place, json_int_t offset,
                        json_int_t length, const char *xxh3, const char *sha256)
{
    const json_t *b = json_object_get(row, key);
    const bool tar = offset >= 0;

    cr_assert_eq(json_object_size(b), tar ? 5 : 4);
    cr_expect_str_eq(json_string_value(json_object_get(b, tar ? "segment" : "path")), place);
    cr_expect(!tar || json_integer_value(json_object_get(b, "offset")) == offset);
    cr_expect_eq(json_integer_value(json_object_get(b, "length")), length);
    cr_expect_eq(strspn(json_string_value(json_object_get(b, "xxh3")), xxh3), 32);
    cr_expect_eq(strspn(json_string_value(json_object_get(b, "sha256")), sha256), 64);
}

static void expect_string(const json_t *row, const char *key, const char *value)
{
    const char *found = json_string_value(json_object_get(row, key));

    cr_assert_not_null(found, "%s", key);
    cr_expect_str_eq(found, value);
}

static json_t *parse(const struct rendered *r)
{
    json_error_t error;
    json_t *row = json_loads((const char *) r->text, JSON_REJECT_DUPLICATES, &error);
    const char *at = (const char *) r->text;

    cr_assert_not_null(row, "%s: %s", error.text, (const char *) r->text);
    cr_expect_eq(json_object_size(row), CM_COUNT(keys));
    for (size_t i = 0; i < CM_COUNT(keys); i++) {
        char quoted[40];
        (void) snprintf(quoted, sizeof quoted, "%c\"%s\":", i == 0 ? '{' : ',', keys[i]);
        at = strstr(at, quoted);
        cr_assert_not_null(at, "%s is missing or out of order", keys[i]);
    }
    return row;
}

Test(row, what_goes_in_comes_out)
{
    static const uint8_t ski[20] = { 0xee, 0x01 };
    static struct rendered r;

    render(CM_LAYOUT_TAR, ski, &r);
    json_t *row = parse(&r);
    expect_string(row, "run_id", "01234567-89ab-4def-8123-456789abcdef");
    cr_expect_eq(json_integer_value(json_object_get(row, "seq")), 4711);
    expect_string(row, "device_id", awkward);
    expect_string(row, "lot", awkward);
    cr_expect(json_is_null(json_object_get(row, "sku")));
    expect_string(row, "order", "");
    expect_string(row, "profile", "aws-iot");
    expect_string(row, "subject", "CN=a\\,b");
    expect_string(row, "ca_certificate_id", "ca0123");
    expect_string(row, "serial", "1111111111111111111111111111111111111111");
    expect_string(row, "key_alg", "P-256");
    expect_string(row, "sig_alg", "ecdsa-with-SHA256");
    expect_string(row, "ski", "ee01000000000000000000000000000000000000");
    expect_string(row, "thumbprint_sha1", "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c");
    expect_string(row, "not_before", "2026-01-01T00:00:00Z");
    expect_string(row, "not_after", "9999-12-31T23:59:59Z");
    expect_string(row, "minted_at", "2026-01-01T00:00:01Z");
    cr_expect_eq(strspn(json_string_value(json_object_get(row, "certificate_id")), "ab"), 64);
    cr_expect_eq(strspn(json_string_value(json_object_get(row, "spki_sha256")), "f0"), 64);
    expect_blob(row, "chain", "chains/000012.tar", 40960 + 512, 1234, "21", "2");
    expect_blob(row, "key", "keys/000012.tar", 8192 + 1024, 227, "31", "32");
    cr_expect(json_is_object(json_object_get(row, "attributes")) &&
              json_object_size(json_object_get(row, "attributes")) == 0);
    cr_expect(json_is_null(json_object_get(row, "superseded_by")));
    json_decref(row);
}

/* Every column, in the list's order, whatever stands in it. */
Test(row, columns_become_attributes)
{
    static struct rendered r;
    char alone[1024] = "";
    struct cm_writer w = cm_writer(alone, sizeof alone - 1);

    column[0] = cm_span_str("SN-1");
    column[1] = cm_span(awkward, sizeof awkward - 1);
    column[2] = cm_span_str("");
    column[3] = cm_span_str("true");
    render(CM_LAYOUT_TREE, NULL, &r);
    json_t *row = parse(&r);
    json_t *const attributes = json_object_get(row, "attributes");
    const char *key = NULL;
    json_t *value = NULL;
    size_t i = 0;
    cr_assert_eq(json_object_size(attributes), CM_COUNT(column_names));
    json_object_foreach(attributes, key, value)
    {
        cr_expect_str_eq(key, column_names[i]);
        cr_expect(cm_span_eq(column[i++], cm_span(json_string_value(value), json_string_length(value))));
    }
    cm_row_put_attributes(&columns, column, &w);
    cr_expect_eq(w.len, cm_row_attributes_len(&columns, column));
    cr_expect_not_null(strstr((const char *) r.text, alone), "%s", alone);
    json_decref(row);
}

Test(row, the_tree_says_paths)
{
    static struct rendered r;

    render(CM_LAYOUT_TREE, NULL, &r);
    json_t *row = parse(&r);
    expect_blob(row, "chain", "chains/000012/SN%201.crt", -1, 1234, "21", "2");
    expect_blob(row, "key", "keys/000012/SN%201.key", -1, 227, "31", "32");
    cr_expect(json_is_null(json_object_get(row, "ski")));
    json_decref(row);
}

Test(row, texts_that_are_too_long_are_refused)
{
    static char lot[5000];
    struct cm_row_run run = run_of(CM_LAYOUT_TAR);
    struct cm_row_texts texts = { 0 };
    struct cm_error err = { 0 };

    memset(lot, 'x', sizeof lot - 1);
    run.lot = lot;
    cr_expect_eq(cm_row_texts_open(&run, &texts, &err), CM_E_USAGE);
    cr_expect_not_null(strstr(err.what, "lot, sku, order"), "%s", err.what);
    cm_row_texts_close(&texts);
}

Test(row, every_character_is_escaped_as_it_must)
{
    for (uint32_t c = 1; c < 0x80; c++) {
        const uint8_t text[3] = { 'a', (uint8_t) c, 'b' };
        char out[16] = "", expected[16];
        struct cm_writer w = cm_writer(out, sizeof out - 1);
        cm_put_json(&w, cm_span(text, 3));
        if (c == '"' || c == '\\')
            (void) snprintf(expected, sizeof expected, "a\\%cb", (int) c);
        else
            (void) snprintf(expected, sizeof expected, c < 0x20 ? "a\\u%04xb" : "a%cb", c);
        cr_expect_str_eq(out, expected);
    }
}

static void expect_decimal(const uint8_t serial[CM_SERIAL_LEN])
{
    CM_AUTO(BIGNUM) bn = BN_bin2bn(serial, CM_SERIAL_LEN, NULL);
    char *expected = BN_bn2dec(bn), text[64] = "";
    struct cm_writer w = cm_writer(text, sizeof text - 1);

    cm_put_serial_dec(&w, serial);
    cr_expect_str_eq(text, expected);
    OPENSSL_free(expected);
}

Test(row, serials_in_decimal)
{
    uint64_t random = t_seed();
    uint8_t serial[CM_SERIAL_LEN] = { 0 };

    expect_decimal(serial);
    memset(serial, 0xff, sizeof serial);
    expect_decimal(serial);
    for (int bit = 0; bit < 160; bit++)
        for (int minus = 0; minus < 2; minus++) { /* 2^n and 2^n - 1 */
            memset(serial, 0, sizeof serial);
            serial[19 - bit / 8] = (uint8_t) (1u << bit % 8);
            for (int i = 19; minus != 0 && i >= 0 && serial[i]-- == 0; i--)
                continue;
            expect_decimal(serial);
        }
    CM_AUTO(BIGNUM) ten = BN_new();
    cr_assert_eq(BN_one(ten), 1);
    for (int digits = 0; digits < 49; digits++) { /* 10^n: chunks of nine zeros */
        cr_assert_eq(BN_bn2binpad(ten, serial, CM_SERIAL_LEN), CM_SERIAL_LEN);
        expect_decimal(serial);
        cr_assert(BN_sub_word(ten, 1) == 1 && BN_bn2binpad(ten, serial, CM_SERIAL_LEN) == CM_SERIAL_LEN);
        expect_decimal(serial);
        cr_assert(BN_add_word(ten, 1) == 1 && BN_mul_word(ten, 10) == 1);
    }
    for (int i = 0; i < 2000; i++) {
        for (size_t k = 0; k < sizeof serial; k++)
            serial[k] = (uint8_t) t_random(&random, 256);
        memset(serial, 0, (size_t) t_random(&random, 20));
        expect_decimal(serial);
    }
}
