/* Goal: headers and integers are DER (X.690 8.1.3, 8.3, 10.1), lengths of every size, and a full buffer is
 * remembered, not passed. cm_der_peek accepts exactly what the writer makes. Method: libcrypto's
 * ASN1_get_object and i2d_ASN1_INTEGER beside ours. */
#include "engine/der.h"
#include "engine/err.h"
#include "engine/ossl.h"

#include <criterion/criterion.h>

static const size_t lengths[] = { 0,   1,   2,    126,  127,   128,   129,   254,   255,     256,
                                  257, 511, 4095, 4096, 65534, 65535, 65536, 65537, 0x100000 };

Test(der, headers_of_every_length)
{
    static uint8_t buf[0x100000 + 16];

    for (size_t i = 0; i < CM_COUNT(lengths); i++) {
        struct cm_der d = cm_der(buf, sizeof buf);
        cr_assert(cm_der_room(&d, lengths[i]) != NULL || lengths[i] == 0);
        cm_der_wrap(&d, 0x30, 0);
        cr_assert(cm_der_ok(&d));
        const unsigned char *p = cm_der_span(&d).data;
        long len = 0;
        int tag = 0, class = 0;
        cr_assert_eq(ASN1_get_object(&p, &len, &tag, &class, (long) cm_der_len(&d)), V_ASN1_CONSTRUCTED);
        cr_expect(tag == V_ASN1_SEQUENCE && class == 0 && (size_t) len == lengths[i], "%zu", lengths[i]);
        cr_expect_eq(ASN1_object_size(1, (int) lengths[i], V_ASN1_SEQUENCE), (int) cm_der_len(&d), "minimal");
        struct cm_tlv v;
        cr_assert(cm_der_peek(cm_der_span(&d).data, cm_der_len(&d), &v));
        cr_expect(v.tag == 0x30 && v.content_len == lengths[i] &&
                  v.header_len + lengths[i] == cm_der_len(&d));
        cr_expect(!cm_der_peek(cm_der_span(&d).data, cm_der_len(&d) - 1, &v), "an octet is missing");
    }
}

Test(der, a_length_beyond_the_limit_is_an_overflow)
{
    uint8_t buf[32];
    struct cm_der d = cm_der(buf, sizeof buf);

    cm_der_header(&d, 0x30, 0xffffff);
    cr_expect(cm_der_ok(&d));
    cm_der_header(&d, 0x30, 0x1000000);
    cr_expect(!cm_der_ok(&d));
}

static void expect_uint(const uint8_t *be, size_t len)
{
    uint8_t buf[300];
    struct cm_der d = cm_der(buf, sizeof buf);
    CM_AUTO(BIGNUM) bn = BN_bin2bn(be, (int) len, NULL);
    ASN1_INTEGER *theirs = BN_to_ASN1_INTEGER(bn, NULL);
    unsigned char *der = NULL;
    const int n = i2d_ASN1_INTEGER(theirs, &der);

    cm_der_uint(&d, be, len);
    cr_assert(cm_der_ok(&d));
    cr_assert(cm_span_eq(cm_der_span(&d), cm_span(der, (size_t) n)), "%zu octets from %02x", len,
              len > 0 ? be[0] : 0);
    OPENSSL_free(der);
    ASN1_INTEGER_free(theirs);
}

Test(der, integers)
{
    static const uint8_t lead[] = { 0x00, 0x01, 0x7f, 0x80, 0x81, 0xff };
    uint8_t be[200] = { 0 };

    expect_uint(be, 0);
    for (unsigned a = 0; a < 256; a++)
        for (unsigned b = 0; b < 256; b++)
            expect_uint((const uint8_t[]) { (uint8_t) a, (uint8_t) b }, 2);
    for (size_t zeros = 0; zeros < 5; zeros++)
        for (size_t l = 0; l < CM_COUNT(lead); l++)
            for (size_t len = zeros + 1; len < sizeof be; len += 7) {
                memset(be, 0, sizeof be);
                be[zeros] = lead[l];
                for (size_t i = zeros + 1; i < len; i++)
                    be[i] = (uint8_t) (i * 37);
                expect_uint(be, len);
            }
}

Test(der, nesting_ripples)
{
    static const uint8_t expected[] = { 0x30, 0x09, 0x02, 0x01, 0x05, 0x31, 0x04, 0x0c, 0x02, 'h', 'i' };
    uint8_t buf[64];
    struct cm_der d = cm_der(buf, sizeof buf);
    const size_t all = cm_der_len(&d);

    cm_der_raw(&d, "hi", 2);
    cm_der_wrap(&d, CM_DER_UTF8, all);
    cm_der_wrap(&d, CM_DER_SET, all);
    const size_t mark = cm_der_len(&d);
    cm_der_byte(&d, 5);
    cm_der_wrap(&d, CM_DER_INTEGER, mark);
    cm_der_wrap(&d, CM_DER_SEQUENCE, all);
    cr_expect(cm_span_eq(cm_der_span(&d), cm_span(expected, sizeof expected)));
}

/* Nothing is written in front of the buffer, and once full it stays full. */
Test(der, no_room)
{
    for (size_t cap = 0; cap <= 12; cap++) {
        uint8_t *exact = malloc(cap + 1);
        struct cm_der d = cm_der(exact, cap);
        cm_der_raw(&d, "0123456789", 10);
        cm_der_wrap(&d, 0x04, 0);
        cr_expect_eq(cm_der_ok(&d), cap == 12, "%zu", cap);
        cr_expect_eq(cm_der_len(&d), cap < 10 ? 0 : cap == 12 ? 12 : 10, "%zu: all of it or nothing", cap);
        if (cap < 12) {
            const size_t len = cm_der_len(&d);
            cm_der_byte(&d, 1);
            cm_der_uint(&d, (const uint8_t[]) { 0 }, 1);
            cr_expect(!cm_der_ok(&d) && cm_der_len(&d) == len, "%zu: written on after an overflow", cap);
        }
        free(exact);
    }
}

Test(der, peek_refuses_what_is_not_der)
{
    static const struct {
        const char *what;
        uint8_t der[8];
        size_t len;
    } bad[] = {
        { "nothing", { 0 }, 0 },
        { "a tag alone", { 0x30 }, 1 },
        { "indefinite length", { 0x30, 0x80, 0, 0 }, 4 },
        { "a high tag number", { 0x1f, 0x02, 0, 0 }, 4 },
        { "81 for a short length", { 0x04, 0x81, 0x01, 0xff }, 4 },
        { "82 with a leading zero", { 0x04, 0x82, 0x00, 0x80, 0 }, 5 },
        { "four length octets", { 0x04, 0x84, 1, 0, 0, 0, 0 }, 7 },
        { "length octets missing", { 0x04, 0x82, 0x01 }, 3 },
        { "content missing", { 0x04, 0x03, 1, 2 }, 4 },
    };
    struct cm_tlv v;

    for (size_t i = 0; i < CM_COUNT(bad); i++)
        cr_expect(!cm_der_peek(bad[i].der, bad[i].len, &v), "%s", bad[i].what);
    cr_expect(cm_der_peek((const uint8_t[]) { 0x05, 0x00, 0xff }, 3, &v) && v.content_len == 0 &&
              v.header_len == 2);
}
