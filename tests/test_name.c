/* Goal: a subject is parsed as it was meant, its text is what libcrypto prints (RFC 4514), and values that
 * X.520 or the string type forbid are refused with the attribute's name. Method: X509_NAME_print_ex over
 * names that libcrypto built from the same values. The DER is test_tbs's; here only that put_der equals it.
 */
#include "tests/t_mill.h"

#include <criterion/criterion.h>

/* Values that escaping must get right: edges, specials, controls, UTF-8. */
static const char *const awkward[] = {
    "a",    " ",    "  ",     "   ",    " a",       "a ",    " a ",   "a b",         "#a",
    "a#",   " #",   "##",     ",",      "+",        "\"",    "\\",    "<",           ">",
    ";",    "=",    "a=b",    ",a",     "a,",       "\"a\"", "\\a\\", "a;b<c>d+e,f", "/",
    "a/b",  "ü",    "日本",   "😀",      "ü,ö",      " ü ",   "#ü",    "\x01",        "a\x1f",
    "\x7f", "a\tb", "\n",     "a\r\n",  "\\,",      "\\20",  "{",     "a'b",         "a(b)c",
    "a*b",  "a?b",  "\u00a0", "\u2028", "\xc2\x80", "1.2.3", "CN=x",  "a\\",         "\xef\xbf\xbd",
};

/* "/TYPE=value" with '/', '+' and '\' escaped as name.h says, braces left alone. */
static void write_subject(const char *type, const char *value, char *out, size_t cap)
{
    struct cm_writer w = cm_writer(out, cap - 1);

    cm_put_lit(&w, "/");
    cm_put_str(&w, type);
    cm_put_lit(&w, "=");
    for (; *value != '\0'; value++) {
        if (strchr("/+\\", *value) != NULL)
            cm_put_lit(&w, "\\");
        cm_put_byte(&w, (uint8_t) *value);
    }
    out[w.len] = '\0';
}

static void expect_text(const struct t_ask *ask)
{
    const struct cm_values v = t_values(ask);
    CM_AUTO(X509_NAME) theirs = t_oracle_name(ask);
    CM_AUTO(BIO) bio = BIO_new(BIO_s_mem());
    struct cm_name name;
    struct cm_error err = { 0 };
    char ours[4096], *expected = NULL;
    struct cm_writer w = cm_writer(ours, sizeof ours);

    cr_assert_eq(cm_name_parse(ask->subject, &t_columns, &name, &err), CM_OK, "%s: %s", ask->subject,
                 err.what);
    cm_name_put_text(&name, &v, &w);
    cr_assert_geq(X509_NAME_print_ex(bio, theirs, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB), 0);
    const size_t len = (size_t) BIO_get_mem_data(bio, &expected);
    cr_expect(cm_writer_ok(&w) && cm_span_eq(cm_span(ours, w.len), cm_span(expected, len)),
              "\"%.*s\" is not \"%.*s\"", (int) w.len, ours, (int) len, expected);

    /* And the DER. */
    static uint8_t buf[8192];
    struct cm_der d = cm_der(buf, sizeof buf);
    unsigned char *der = NULL;
    cm_name_put_der(&name, &v, &d);
    const int n = i2d_X509_NAME(theirs, &der);
    cr_expect(cm_der_ok(&d) && cm_span_eq(cm_der_span(&d), cm_span(der, (size_t) n)), "%s", ask->subject);
    OPENSSL_free(der);
}

/* As a constant in the subject, and as the id. */
Test(name, text_of_awkward_values)
{
    static const char *const types[] = { "CN", "O", "UID", "1.3.6.1.4.1.37244.2.1" };
    char subject[256];

    for (size_t t = 0; t < CM_COUNT(types); t++)
        for (size_t i = 0; i < CM_COUNT(awkward); i++) {
            struct t_ask ask = { .what = "awkward", .subject = subject, .id = awkward[i] };
            write_subject(types[t], "{id}", subject, sizeof subject);
            ask.attr[0] = (struct t_attr) { types[t], "{id}" };
            expect_text(&ask);
            if (strchr(awkward[i], '{') != NULL)
                continue;
            write_subject(types[t], awkward[i], subject, sizeof subject);
            ask.attr[0] = (struct t_attr) { types[t], awkward[i] };
            expect_text(&ask);
        }
}

/* Here libcrypto errs: RFC 4514 2.4 escapes a number sign at the beginning, alone or not. */
Test(name, text_of_a_lone_number_sign)
{
    const struct t_ask ask = { .id = "#" };
    const struct cm_values v = t_values(&ask);
    struct cm_name name;
    char text[16] = "";
    struct cm_writer w = cm_writer(text, sizeof text - 1);

    cr_assert_eq(cm_name_parse("/CN={id}", NULL, &name, NULL), CM_OK);
    cm_name_put_text(&name, &v, &w);
    cr_expect_str_eq(text, "CN=\\#");
}

Test(name, text_of_every_request)
{
    for (size_t i = 0; i < t_asks_count; i++)
        expect_text(&t_asks[i]);
}

/* Every octet that may stand in a PrintableString or IA5String. */
Test(name, text_of_every_ascii_character)
{
    char id[3] = "x", subject[64];

    for (int c = 1; c < 127; c++) {
        struct t_ask ask = { .what = "ascii", .subject = subject, .id = id, .attr = { { "DC", "{id}" } } };
        id[1] = (char) c;
        write_subject("DC", "{id}", subject, sizeof subject);
        expect_text(&ask);
    }
}

static const struct {
    const char *subject, *words;
} unparsable[] = {
    { "", "must begin with '/'" },
    { "CN=x", "must begin with '/'" },
    { "/CN", "not of the form TYPE=value" },
    { "/=x", "not of the form TYPE=value" },
    { "/CN=", "CN is empty" },
    { "/CN=a//O=b", "not of the form" },
    { "/CM=x", "unknown attribute type \"CM\"" },
    { "/9.9.9=x", "unknown attribute type \"9.9.9\"" },
    { "/CN=a+O=b", "write \\+ for a plus sign" },
    { "/CN={foo}", "unknown placeholder at \"{foo}\"" },
    { "/CN=a/CN=b/CN=c/CN=d/CN=e/CN=f/CN=g/CN=h/CN=i/CN=j/CN=k/CN=l/CN=m/CN=n/CN=o/CN=p/CN=q",
      "more than 16 attributes" },
};

Test(name, slips_are_named)
{
    for (size_t i = 0; i < CM_COUNT(unparsable); i++) {
        struct cm_name name;
        struct cm_error err = { 0 };
        cr_expect_eq(cm_name_parse(unparsable[i].subject, NULL, &name, &err), CM_E_USAGE, "%s",
                     unparsable[i].subject);
        cr_expect_not_null(strstr(err.what, unparsable[i].words), "%s: %s", unparsable[i].subject, err.what);
    }
}

Test(name, a_slash_alone_is_empty_and_one_at_the_end_is_nothing)
{
    struct cm_name name;

    cr_assert_eq(cm_name_parse("/", NULL, &name, NULL), CM_OK);
    cr_expect_eq(name.count, 0);
    cr_assert_eq(cm_name_parse("/CN=a/", NULL, &name, NULL), CM_OK);
    cr_expect_eq(name.count, 1);
}

static const struct {
    const char *subject, *id, *words; /* NULL: accepted */
} checks[] = {
    { "/CN={id}", "0123456789012345678901234567890123456789012345678901234567890123", NULL },
    { "/CN=x{id}", "0123456789012345678901234567890123456789012345678901234567890123",
      "subject's CN \"x0123456789012345678901234567890123456789012345678901234567890123\" has 65 characters; "
      "X.520 allows 64" },
    { "/CN={id}", "üüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüüü", NULL }, /* 48 characters in 96 octets */
    { "/C={id}", "DE", NULL },
    { "/C={id}", "D", "too short: at least 2" },
    { "/C={id}", "DEU", "has 3 characters; X.520 allows 2" },
    { "/C={id}", "Ü1", "PrintableString" },
    { "/serialNumber={id}", "a_b", "PrintableString" },
    { "/serialNumber={id}", "A1 '()+,-./:=?", NULL },
    { "/serialNumber={id}", "a*b", "PrintableString" },
    { "/serialNumber={id}", "a@b", "PrintableString" },
    { "/dnQualifier={id}", "ü", "PrintableString" },
    { "/DC={id}", "ü", "outside printable ASCII" },
    { "/emailAddress={id}", "a\tb", "outside printable ASCII" },
    { "/CN={id}", "a\x01", "a control character" },
    { "/CN={id}", "a\xc2\x85", "a control character" },
    { "/CN={id}", "a\xff", "not UTF-8" },
};

Test(name, values_are_checked)
{
    for (size_t i = 0; i < CM_COUNT(checks); i++) {
        const struct t_ask ask = { .id = checks[i].id };
        const struct cm_values v = t_values(&ask);
        struct cm_name name;
        struct cm_error err = { 0 };
        cr_assert_eq(cm_name_parse(checks[i].subject, NULL, &name, &err), CM_OK, "%s", err.what);
        const cm_err rc = cm_name_check(&name, &v, &err);
        cr_expect_eq(rc, checks[i].words == NULL ? CM_OK : CM_E_INPUT, "%s with %s: %s", checks[i].subject,
                     checks[i].id, err.what);
        cr_expect(checks[i].words == NULL || strstr(err.what, checks[i].words) != NULL, "%s", err.what);
    }
}
