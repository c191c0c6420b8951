/* Goal: the quick reader of rows takes what certmill writes, reads from it what the strict one reads, and
 * takes nothing that the strict one refuses; what it leaves to the strict one comes out the same. Method:
 * good rows, then each of their octets exchanged for each of a set that matters, cut, doubled. */
#include "tests/t_rowview.h"

#include <criterion/criterion.h>

#define H40 "0123456789abcdef0123456789abcdef01234567"
#define H64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define H32 "0123456789abcdef0123456789abcdef"
#define FACTS(id, lot, subject)                                                                              \
    "{\"run_id\":\"be608a56-3b67-4b7f-b086-d29f0ebc7029\",\"seq\":77,\"device_id\":\"" id "\",\"lot\":" lot  \
    ",\"sku\":\"K\",\"order\":null,\"profile\":\"aws-iot\",\"subject\":\"" subject                           \
    "\",\"certificate_id\":\"" H64 "\",\"ca_certificate_id\":\"" H64 "\",\"serial\":\"" H40                  \
    "\",\"serial_dec\":\"12345\",\"key_alg\":\"P-256\",\"sig_alg\":\"ecdsa-with-SHA256\",\"spki_sha256\":"   \
    "\"" H64 "\",\"ski\":\"" H40 "\",\"thumbprint_sha1\":\"" H40                                             \
    "\",\"not_before\":\"2026-11-23T17:27:50Z\",\"not_after\":\"2036-11-20T18:27:50Z\","
#define CHAIN                                                                                                \
    "\"chain\":{\"segment\":\"chains/000003.tar\",\"offset\":156160,\"length\":1234,\"xxh3\":\"" H32         \
    "\",\"sha256\":\"" H64 "\"},"
#define KEY                                                                                                  \
    "\"key\":{\"segment\":\"keys/000003.tar\",\"offset\":78336,\"length\":241,\"xxh3\":\"" H32               \
    "\",\"sha256\":\"" H64 "\"},"
#define END(attributes)                                                                                      \
    "\"minted_at\":\"2026-11-23T18:27:50Z\",\"attributes\":{" attributes "},\"superseded_by\":null}"

/* The quick way is for these. */
static const char *const good[] = {
    FACTS("SN 77", "null", "CN=SN\\\\ 77") CHAIN KEY END("\"Site\":\"M\xc3\xbcnchen\",\"b\":\"\""),
    FACTS("SN77", "\"a\\\"b\\u001f\"", "") CHAIN "\"key\":null," END(""),
    FACTS("\xe2\x82\xac", "\"L\"", "CN=x") CHAIN KEY END("\"\\\"\\\\\":\"\\u0001\"") "   ",
};

/* And these are the strict one's, which takes them. */
static const char *const slow[] = {
    FACTS("a", "\"\\u00e4\\/\"", "") CHAIN KEY END(""),
    FACTS("a", "null", "") "\"chain\":{\"path\":\"chains/000003/a.crt\",\"length\":12,\"xxh3\":\"" H32
                           "\",\"sha256\":\"" H64 "\"},\"key\":null," END("\"k\":\"v\""),
    FACTS("a", "null", "") "\"key\":null," CHAIN END(""),
};

static struct cm_rowview_reader *reader;

static void setup(void)
{
    struct cm_error err = { 0 };

    cr_assert_eq(cm_rowview_open(&reader, &err), CM_OK);
}

static void teardown(void)
{
    cm_rowview_close(reader);
}

Test(rowview, takes_what_is_written, .init = setup, .fini = teardown)
{
    struct cm_rowview v;

    for (size_t i = 0; i < CM_COUNT(good); i++) {
        bool quick = false;
        const char *fault = t_rowview_fault(reader, cm_span_str(good[i]), &quick);
        cr_expect(quick, "%zu", i);
        cr_expect_null(fault, "%zu: %s", i, fault);
    }
    cr_assert(cm_rowview_quick(reader, cm_span_str(good[1]), &v));
    cr_expect(cm_span_eq(v.lot, cm_span_str("a\"b\x1f")));
    cr_expect_null(v.order.data);
    cr_expect_not_null(v.subject.data);
    cr_expect_eq(v.key_length, -1);
    cr_expect_eq(v.chain_offset, 156160);
}

Test(rowview, leaves_the_rest_to_the_strict_one, .init = setup, .fini = teardown)
{
    struct cm_error err = { 0 };
    struct cm_rowview v;

    for (size_t i = 0; i < CM_COUNT(slow); i++) {
        cr_expect_not(cm_rowview_quick(reader, cm_span_str(slow[i]), &v), "%zu", i);
        cr_expect_eq(cm_rowview_read(reader, cm_span_str(slow[i]), &v, &err), CM_OK, "%zu: %s", i, err.what);
        cr_expect(cm_span_eq(v.certificate_id, cm_span_str(H64)));
    }
    cr_assert_eq(cm_rowview_read(reader, cm_span_str(slow[0]), &v, &err), CM_OK);
    cr_expect(cm_span_eq(v.lot, cm_span_str("\xc3\xa4/")));
    cr_assert_eq(cm_rowview_read(reader, cm_span_str(slow[1]), &v, &err), CM_OK);
    cr_expect(cm_span_eq(v.attributes, cm_span_str("{\"k\":\"v\"}")));
    cr_expect_eq(v.chain_offset, -1);
    cr_expect_eq(cm_rowview_read(reader, cm_span_str("{}"), &v, &err), CM_E_INPUT);
}

/* What the fields may be, and what the quick reader must not take for one. */
Test(rowview, takes_nothing_that_the_strict_one_refuses, .init = setup, .fini = teardown)
{
    static const uint8_t octet[] = { 0,   1,   ' ', '"', '\\', '/', '0', '9',  ':',  'a',  'f', 'g',
                                     'G', '-', '.', '{', '}',  ',', 'u', 0x7f, 0x80, 0xc3, 0xff };
    size_t taken = 0, refused = 0;

    for (size_t i = 0; i < CM_COUNT(good); i++) {
        const size_t len = strlen(good[i]);
        uint8_t *text = malloc(2 * len);
        for (size_t at = 0; at < len; at++)
            for (size_t o = 0; o <= CM_COUNT(octet) + 1; o++) {
                size_t changed = len;
                bool quick = false;
                memcpy(text, good[i], len);
                if (o < CM_COUNT(octet)) {
                    text[at] = octet[o];
                } else if (o == CM_COUNT(octet)) { /* one octet less */
                    memmove(text + at, text + at + 1, len - at - 1);
                    changed--;
                } else { /* from here on once more */
                    memcpy(text + len, good[i] + at, len - at);
                    changed += len - at;
                }
                const char *fault = t_rowview_fault(reader, cm_span(text, changed), &quick);
                cr_assert_null(fault, "%s: %.*s", fault, (int) changed, (const char *) text);
                taken += quick;
                refused += !quick;
            }
        free(text);
    }
    cr_expect(taken > 1000 && refused > 10000, "%zu taken, %zu refused", taken, refused);
}

Test(rowview, limits, .init = setup, .fini = teardown)
{
    struct cm_error err = { 0 };
    struct cm_rowview v;
    static char text[CM_ROW_MAX + 100];

    memset(text, ' ', sizeof text);
    memcpy(text, good[0], strlen(good[0]));
    cr_expect(cm_rowview_quick(reader, cm_span(text, CM_ROW_MAX - 1), &v));
    cr_expect_not(cm_rowview_quick(reader, cm_span(text, CM_ROW_MAX), &v));
    cr_expect_eq(cm_rowview_read(reader, cm_span(text, CM_ROW_MAX), &v, &err), CM_E_INPUT);
    cm_rowview_close(NULL);
}
