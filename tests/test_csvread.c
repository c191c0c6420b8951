/* Goal: CSV is read as RFC 4180 means it, whatever the sizes of the pieces it comes in; what is wrong is told
 * with the line where its record begins, and the records behind it are read. Method: texts with known records
 * and faults; records at the limit. */
#include "io/csvread.h"

#include <criterion/criterion.h>

struct feed {
    const char *text;
    size_t len, piece;
};

static cm_err feed(void *arg, uint8_t *buf, size_t cap, size_t *got, struct cm_error *err)
{
    struct feed *const f = arg;
    size_t n = f->len < f->piece ? f->len : f->piece;

    (void) err;
    n = n < cap ? n : cap;
    memcpy(buf, f->text, n);
    f->text += n;
    f->len -= n;
    *got = n;
    return CM_OK;
}

/* All records in one line: "LINE:field|field;" or "LINE!fault;". */
static void flat(const char *text, size_t len, size_t piece, char *out, size_t cap)
{
    struct feed f = { text, len, piece };
    struct cm_csvread *r = NULL;
    struct cm_csv_record rec;
    struct cm_writer w = cm_writer(out, cap - 1);
    struct cm_error err = { 0 };
    cm_err rc = CM_OK;

    cr_assert_eq(cm_csvread_open("list", feed, &f, &r, &err), CM_OK);
    while ((rc = cm_csvread_next(r, &rec, &err)) == CM_OK) {
        char line[32];
        (void) snprintf(line, sizeof line, "%u%c", (unsigned) rec.line, rec.fault != NULL ? '!' : ':');
        cm_put_str(&w, line);
        for (size_t i = 0; rec.fault == NULL && i < rec.fields; i++) {
            cm_put_str(&w, i > 0 ? "|" : "");
            cm_put_span(&w, rec.field[i]);
        }
        cm_put_str(&w, rec.fault != NULL ? rec.fault : "");
        cm_put_str(&w, ";");
    }
    cm_put_str(&w, rc == CM_E_END ? "" : err.what);
    cr_assert_not(w.overflow);
    out[w.len] = '\0';
    cm_csvread_close(r);
}

static const struct {
    const char *text, *want;
} cases[] = {
    { "", "" },
    { "\n\r\n\n", "" },
    { "\xef\xbb\xbfid,mac\r\na,b\r\n", "1:id|mac;2:a|b;" },
    { "a,b\nc,d", "1:a|b;2:c|d;" },
    { "a\r", "1:a;" },
    { ",\n", "1:|;" },
    { "\"\"\n", "1:;" },
    { "\"a\"\"b\",\"c,d\"\n", "1:a\"b|c,d;" },
    { "\"a\r\nb\",c\n\nd\n", "1:a\r\nb|c;4:d;" },
    { " a , b \n", "1: a | b ;" },
    { "a\"b\nc\n", "1!a quote in a field that does not begin with one;2:c;" },
    { "\"a\"b\nc\n", "1!text behind a closing quote;2:c;" },
    { "a\rb\nc\n", "1!a carriage return without a line feed;2:c;" },
    { "a\n\"b\nc\n",
      "1:a;2!the quote that opens a field in line 2 is not closed before the file ends: close it there;" },
    { "a\n\"b\nc\",\"d\n\"e\",\"f\n",
      "1:a;2!the quote that opens a field in line 2 is not closed before the file ends: close it there;" },
    { "\xff\xfe"
      "a",
      "list is UTF-16; save it as UTF-8" },
    { "\x1f\x8b", "list is compressed with gzip; unpack it first" },
};

Test(csvread, known_texts_in_pieces_of_any_size, .timeout = 60)
{
    char got[512];

    for (size_t i = 0; i < CM_COUNT(cases); i++)
        for (size_t piece = 1; piece < 12; piece++) {
            flat(cases[i].text, strlen(cases[i].text), piece, got, sizeof got);
            cr_expect_str_eq(got, cases[i].want, "case %zu: %s", i, got);
        }
    flat("a\0b\nc\n", 6, 3, got, sizeof got);
    cr_expect_str_eq(got, "1!a zero octet;2:c;");
}

/* A record of CM_CSV_RECORD - 1 octets and its line end fit, one more does not; the one before it is read. */
Test(csvread, records_at_the_limit, .timeout = 60)
{
    static char text[CM_CSV_RECORD + 8], got[CM_CSV_RECORD + 64];

    for (size_t more = 0; more < 2; more++) {
        const size_t len = CM_CSV_RECORD - 1 + more;
        memset(text, 'x', sizeof text);
        memcpy(text, "a\n", 2);
        memcpy(text + 2 + len, "\nb\n", 3);
        flat(text, len + 5, 4096, got, sizeof got);
        if (more == 0)
            cr_expect(strlen(got) == len + 11 && strcmp(got + len + 6, ";3:b;") == 0, "%zu", strlen(got));
        else
            cr_expect_not_null(strstr(got, "1:a;list, line 2: a record longer than"), "%.80s", got);
    }
}

Test(csvread, too_many_fields, .timeout = 60)
{
    char text[CM_CSV_FIELDS + 8], got[1024];

    memset(text, ',', sizeof text);
    memcpy(text + CM_CSV_FIELDS, "\nb\n", 3);
    flat(text, CM_CSV_FIELDS + 3, 7, got, sizeof got);
    cr_expect_str_eq(got, "1!more than 256 fields;2:b;");
}
