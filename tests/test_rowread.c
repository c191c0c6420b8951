/* Goal: the row reader takes rows of the format, in any order of keys, and refuses everything else with the
 * key's name. Method: one good row and a table of changes to it. */
#include "io/rowread.h"

#include <criterion/criterion.h>

#define H40 "0123456789abcdef0123456789abcdef01234567"
#define H64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define H32 "0123456789abcdef0123456789abcdef"

static const char good[] =
    "{\"run_id\":\"be608a56-3b67-4b7f-b086-d29f0ebc7029\",\"seq\":77,\"device_id\":\"SN 77\",\"lot\":null,"
    "\"sku\":\"K\",\"order\":null,\"profile\":\"aws-iot\",\"subject\":\"CN=SN\\\\ "
    "77\",\"certificate_id\":\"" H64 "\",\"ca_certificate_id\":\"" H64 "\",\"serial\":\"" H40
    "\",\"serial_dec\":\"12345\",\"key_alg\":\"P-256\","
    "\"sig_alg\":\"ecdsa-with-SHA256\",\"spki_sha256\":\"" H64 "\",\"ski\":\"" H40
    "\",\"thumbprint_sha1\":\"" H40
    "\",\"not_before\":\"2026-11-23T17:27:50Z\",\"not_after\":\"2036-11-20T18:27:50Z\","
    "\"chain\":{\"segment\":\"chains/000003.tar\",\"offset\":156160,\"length\":1234,\"xxh3\":\"" H32
    "\",\"sha256\":\"" H64
    "\"},\"key\":{\"segment\":\"keys/000003.tar\",\"offset\":78336,\"length\":241,\"xxh3\":\"" H32
    "\",\"sha256\":\"" H64
    "\"},\"minted_at\":\"2026-11-23T18:27:50Z\",\"attributes\":{\"Site\":\"M\xc3\xbcnchen\"},"
    "\"superseded_by\":null}";

/* good, with the first `from` replaced by `to`. */
static char *changed(const char *from, const char *to)
{
    const char *at = strstr(good, from);
    char *text = NULL;

    cr_assert_not_null(at, "%s", from);
    cr_assert_geq(asprintf(&text, "%.*s%s%s", (int) (at - good), good, to, at + strlen(from)), 0);
    return text;
}

Test(rowread, takes_a_good_row)
{
    struct cm_row row = { 0 };
    struct cm_error err = { 0 };

    cr_assert_eq(cm_rowread_parse(cm_span_str(good), &row, &err), CM_OK, "%s", err.what);
    cr_expect_eq(row.seq, 77);
    cr_expect_str_eq(row.device_id, "SN 77");
    cr_expect_str_eq(row.name, "SN%2077");
    cr_expect_null(row.lot);
    cr_expect_str_eq(row.sku, "K");
    cr_expect_str_eq(row.subject, "CN=SN\\ 77");
    cr_expect_eq(row.tree, false);
    cr_expect_eq(row.has_key, true);
    cr_expect_eq(row.chain.number, 3);
    cr_expect_eq(row.chain.offset, 156160);
    cr_expect_eq(row.chain.length, 1234);
    cr_expect_eq(row.key.length, 241);
    cr_expect_str_eq(row.key.file, "keys/000003.tar");
    cm_rowread_done(&row);
    cm_rowread_done(&row);
}

struct change {
    const char *from, *to;
    const char *says; /* in the message; NULL: it is accepted */
};

static const struct change changes[] = {
    { "\"lot\":null", "\"lot\":\"L\"", NULL },
    { "\"ski\":\"" H40 "\"", "\"ski\":null", NULL },
    { "\"superseded_by\":null}", "\"superseded_by\":null}   ", NULL }, /* the end of a commit */
    { "{\"run_id\"", "{\"superseded_by\":null,\"run_id\"", "JSON" },   /* twice */
    { "\"seq\":77,", "", "keys" },
    { "\"seq\":77,", "\"seq\":77,\"more\":1,", "keys" },
    { "\"seq\":77", "\"seq\":\"77\"", "seq" },
    { "\"seq\":77", "\"seq\":77.0", "seq" },
    { "\"seq\":77", "\"seq\":-1", "seq" },
    { "\"seq\":77", "\"seq\":077", "JSON" },
    { "\"seq\":77", "\"seq\":9223372036854775808", "JSON" },
    { "\"seq\":77", "\"seq\": 77", "white space" },
    { "\"lot\":null", "\"lot\":\"\"", "lot" },
    { "\"lot\":null", "\"lot\":0", "lot" },
    { "\"lot\":null", "\"LOT\":null", "lot" },
    { "be608a56-3b67", "be608a56+3b67", "run_id" },
    { "be608a56", "BE608A56", "run_id" },
    { "\"SN 77\"", "\"\"", "device_id" },
    { "\"SN 77\"", "null", "device_id" },
    { "\"SN 77\"", "\"\xff\"", "JSON" },
    { "\"SN 77\"", "\"a\\u0000b\"", "JSON" },
    { "\"SN 77\"", "\"                                 \"", "file name" }, /* 33 spaces are 99 octets */
    { "\"serial\":\"0", "\"serial\":\"", "serial" },
    { "\"serial\":\"0", "\"serial\":\"A", "serial" },
    { "\"12345\"", "\"012345\"", "serial_dec" },
    { "\"12345\"", "12345", "serial_dec" },
    { "2026-11-23T17:27:50Z", "2026-11-31T17:27:50Z", "not_before" },
    { "2026-11-23T17:27:50Z", "2026-11-23", "not_before" },
    { "2036-11-20T18:27:50Z", "20361120182750Z", "not_after" },
    { "\"superseded_by\":null", "\"superseded_by\":\"" H64 "\"", "superseded_by" },
    { "{\"Site\":\"M\xc3\xbcnchen\"}", "{\"Site\":1}", "attributes" },
    { "{\"Site\":\"M\xc3\xbcnchen\"}", "[]", "attributes" },
    { "{\"Site\":\"M\xc3\xbcnchen\"}", "{}", NULL },
    { "{\"Site\":\"M\xc3\xbcnchen\"}", "{\"\":\"x\"}", "attributes: a name that is empty" },
    { "\"Site\"", "\"" H64 "\"", NULL },
    { "\"Site\"", "\"" H64 "x\"", "attributes: a name that is empty or longer than 64" },
    { "chains/000003.tar", "chains/3.tar", "chain.segment" },
    { "chains/000003.tar", "chains/../x.tar", "chain.segment" },
    { "chains/000003.tar", "/chains/000003.tar", "chain.segment" },
    { "chains/000003.tar", "keys/000003.tar", "chain.segment" },
    { "chains/000003.tar", "chains/0000003.tar", "chain.segment" },
    { "chains/000003.tar", "chains/000003.tar.part", "chain.segment" },
    { "chains/000003.tar", "chains/99999999999.tar", "chain.segment" },
    { "keys/000003.tar", "keys/000004.tar", "another segment" },
    { "\"offset\":156160", "\"offset\":156161", "chain.offset" },
    { "\"offset\":156160", "\"offset\":0", "chain.offset" },
    { "\"offset\":156160", "\"offset\":-512", "chain.offset" },
    { "\"length\":1234", "\"length\":0", "chain.length" },
    { "\"length\":1234", "\"length\":1048577", "chain.length" },
    { "\"length\":241", "\"length\":16385", "key.length" },
    { "\"length\":241", "\"length\":241,\"more\":1", "key" },
    { "\"segment\":\"keys", "\"path\":\"keys", "key" },
    { "\"xxh3\":\"0", "\"xxh3\":\"x", "xxh3" },
    { "{\"run_id\"", "[{\"run_id\"", "JSON" },
    { "\"superseded_by\":null}", "\"superseded_by\":null}x", "JSON" },
    { "\"superseded_by\":null}", "\"superseded_by\":null", "JSON" },
    { "\"superseded_by\":null}", "\"superseded_by\":null}\t", "white space" },
};

/* As many and as large as a device list may make them, and one more. */
Test(rowread, bounds_of_attributes)
{
    static char many[CM_ROW_ATTRIBUTES * 16], large[CM_ROW_ATTRIBUTES_MAX + 64];

    for (int more = 0; more < 2; more++) {
        struct cm_row row = { 0 };
        struct cm_error err = { 0 };
        char *text = many;
        for (int i = 0; i < CM_ROW_ATTRIBUTES + more; i++)
            text += snprintf(text, 16, "%s\"%d\":\"\"", i == 0 ? "{" : ",", i);
        (void) snprintf(text, 2, "}");
        text = changed("{\"Site\":\"M\xc3\xbcnchen\"}", many);
        cr_expect_eq(cm_rowread_parse(cm_span_str(text), &row, &err), more == 0 ? CM_OK : CM_E_INPUT, "%s",
                     err.what);
        cm_rowread_done(&row);
        free(text);
        (void) snprintf(large, sizeof large, "{\"a\":\"%0*d\"}", CM_ROW_ATTRIBUTES_MAX - 1 + more, 1);
        text = changed("{\"Site\":\"M\xc3\xbcnchen\"}", large);
        cr_expect_eq(cm_rowread_parse(cm_span_str(text), &row, &err), more == 0 ? CM_OK : CM_E_INPUT, "%s",
                     err.what);
        cm_rowread_done(&row);
        free(text);
    }
}

Test(rowread, judges_every_change)
{
    for (size_t i = 0; i < CM_COUNT(changes); i++) {
        struct cm_row row = { 0 };
        struct cm_error err = { 0 };
        char *text = changed(changes[i].from, changes[i].to);
        const cm_err rc = cm_rowread_parse(cm_span_str(text), &row, &err);
        if (changes[i].says == NULL) {
            cr_expect_eq(rc, CM_OK, "%s: %s", changes[i].to, err.what);
        } else {
            cr_expect_eq(rc, CM_E_INPUT, "accepted: %s", changes[i].to);
            cr_expect_not_null(strstr(err.what, changes[i].says), "%s: %s", changes[i].to, err.what);
            cr_expect_null(row.root, "the output was touched");
        }
        cm_rowread_done(&row);
        free(text);
    }
}

Test(rowread, takes_the_tree_layout)
{
    struct cm_row row = { 0 };
    struct cm_error err = { 0 };
    static const char *const path[] = { "chains/000012/SN%2077.crt", "chains/000012/SN 77.crt",
                                        "chains/000012/x.crt", "chains/000012/../SN%2077.crt",
                                        "chains/000012/SN%2077.crt/" };

    for (size_t i = 0; i < CM_COUNT(path); i++) {
        char *text = NULL;
        const char *chain = strstr(good, "\"chain\":"), *minted = strstr(good, ",\"minted_at\"");
        cr_assert_geq(asprintf(&text,
                               "%.*s\"chain\":{\"path\":\"%s\",\"length\":5,\"xxh3\":\"" H32
                               "\",\"sha256\":\"" H64 "\"},\"key\":null%s",
                               (int) (chain - good), good, path[i], minted),
                      0);
        const cm_err rc = cm_rowread_parse(cm_span_str(text), &row, &err);
        cr_expect_eq(rc, i == 0 ? CM_OK : CM_E_INPUT, "%s: %s", path[i], err.what);
        if (rc == CM_OK) {
            cr_expect(row.tree && !row.has_key && row.chain.number == 12);
            cm_rowread_done(&row);
        }
        free(text);
    }
}

/* Every prefix and every octet changed: refused or read, never a crash, and what is
 * read has the strings that the struct promises. */
Test(rowread, survives_anything)
{
    const size_t len = sizeof good - 1;

    for (size_t i = 0; i < len; i++) {
        struct cm_row row = { 0 };
        cr_expect_eq(cm_rowread_parse(cm_span(good, i), &row, NULL), CM_E_INPUT, "%zu octets of it", i);
    }
    for (size_t i = 0; i < len; i++) {
        struct cm_row row = { 0 };
        char *text = strdup(good);
        cr_assert_not_null(text);
        text[i] ^= 0x11;
        if (cm_rowread_parse(cm_span(text, len), &row, NULL) == CM_OK)
            cr_expect(row.device_id != NULL && row.certificate_id != NULL && row.chain.xxh3 != NULL);
        cm_rowread_done(&row);
        free(text);
    }
}

Test(rowread, peeks_what_it_would_parse)
{
    struct cm_span device = { 0 }, certificate = { 0 };
    char *escaped = changed("SN 77", "SN\\\"77");

    cr_assert(cm_rowread_peek(cm_span_str(good), &device, &certificate));
    cr_expect(cm_span_eq(device, cm_span_str("SN 77")));
    cr_expect(cm_span_eq(certificate, cm_span_str(H64)));
    cr_expect_not(cm_rowread_peek(cm_span_str(escaped), &device, &certificate), "escapes are for the parser");
    cr_expect_not(cm_rowread_peek(cm_span_str("{}"), &device, &certificate));
    free(escaped);
    /* Free text that looks like a key: its quotes are escaped. */
    escaped = changed("\"sku\":\"K\"", "\"sku\":\"\\\",\\\"certificate_id\\\":\\\"x\"");
    cr_assert(cm_rowread_peek(cm_span_str(escaped), &device, &certificate));
    cr_expect(cm_span_eq(certificate, cm_span_str(H64)));
    free(escaped);
}
