/* Goal: an id that would make a bad file name, a bad tar entry or a deceiving line is refused with the
 * reason, every other one is accepted, and its file name is the percent-encoding of RFC 3986. Method: a table
 * of refusals by class with the words of each; the encoding against a plain one written here. */
#include "engine/ident.h"

#include <criterion/criterion.h>

#define TEN "0123456789"
#define NINETY TEN TEN TEN TEN TEN TEN TEN TEN TEN

static const struct {
    const char *id;
    size_t len; /* 0: to the NUL */
    const char *words;
} refused[] = {
    { "", 0, "the device id is empty" },
    { "a\xff", 0, "not UTF-8" },
    { "\x80", 0, "not UTF-8" },
    { "\xc0\xaf", 0, "not UTF-8" }, /* overlong '/' */
    { "\xe0\x80\xaf", 0, "not UTF-8" },
    { "\xf0\x80\x80\xaf", 0, "not UTF-8" },
    { "\xed\xa0\x80", 0, "not UTF-8" },     /* a surrogate */
    { "\xf4\x90\x80\x80", 0, "not UTF-8" }, /* beyond U+10FFFF */
    { "\xf8\x88\x80\x80\x80", 0, "not UTF-8" },
    { "a\xc3", 0, "not UTF-8" }, /* cut off */
    { "a\xe2\x82", 0, "not UTF-8" },
    { "a\0b", 3, "NUL" },
    { "a\nb", 0, "control or invisible" },
    { "a\x1f", 0, "control or invisible" },
    { "a\x7f", 0, "control or invisible" },
    { "a\xc2\x80", 0, "control or invisible" }, /* C1 */
    { "a\xc2\x9f", 0, "control or invisible" },
    { "a\u200bb", 0, "control or invisible" }, /* zero-width space */
    { "a\u200f", 0, "control or invisible" },  /* right-to-left mark */
    { "a\u2028b", 0, "control or invisible" },
    { "a\u202eb", 0, "control or invisible" }, /* right-to-left override */
    { "a\u2066b", 0, "control or invisible" },
    { "\ufeffa", 0, "control or invisible" },
    { "a\u061cb", 0, "control or invisible" },
    { "a/b", 0, "'/' or '\\'" },
    { "a\\b", 0, "'/' or '\\'" },
    { "..", 0, "\"..\"" },
    { "a..b", 0, "\"..\"" },
    { ".", 0, "\".\"" },
    { "-rf", 0, "begins with '-'" },
    { " a", 0, "space" },
    { "a ", 0, "space" },
    { "a.", 0, "dot" },
    { "CON", 0, "reserved file name on Windows" },
    { "nul.txt", 0, "reserved file name on Windows" },
    { "Aux", 0, "reserved file name on Windows" },
    { "prn.a.b", 0, "reserved file name on Windows" },
    { "com1", 0, "reserved file name on Windows" },
    { "LPT9.log", 0, "reserved file name on Windows" },
    { NINETY "1234567", 0, "more than 96 octets" },
    { NINETY "12345ü", 0, "more than 96 octets" }, /* 97 octets as it stands */
    { NINETY "1234:", 0, "more than 96 octets" },  /* 95 octets, 97 encoded */
};

Test(ident, every_class_of_refusal)
{
    for (size_t i = 0; i < CM_COUNT(refused); i++) {
        const size_t len = refused[i].len != 0 ? refused[i].len : strlen(refused[i].id);
        struct cm_error err = { 0 };
        char *exact = malloc(len + 1); /* a sanitizer sees reading past it */
        memcpy(exact + 1, refused[i].id, len);
        cr_expect_eq(cm_id_check(cm_span(exact + 1, len), &err), CM_E_INPUT, "%zu (%s) is accepted", i,
                     refused[i].id);
        cr_expect_not_null(strstr(err.what, refused[i].words), "%zu: %s", i, err.what);
        for (const char *c = err.what; *c != '\0'; c++)
            cr_assert(*c >= 0x20 && *c < 0x7f, "%zu: the message itself is not printable", i);
        free(exact);
    }
}

Test(ident, everything_else_is_accepted)
{
    static const char *const fine[] = {
        "a",
        "0",
        "SN00000001",
        "a.b",
        ".a",
        "a-",
        "_",
        "~x",
        "a b",
        "urn:dev:mac:02:00",
        "Gerät",
        "日本",
        "😀",
        "02:00:00:00:00:01",
        "a+b",
        "100%",
        "a=b",
        "CON1",
        "COM0",
        "COM10",
        "CONSOLE",
        "xCON",
        "LPT",
        "a\"b",
        "{id}",
        NINETY "123456",
        NINETY "12345-",
    };

    for (size_t i = 0; i < CM_COUNT(fine); i++) {
        struct cm_error err = { 0 };
        cr_expect_eq(cm_id_check(cm_span_str(fine[i]), &err), CM_OK, "%s: %s", fine[i], err.what);
    }
}

Test(ident, names_are_percent_encoded)
{
    const char *const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

    for (unsigned octet = 1; octet < 256; octet++) {
        const uint8_t id[1] = { (uint8_t) octet };
        char expected[8], got[8] = "";
        struct cm_writer w = cm_writer(got, sizeof got - 1);
        if (strchr(unreserved, (int) octet) != NULL)
            (void) snprintf(expected, sizeof expected, "%c", (int) octet);
        else
            (void) snprintf(expected, sizeof expected, "%%%02X", octet);
        cm_put_id_name(&w, cm_span(id, 1));
        cr_expect_str_eq(got, expected);
    }
    char got[64] = "";
    struct cm_writer w = cm_writer(got, sizeof got - 1);
    cm_put_id_name(&w, cm_span_str("a:b ü%41"));
    cr_expect_str_eq(got, "a%3Ab%20%C3%BC%2541");
}

/* The encoding is one to one: two ids never get one name. What is accepted fits into 96 octets. */
Test(ident, an_accepted_id_fits_its_name)
{
    for (unsigned n = 1; n <= 40; n++) {
        char id[128] = "", name[128];
        struct cm_writer i = cm_writer(id, sizeof id), w = cm_writer(name, sizeof name);
        for (unsigned k = 0; k < n; k++)
            cm_put_str(&i, "ü");
        const cm_err rc = cm_id_check(cm_span(id, i.len), NULL);
        cm_put_id_name(&w, cm_span(id, i.len));
        cr_expect_eq(rc == CM_OK, w.len <= CM_ID_NAME_MAX, "%u", n);
    }
}

Test(ident, printable_is_short_and_safe)
{
    char buf[24];

    cr_expect_str_eq(cm_printable(cm_span_str("plain"), buf, sizeof buf), "plain");
    cr_expect_str_eq(cm_printable(cm_span_str("a\n\x1b[ü"), buf, sizeof buf), "a\\x0a\\x1b[\\xc3\\xbc");
    for (size_t len = 0; len < 60; len++) {
        char text[64], *exact = malloc(sizeof buf);
        memset(text, 'x', sizeof text);
        const char *shown = cm_printable(cm_span(text, len), exact, sizeof buf);
        cr_expect_lt(strlen(shown), sizeof buf);
        cr_expect(strstr(shown, "...") != NULL || strlen(shown) == len, "%zu: %s", len, shown);
        memset(text, 1, sizeof text);
        cr_expect_lt(strlen(cm_printable(cm_span(text, len), exact, sizeof buf)), sizeof buf);
        free(exact);
    }
}

Test(ident, utf8_characters)
{
    static const struct {
        const char *text;
        size_t len;
        uint32_t code;
    } chars[] = { { "A", 1, 'A' },
                  { "\x7f", 1, 0x7f },
                  { "\xc2\x80", 2, 0x80 },
                  { "\xdf\xbf", 2, 0x7ff },
                  { "\xe0\xa0\x80", 3, 0x800 },
                  { "\xed\x9f\xbf", 3, 0xd7ff },
                  { "\xee\x80\x80", 3, 0xe000 },
                  { "\xef\xbf\xbf", 3, 0xffff },
                  { "\xf0\x90\x80\x80", 4, 0x10000 },
                  { "\xf4\x8f\xbf\xbf", 4, 0x10ffff } };

    for (size_t i = 0; i < CM_COUNT(chars); i++) {
        uint32_t code = 0;
        const size_t len = strlen(chars[i].text);
        cr_expect_eq(cm_utf8_next((const uint8_t *) chars[i].text, len, &code), chars[i].len);
        cr_expect_eq(code, chars[i].code);
        cr_expect_eq(cm_utf8_next((const uint8_t *) chars[i].text, len - 1, &code), 0, "%zu cut off", i);
    }
}
