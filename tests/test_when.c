#include "engine/when.h"

#include <criterion/criterion.h>
#include <openssl/asn1.h>
#include <time.h>

static cm_when parse(const char *text)
{
    cm_when t = 0;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_when_parse(text, &t, &err), CM_OK, "%s: %s", text, err.what);
    return t;
}

/* Goal: known points. Source of the numbers: `date -u -d TEXT +%s`. */
Test(when, known_points)
{
    static const struct {
        const char *text;
        cm_when t;
    } cases[] = {
        { "1970-01-01T00:00:00Z", 0 },
        { "19700101000000Z", 0 },
        { "2000-02-29", 951782400 },
        { "2038-01-19T03:14:08Z", INT64_C(2147483648) },
        { "2049-12-31T23:59:59Z", INT64_C(2524607999) },
        { "2050-01-01T00:00:00Z", INT64_C(2524608000) },
        { "99991231235959Z", CM_WHEN_MAX },
        { "1969-12-31T23:59:59Z", -1 },
        { "0001-01-01T00:00:00Z", INT64_C(-62135596800) },
    };

    for (size_t i = 0; i < CM_COUNT(cases); i++)
        cr_expect_eq(parse(cases[i].text), cases[i].t, "%s", cases[i].text);
}

Test(when, refused)
{
    static const char *const cases[] = {
        "",
        "2027-02-29",
        "2100-02-29",
        "2027-13-01",
        "2027-00-01",
        "2027-04-31",
        "2027-01-01T24:00:00Z",
        "2027-01-01T00:60:00Z",
        "2027-01-01T00:00:60Z",
        "2027-01-01T00:00:00",
        "27-01-01",
        "2027-01-01 00:00:00Z",
        "20270101000000",
        "20270101000000+0100",
        " 2027-01-01",
        "2027-01-01 ",
        "0000-01-01",
        "2027-1-1",
        "+027-01-01",
        "202701010000Z",
    };

    for (size_t i = 0; i < CM_COUNT(cases); i++) {
        cm_when t = 42;
        struct cm_error err = { 0 };
        cr_expect_eq(cm_when_parse(cases[i], &t, &err), CM_E_USAGE, "\"%s\"", cases[i]);
        cr_expect_eq(t, 42, "untouched on failure");
    }
}

/* Goal: text and DER agree with libc and libcrypto over the whole calendar. Method: a stride that is no
 * multiple of a day, from year 1 to year 9999. */
Test(when, agrees_with_libc_and_libcrypto)
{
    for (cm_when t = INT64_C(-62135596800); t <= CM_WHEN_MAX; t += INT64_C(86399) * 97) {
        char text[24] = "", expected[96] = "";
        struct cm_writer w = cm_writer(text, sizeof text - 1);
        const time_t libc = (time_t) t;
        struct tm tm;

        cr_assert_not_null(gmtime_r(&libc, &tm));
        (void) snprintf(expected, sizeof expected, "%04d-%02d-%02dT%02d:%02d:%02dZ",
                        (tm.tm_year + 1900) % 10000, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
                        tm.tm_sec);
        cm_put_rfc3339(&w, t);
        cr_assert_str_eq(text, expected, "%lld", (long long) t);
        cr_assert_eq(parse(text), t, "%s", text);
    }
}

Test(when, der_is_libcryptos)
{
    /* Around the switch from UTCTime to GeneralizedTime, and its own lower end. */
    for (cm_when t = INT64_C(-631152000); t <= CM_WHEN_MAX; t += INT64_C(86399) * 997) {
        uint8_t ours[20], theirs[20], *end = theirs;
        struct cm_writer w = cm_writer(ours, sizeof ours);
        ASN1_TIME *asn1 = ASN1_TIME_set(NULL, (time_t) t);

        cr_assert_not_null(asn1);
        const int len = i2d_ASN1_TIME(asn1, &end);
        cm_put_der_time(&w, t);
        cr_assert(cm_writer_ok(&w) && (int) w.len == len, "%lld", (long long) t);
        cr_assert_arr_eq(ours, theirs, w.len, "%lld", (long long) t);
        ASN1_TIME_free(asn1);
    }
}
