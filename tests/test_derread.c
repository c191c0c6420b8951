/* Goal: the strict reader accepts DER and nothing else, down to the single octet. Method: all short contents
 * of INTEGER, BIT STRING, OBJECT IDENTIFIER and BOOLEAN, all characters of every string type, all lengths at
 * the borders; the judge is libcrypto, which must read them and write the same octets again, or X.690's own
 * words. Copies of exact size, so that a sanitizer sees an octet read too many. */
#include "engine/derread.h"
#include "tests/t_ident.h"

#include <criterion/criterion.h>
#include <openssl/err.h>

/* ---- the octets, in memory that ends with them ---- */

static cm_err check(const void *der, size_t len, struct cm_error *err)
{
    uint8_t *exact = malloc(len + (len == 0));

    memcpy(exact, der, len);
    const cm_err rc = cm_derread_check(cm_span(exact, len), "it", err);
    free(exact);
    return rc;
}

static cm_err check_spec(const char *spec, struct cm_error *err)
{
    static struct t_blob b;

    t_der(spec, &b);
    return check(b.data, b.len, err);
}

/* ---- lengths and what holds what ---- */

static const struct {
    const char *spec, *finding; /* NULL: it is DER */
} forms[] = {
    { "30()", NULL },
    { "", "missing or cut short" },
    { "30", "missing or cut short" },
    { "30 80 00 00", "indefinite length" },
    { "30 81 80", "reaches beyond" },
    { "30 81", "missing or cut short" },
    { "30 82 01", "missing or cut short" },
    { "30 81 02 05 00", "fewest octets" },
    { "30 82 00 80", "fewest octets" },
    { "30 83 00 80 00", "fewest octets" },
    { "30 83 10 00 00", "reaches beyond" },
    { "30 84 00 00 00 02 05 00", "a length of 4 octets" },
    { "30 02 05", "reaches beyond" },
    { "30(05()) 00", "1 octets too many" },
    { "1f 01 00", "tag number above 30" },
    { "bf 01 00", "tag number above 30" },
    { "05()", NULL },
    { "05(00)", "1 octets too many" },
    { "0a(05)", NULL },
    { "0a(00 05)", "isn't minimal" },
    { "04(ff 00)", NULL },
    { "24(04(ff) 04(00))", "a string in pieces" },
    { "23(03(00))", "a string in pieces" },
    { "80(ff)", NULL }, /* [0] primitive: nobody knows what it holds */
    { "a0(02(00 01))", "isn't minimal" },
    { "a0(30(a1(02(01))))", NULL },
    { "c1(ff)", NULL },
    { "31()", NULL },
    { "31(02(01) 02(01) 02(02))", NULL },
    { "31(02(02) 02(01))", "a SET OF that isn't in order" },
    { "31(02(7f) 02(00 80))", NULL }, /* by octets: the length counts first */
    { "31(02(00 80) 02(7f))", "a SET OF that isn't in order" },
    { "30(02(02) 02(01))", NULL },
    { "30(31(02(02) 02(01)))", "a SET OF that isn't in order" },
    { "31(30(02(02) 02(01)))", NULL },
    { "08()", "isn't a permitted string type" },
    { "14('teletex')", "isn't a permitted string type" },
    { "1e(00 'a')", "isn't a permitted string type" },
    { "0c(e2 82)", "not UTF-8 at octet 0" },
    { "13('a*')", "octet 2a isn't in the alphabet" },
    { "17('990101000000Z')", NULL },
    { "18('19990101000000Z')", "before 2050" },
};

Test(derread, forms)
{
    for (size_t i = 0; i < CM_COUNT(forms); i++) {
        struct cm_error err = { 0 };
        const cm_err rc = check_spec(forms[i].spec, &err);
        cr_expect_eq(rc, forms[i].finding == NULL ? CM_OK : CM_E_INPUT, "%s: %s", forms[i].spec, err.what);
        cr_expect(forms[i].finding == NULL || strstr(err.what, forms[i].finding) != NULL, "%s: \"%s\"",
                  forms[i].spec, err.what);
    }
}

/* One element with content of each length around the borders, cut at its end, and with one octet more behind
 * it. */
Test(derread, lengths)
{
    static const size_t lengths[] = { 0, 1, 126, 127, 128, 129, 255, 256, 257, 65535, 65536, 65537 };
    static uint8_t der[65537 + 6];

    for (size_t i = 0; i < CM_COUNT(lengths); i++) {
        unsigned char *at = der;
        ASN1_put_object(&at, 0, (int) lengths[i], V_ASN1_OCTET_STRING, V_ASN1_UNIVERSAL);
        const size_t len = (size_t) (at - der) + lengths[i];
        struct cm_span in = cm_span(der, len + 1), content, whole;
        struct cm_error err = { 0 };
        uint8_t tag = 0;
        cr_assert_eq(cm_derread_any(&in, "it", &tag, &content, &whole, &err), CM_OK, "%s", err.what);
        cr_expect(tag == 4 && content.data == at && content.len == lengths[i]);
        cr_expect(whole.data == der && whole.len == len && in.data == der + len && in.len == 1);
        cr_expect_eq(check(der, len, &err), CM_OK, "%s", err.what);
        cr_expect_eq(check(der, len + 1, &err), CM_E_INPUT);
        for (size_t cut = 1; cut <= len && cut < 8; cut++)
            cr_expect_eq(check(der, len - cut, &err), CM_E_INPUT, "%zu of %zu octets", len - cut, len);
    }
}

/* `levels` SEQUENCEs, one in the other. */
Test(derread, depth)
{
    for (unsigned levels = 15; levels <= 19; levels++) {
        uint8_t der[64];
        struct cm_error err = { 0 };
        for (unsigned i = 0; i < levels; i++) {
            der[2 * i] = 0x30;
            der[2 * i + 1] = (uint8_t) (2 * (levels - i - 1));
        }
        cr_expect_eq(check(der, 2 * (size_t) levels, &err), levels <= 16 ? CM_OK : CM_E_INPUT, "%u levels",
                     levels);
        cr_expect(levels <= 16 || strcmp(err.what, "it: nested deeper than 16 levels") == 0, "%s", err.what);
    }
}

/* ---- contents, against libcrypto ---- */

/* Would libcrypto read it, and write the same? */
static bool stays(const ASN1_ITEM *item, const uint8_t *der, size_t len)
{
    const unsigned char *at = der;
    unsigned char *again = NULL;
    ASN1_VALUE *value = ASN1_item_d2i(NULL, &at, (long) len, item);
    const int n = value != NULL ? ASN1_item_i2d(value, &again, item) : 0;
    const bool same = n > 0 && at == der + len && (size_t) n == len && memcmp(again, der, len) == 0;

    OPENSSL_free(again);
    ASN1_item_free(value, item);
    ERR_clear_error();
    return same;
}

/* Every content of none, one and two octets, and of three with one of these in the middle. */
static void all_contents(uint8_t tag, const ASN1_ITEM *item)
{
    static const uint8_t middle[] = { 0x00, 0x01, 0x7f, 0x80, 0x81, 0xff };
    struct cm_error err = { 0 };

    for (size_t len = 0; len <= 3; len++)
        for (unsigned first = 0; first < (len > 0 ? 256 : 1); first++)
            for (unsigned last = 0; last < (len > 1 ? 256 : 1); last++)
                for (size_t m = 0; m < (len > 2 ? CM_COUNT(middle) : 1); m++) {
                    const uint8_t der[] = { tag, (uint8_t) len, (uint8_t) first,
                                            len > 2 ? middle[m] : (uint8_t) last, (uint8_t) last };
                    cr_assert_eq(check(der, 2 + len, &err) == CM_OK, stays(item, der, 2 + len),
                                 "%02x, %zu octets: %02x %02x %02x", tag, len, der[2], der[3], der[4]);
                }
}

Test(derread, every_short_integer, .timeout = 120)
{
    all_contents(0x02, ASN1_ITEM_rptr(ASN1_INTEGER));
}

Test(derread, every_short_bit_string, .timeout = 120)
{
    all_contents(0x03, ASN1_ITEM_rptr(ASN1_BIT_STRING));
}

Test(derread, every_short_object_identifier, .timeout = 120)
{
    all_contents(0x06, ASN1_ITEM_rptr(ASN1_OBJECT));
}

Test(derread, every_boolean)
{
    struct cm_error err = { 0 };

    for (unsigned value = 0; value < 256; value++) {
        const uint8_t der[] = { 0x01, 0x01, (uint8_t) value };
        cr_expect_eq(check(der, 3, &err) == CM_OK, value == 0 || value == 0xff, "%02x", value);
    }
    cr_expect_eq(check_spec("01()", &err), CM_E_INPUT);
    cr_expect_eq(check_spec("01(ff ff)", &err), CM_E_INPUT);
}

/* ---- character strings ---- */

static const char printable[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 '()+,-./:=?";

static bool may_hold(uint8_t tag, unsigned octet)
{
    switch (tag) {
    case CM_TAG_NUMERIC:
        return octet != 0 && strchr("0123456789 ", (int) octet) != NULL;
    case CM_TAG_PRINTABLE:
        return octet != 0 && strchr(printable, (int) octet) != NULL;
    default:
        return octet >= ' ' && octet <= '~';
    }
}

Test(derread, every_octet_of_every_string_type)
{
    static const uint8_t tags[] = { CM_TAG_NUMERIC, CM_TAG_PRINTABLE, CM_TAG_IA5, CM_TAG_VISIBLE };
    struct cm_error err = { 0 };
    size_t chars = 9;

    for (size_t t = 0; t < CM_COUNT(tags); t++)
        for (unsigned c = 0; c < 256; c++) {
            const uint8_t text[] = { '1', '2', (uint8_t) c };
            const cm_err rc = cm_derread_string(tags[t], cm_span(text, 3), "it", &chars, &err);
            cr_expect_eq(rc == CM_OK, may_hold(tags[t], c), "string type %02x, octet %02x", tags[t], c);
            cr_expect(rc != CM_OK || chars == 3);
        }
    cr_expect_eq(cm_derread_string(CM_TAG_PRINTABLE, cm_span(printable, 0), "it", &chars, &err), CM_OK);
    cr_expect_eq(chars, 0);
}

/* The code point in n octets, whether that many belong to it or not. */
static void encode(uint32_t cp, size_t n, uint8_t out[4])
{
    static const uint8_t lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

    for (size_t i = n; i > 1; i--, cp >>= 6)
        out[i - 1] = (uint8_t) (0x80 | (cp & 0x3f));
    out[0] = (uint8_t) (lead[n] | cp);
}

static bool utf8_reads(const uint8_t *text, size_t len, size_t expected_chars)
{
    struct cm_error err = { 0 };
    uint8_t *exact = malloc(len);
    size_t chars = 0;

    memcpy(exact, text, len);
    const cm_err rc = cm_derread_string(CM_TAG_UTF8, cm_span(exact, len), "it", &chars, &err);
    free(exact);
    cr_expect(rc != CM_OK || chars == expected_chars);
    return rc == CM_OK;
}

/* RFC 3629: each code point in its own number of octets and in every other; no control characters (C0, DEL,
 * C1). */
Test(derread, every_code_point, .timeout = 120)
{
    for (uint32_t cp = 0; cp < 0x200000; cp += cp < 0x12000 || (cp >= 0x10ff00 && cp < 0x110100) ? 1 : 0x35) {
        const size_t own = cp < 0x80 ? 1 : cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
        const bool control = cp < 0x20 || (cp >= 0x7f && cp <= 0x9f);
        const bool good = !control && cp <= 0x10ffff && (cp < 0xd800 || cp > 0xdfff);
        for (size_t n = own; n <= 4; n++) {
            uint8_t text[6] = { 'a' };
            encode(cp, n, text + 1);
            text[1 + n] = 'z';
            cr_assert_eq(utf8_reads(text, n + 2, 3), good && n == own, "U+%04X in %zu octets", cp, n);
            cr_assert(n == 1 || !utf8_reads(text, n, 2), "U+%04X cut short", cp);
        }
    }
}

Test(derread, octets_that_begin_no_character)
{
    for (unsigned c = 0x80; c < 0x100; c++) {
        const uint8_t text[] = { 'a', (uint8_t) c, 'b', 'c', 'd', 'e' };
        cr_expect(!utf8_reads(text, sizeof text, 6), "%02x", c);
    }
    for (unsigned c = 0; c < 0x100; c++)
        if (c >> 6 != 2) {
            cr_expect(!utf8_reads((const uint8_t[]) { 0xe2, (uint8_t) c, 0xac }, 3, 1), "%02x in the middle",
                      c);
            cr_expect(!utf8_reads((const uint8_t[]) { 0xe2, 0x82, (uint8_t) c }, 3, 1), "%02x at the end", c);
        }
}

/* ---- times ---- */

static cm_err read_time(const char *spec, struct cm_derread_time *t)
{
    static struct t_blob b;
    struct cm_error err = { 0 };
    struct cm_span in;

    t_der(spec, &b);
    in = t_span(&b);
    return cm_derread_time(&in, "it", t, &err);
}

Test(derread, times_and_their_borders)
{
    struct cm_derread_time t;

    cr_expect(read_time("17('491231235959Z')", &t) == CM_OK && strcmp(t.text, "2049-12-31T23:59:59Z") == 0);
    cr_expect_eq(t.at, 2524607999);
    cr_expect(read_time("17('500101000000Z')", &t) == CM_OK && strcmp(t.text, "1950-01-01T00:00:00Z") == 0);
    cr_expect_eq(t.at, -631152000);
    cr_expect(read_time("18('20500101000000Z')", &t) == CM_OK && strcmp(t.text, "2050-01-01T00:00:00Z") == 0);
    cr_expect_eq(t.at, 2524608000);
    cr_expect_eq(read_time("18('20491231235959Z')", &t), CM_E_INPUT);
    cr_expect_eq(read_time("18('00000101000000Z')", &t), CM_E_INPUT);
    cr_expect_eq(read_time("16('20500101000000Z')", &t), CM_E_INPUT);
    cr_expect_eq(read_time("17('20500101000000Z')", &t), CM_E_INPUT, "each form has its length");
    cr_expect_eq(read_time("18('491231235959Z')", &t), CM_E_INPUT);
}

/* Each place of both forms with every octet: digits and the Z stay, nothing else is let through. */
Test(derread, every_octet_of_a_time)
{
    static const char *const text[] = { "250101010101Z", "20510101010101Z" };
    static const uint8_t tag[] = { CM_TAG_UTCTIME, CM_TAG_GENERALIZEDTIME };
    struct cm_error err = { 0 };

    for (size_t form = 0; form < 2; form++)
        for (size_t at = 0; at < strlen(text[form]); at++)
            for (unsigned c = 0; c < 256; c++) {
                const size_t len = strlen(text[form]);
                uint8_t der[24] = { tag[form], (uint8_t) len };
                memcpy(der + 2, text[form], len);
                der[2 + at] = (uint8_t) c;
                const bool fits = at + 1 == len ? c == 'Z' : c >= '0' && c <= '9';
                cr_expect(fits || check(der, 2 + len, &err) == CM_E_INPUT, "place %zu of %s: %02x", at,
                          text[form], c);
                cr_expect(c != (unsigned char) text[form][at] || check(der, 2 + len, &err) == CM_OK);
            }
}

/* ---- one element ---- */

enum reader { UINT, VERSION_2, FLAG, BITS, OCTET_BITS, OID };

/* The value read, as hexadecimal digits. */
static cm_err read_one(enum reader how, struct cm_span *in, char value[32], struct cm_error *err)
{
    struct cm_writer w = cm_writer(value, 31);
    struct cm_span s = { 0 };
    bool flag = false;
    unsigned unused = 0;
    cm_err rc = how == UINT        ? cm_derread_uint(in, "it", &s, err)
                : how == VERSION_2 ? cm_derread_version(in, "it", 2, err)
                : how == FLAG      ? cm_derread_flag(in, "it", &flag, err)
                : how == BITS      ? cm_derread_bits(in, "it", &s, &unused, err)
                : how == OID       ? cm_derread_oid(in, "it", &s, err)
                                   : cm_derread_octet_bits(in, "it", &s, err);

    cm_put_hex(&w, s.data, s.len);
    if (unused > 0)
        cm_put_dec(&w, unused, 3);
    if (flag)
        cm_put_lit(&w, "true");
    value[w.len] = '\0';
    return rc;
}

static const struct {
    enum reader how;
    const char *spec, *value; /* NULL: refused */
    const char *finding;
} elements[] = {
    { UINT, "02(00)", "00", NULL },
    { UINT, "02(7f)", "7f", NULL },
    { UINT, "02(00 80)", "80", NULL },
    { UINT, "02(01 00)", "0100", NULL },
    { UINT, "02(80)", NULL, "negative" },
    { UINT, "02(ff 7f)", NULL, "negative" },
    { UINT, "02(00 7f)", NULL, "isn't minimal" },
    { UINT, "02()", NULL, "without octets" },
    { UINT, "0a(01)", NULL, "tag 0a where 02 belongs" },
    { VERSION_2, "02(02)", "", NULL },
    { VERSION_2, "02(01)", NULL, "isn't 2" },
    { VERSION_2, "02(02 00)", NULL, "isn't 2" },
    { VERSION_2, "02(00 82)", NULL, "isn't 2" },
    { FLAG, "01(ff)", "true", NULL },
    { FLAG, "01(00)", NULL, "DEFAULT FALSE is written out" },
    { FLAG, "01(01)", NULL, "TRUE written as 01" },
    { FLAG, "01 02 ff", NULL, "reaches beyond" },
    { BITS, "03(00)", "", NULL },
    { BITS, "03(07 80)", "80007", NULL },
    { BITS, "03(07 40)", NULL, "unused bits that aren't zero" },
    { BITS, "03(08 00)", NULL, "wrong count of unused bits" },
    { BITS, "04(00)", NULL, "tag 04 where 03 belongs" },
    { OCTET_BITS, "03(00 aa bb)", "aabb", NULL },
    { OCTET_BITS, "03(01 aa)", NULL, "1 unused bits where whole octets belong" },
    { OCTET_BITS, "03(01 ab)", NULL, "aren't zero" },
    { OID, "06(2a 86 48)", "2a8648", NULL },
    { OID, "06(2a 86)", NULL, "empty or cut short" },
    { OID, "06()", NULL, "empty or cut short" },
    { OID, "06(2a 80 01)", NULL, "isn't minimal" },
    { OID, "05()", NULL, "tag 05 where 06 belongs" },
};

Test(derread, elements)
{
    for (size_t i = 0; i < CM_COUNT(elements); i++) {
        static struct t_blob b;
        struct cm_error err = { 0 };
        char value[32] = "";
        t_der(elements[i].spec, &b);
        struct cm_span in = t_span(&b);
        const cm_err rc = read_one(elements[i].how, &in, value, &err);
        if (elements[i].value == NULL) {
            cr_expect_eq(rc, CM_E_INPUT, "%s: accepted", elements[i].spec);
            cr_expect_not_null(strstr(err.what, elements[i].finding), "%s: \"%s\"", elements[i].spec,
                               err.what);
        } else {
            cr_expect_eq(rc, CM_OK, "%s: %s", elements[i].spec, err.what);
            cr_expect_str_eq(value, elements[i].value, "%s", elements[i].spec);
            cr_expect_eq(in.len, 0, "it is taken off the front");
        }
    }
}

Test(derread, a_flag_that_is_not_there)
{
    static const uint8_t next[] = { 0x02, 0x01, 0x05 };
    struct cm_span in = cm_span(next, sizeof next), none = { 0 };
    struct cm_error err = { 0 };
    bool flag = true;

    cr_expect(cm_derread_flag(&in, "it", &flag, &err) == CM_OK && !flag && in.len == 3);
    flag = true;
    cr_expect(cm_derread_flag(&none, "it", &flag, &err) == CM_OK && !flag);
    cr_expect(!cm_derread_is(none, 0x02) && cm_derread_is(in, 0x02) && !cm_derread_is(in, 0x01));
    cr_expect(cm_derread_end(none, "it", &err) == CM_OK && cm_derread_end(in, "it", &err) == CM_E_INPUT);
}
