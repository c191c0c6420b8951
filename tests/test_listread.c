/* Goal: a device list gives the same rows whatever its format and whatever wrote it; which column is the id
 * is never guessed; every fault comes with its line, and the rows behind it are read. Method: files with
 * their columns and rows written out, or words of their refusal; each is read twice. */
#include "io/listread.h"

#include <criterion/criterion.h>
#include <unistd.h>

static char path[64];

static void write_list(const char *suffix, const void *data, size_t len)
{
    FILE *f = NULL;

    (void) unlink(path);
    (void) snprintf(path, sizeof path, "/tmp/certmill-rows-%d%s", (int) getpid(), suffix);
    f = fopen(path, "w");
    cr_assert(f != NULL && fwrite(data, 1, len, f) == len && fclose(f) == 0);
}

static void teardown(void)
{
    (void) unlink(path);
}

/* "LINE:id(value|value);" or "LINE!fault;" for each row. */
static void put_rows(struct cm_listread *l, struct cm_writer *w)
{
    const struct cm_columns *const c = cm_listread_columns(l);
    struct cm_list_row row;
    struct cm_error err = { 0 };
    cm_err rc = CM_OK;

    while ((rc = cm_listread_next(l, &row, &err)) == CM_OK) {
        cm_put_dec(w, row.line, 0);
        cm_put_str(w, row.fault != NULL ? "!" : ":");
        cm_put_str(w, row.fault != NULL ? row.fault : "");
        cr_expect(row.raw.len > 0);
        if (row.fault == NULL)
            cm_put_span(w, row.id);
        for (size_t i = 0; row.fault == NULL && c != NULL && i < c->count; i++) {
            cm_put_str(w, i == 0 ? "(" : "|");
            cm_put_span(w, row.value[i]);
            cm_put_str(w, i + 1 == c->count ? ")" : "");
        }
        cm_put_str(w, ";");
    }
    cm_put_str(w, rc == CM_E_END ? "" : err.what);
}

/* "column,column* " and the rows, the id column marked; or the error. */
static void flat(const char *id_column, char *out, size_t cap)
{
    struct cm_writer w = cm_writer(out, cap - 1);
    struct cm_listread *l = NULL;
    struct cm_error err = { 0 };

    if (cm_listread_open(path, CM_LIST_AUTO, id_column, &l, &err) != CM_OK) {
        (void) snprintf(out, cap, "%s", err.what);
        return;
    }
    const struct cm_columns *const c = cm_listread_columns(l);
    for (size_t i = 0; c != NULL && i < c->count; i++) {
        cm_put_str(&w, i > 0 ? "," : "");
        cm_put_str(&w, c->name[i]);
        cm_put_str(&w, i == c->id ? "*" : "");
    }
    cm_put_str(&w, c != NULL ? " " : "");
    const size_t from = w.len;
    cr_assert_eq(cm_listread_restart(l, &err), CM_OK);
    put_rows(l, &w);
    const size_t to = w.len;
    uint8_t first[32], second[32];
    cr_assert_eq(cm_listread_sha256(l, first, &err), CM_OK);
    cr_assert_eq(cm_listread_restart(l, &err), CM_OK);
    put_rows(l, &w);
    cr_assert_eq(cm_listread_sha256(l, second, &err), CM_OK);
    cr_assert(cm_writer_ok(&w));
    cr_expect(cm_span_eq(cm_span(out + from, to - from), cm_span(out + to, w.len - to)) &&
                  memcmp(first, second, 32) == 0,
              "the second reading differs");
    out[to] = '\0';
    cm_listread_close(l);
}

#define LIT(text) text, sizeof(text) - 1
static const struct {
    const char *suffix, *text;
    size_t len;
    const char *id_column, *want; /* want: all of it, or words of it where it begins with ~ */
} cases[] = {
    { "", LIT("a\nb,c\n"), NULL, "1:a;2:b,c;" },
    { ".txt", LIT("id\n"), NULL, "1:id;" },
    { "", LIT("a\n"), "id", "~--id-column makes no sense" },
    { ".csv", LIT("\xef\xbb\xbfid,mac\r\na,\"1,2\"\r\n\r\n\"b\r\nc\",\r\n"), NULL,
      "id*,mac 2:a(a|1,2);4:b\r\nc(b\r\nc|);" },
    { ".CSV", LIT("mac,Device ID\n1,a\n2,b"), NULL, "mac,Device ID* 2:a(1|a);3:b(2|b);" },
    { ".csv", LIT("sn\nx\n"), NULL, "sn* 2:x(x);" },
    { ".csv", LIT("lot,serial_number\n1,x\n"), NULL, "lot,serial_number* 2:x(1|x);" },
    { ".csv", LIT("serial,id,device_id\n1,2,3\n"), NULL, "serial,id*,device_id 2:2(1|2|3);" },
    { ".csv", LIT("serial,id\n1,2\n"), "serial", "serial*,id 2:1(1|2);" },
    { ".csv", LIT("ID,id\n1,2\n"), NULL, "~unclear: two could; say --id-column; there are ID, id" },
    { ".csv", LIT("ID,id\n1,2\n"), "id", "ID,id* 2:2(1|2);" },
    { ".csv", LIT("a,b\n1,2\n"), NULL, "~not clear from their names; say --id-column; there are a, b" },
    { ".csv", LIT("a,b\n1,2\n"), "A", "~has no column \"A\" for --id-column; it has a, b" },
    { ".csv", LIT("id,\n1,2\n"), NULL, "~line 1: the name of column 2, \"\", is empty" },
    { ".csv", LIT("\nid,x,id\n1,2,3\n"), NULL,
      "~line 2: the name of column 3, \"id\", is another column's, too" },
    { ".csv", LIT("id,a\tb\n1,2\n"), NULL, "~holds a control character" },
    { ".csv", LIT("id,\xff\n1,2\n"), NULL, "~is not UTF-8" },
    { ".csv", LIT("id,0123456789012345678901234567890123456789012345678901234567890123x\n1,2\n"), NULL,
      "~is longer than 64 octets" },
    { ".csv", LIT("id,a\"b\n1,2\n"), NULL, "~line 1: the header can't be read: a quote" },
    { ".csv", LIT(""), NULL, "~has no header row" },
    { ".csv", LIT("id;mac\na;1\n"), NULL, "~line 1: the header is divided by semicolons" },
    { ".csv", LIT("id\tmac\na\t1\n"), NULL, "~CSV takes commas" },
    { ".csv", LIT("\xef\xbb\xbfid,x\r\na,1\r\nid,x\r\nid,y\r\n"), NULL,
      "id*,x 2:a(a|1);3!it repeats the header;4:id(id|y);" },
    { ".json", LIT("[]\n"), NULL, "~no CSV, NDJSON or list of ids by its name (.json)" },
    { ".TSV", LIT("a\n"), NULL, "~--devices-format" },
    { ".csv", LIT("id,x\na,1\nb\nc,1,2\nd,\"1\"x\ne,\xc3\x28\nf,1\n"), NULL,
      "id*,x 2:a(a|1);3!1 field where the header has 2;4!3 fields where the header has 2;5!text behind a "
      "closing "
      "quote;6!column \"x\": it is not UTF-8;7:f(f|1);" },
    { ".csv", LIT("id,x\na,1\nb,\"2\n"), NULL,
      "id*,x 2:a(a|1);3!the quote that opens a field in line 3 is not closed before the file ends: close it "
      "there;" },
    { ".csv", LIT("id,x\na,1\0\nb,2\n"), NULL, "id*,x 2!a zero octet;3:b(b|2);" },
    { ".ndjson", LIT("{\"id\":\"a\",\"n\":1.50}\n\n{\"n\":true,\"id\":7}\r\n{\"id\":\"b\",\"n\":null}"), NULL,
      "id*,n 1:a(a|1.50);3:7(7|true);4:b(b|);" },
    { ".jsonl", LIT("\xef\xbb\xbf{\"x\":\"\\u00fc\",\"serial\":\"s\"}\n"), NULL,
      "x,serial* 1:s(\xc3\xbc|s);" },
    { ".ndjson",
      LIT("{\"id\":\"a\",\"n\":1}\n{\"id\":\"b\"}\n{\"id\":\"c\",\"n\":1,\"m\":2}\n{\"id\":\"d\",\"n\":[1]}\n"
          "{\"id\":\"e\",\"id\":\"f\"}\nx\n{\"id\":\"g\",\"n\":\"\xff\"}\n{\"id\":\"h\",\"n\":2}\n"),
      NULL,
      "id*,n 1:a(a|1);2!column \"n\": its key is missing;3!the first object has no key \"m\";4!an object or "
      "array in a "
      "field; a field is a text, a number, true, false or null;5!column \"id\": its key stands twice;6!no "
      "JSON "
      "object;7!column \"n\": it is not UTF-8;8:h(h|2);" },
    { ".ndjson", LIT("{\"id\":{}}\n"), NULL, "~line 1: an object or array in a field" },
    { ".ndjson", LIT("\n{}\n"), NULL, "~line 2: an object without a key" },
    { ".ndjson", LIT("{\"id\":1,\"id\":2}\n"), NULL, "~the name of column 2, \"id\", is another column's" },
    { ".ndjson", LIT("\n\n"), NULL, "~holds no device" },
    { ".ndjson", LIT("\x1f\x8b\n"), NULL, "~is compressed with gzip" },
};

Test(listread, what_editors_and_programs_write, .fini = teardown)
{
    char got[2048];

    for (size_t i = 0; i < CM_COUNT(cases); i++) {
        write_list(cases[i].suffix, cases[i].text, cases[i].len);
        flat(cases[i].id_column, got, sizeof got);
        if (cases[i].want[0] == '~')
            cr_expect_not_null(strstr(got, cases[i].want + 1), "case %zu: %s", i, got);
        else
            cr_expect_str_eq(got, cases[i].want, "case %zu: %s", i, got);
    }
}

/* The format that is said goes before the suffix. */
Test(listread, formats_by_name, .fini = teardown)
{
    static const struct {
        enum cm_list_format format;
        const char *name;
        size_t columns;
    } formats[] = { { CM_LIST_LINES, "lines", 0 },
                    { CM_LIST_CSV, "csv", 1 },
                    { CM_LIST_NDJSON, "ndjson", 2 } };
    struct cm_listread *l = NULL;
    struct cm_error err = { 0 };

    write_list(".txt", LIT("{\"id\":1\x2c\"b\":2}\n"));
    for (size_t i = 0; i < CM_COUNT(formats); i++) {
        const char *const id = formats[i].columns == 2 ? "id" : NULL;
        if (formats[i].format == CM_LIST_CSV)
            write_list(".ndjson", LIT("serial\nx\n"));
        if (formats[i].format == CM_LIST_NDJSON)
            write_list(".csv", LIT("{\"id\":1\x2c\"b\":2}\n"));
        cr_assert_eq(cm_listread_open(path, formats[i].format, id, &l, &err), CM_OK, "%s", err.what);
        cr_expect_eq(cm_listread_format(l), formats[i].format);
        cr_expect_str_eq(cm_listread_format_name(l), formats[i].name);
        cr_expect_eq(cm_listread_columns(l) != NULL ? cm_listread_columns(l)->count : 0, formats[i].columns);
        cr_expect_eq(cm_listread_header(l).len, formats[i].format == CM_LIST_CSV ? 6u : 0u);
        cm_listread_close(l);
    }
}

/* Names and values as JSON take CM_ATTRIBUTES_MAX octets, and then one more: an octet, or an escape. */
Test(listread, attributes_at_their_limit, .fini = teardown)
{
    static char text[CM_ATTRIBUTES_MAX + 64], got[2 * CM_ATTRIBUTES_MAX + 1024];
    const size_t braces = sizeof "{\"id\":\"a\",\"x\":\"\"}" - 1, room = CM_ATTRIBUTES_MAX - braces;

    for (int more = 0; more < 3; more++) {
        const int head = snprintf(text, sizeof text, "id,x\na,");
        memset(text + head, 'v', room + 1);
        if (more == 2)
            text[head] = '\\';
        memcpy(text + head + room + (more == 1), "\nb,\n", 5);
        write_list(".csv", text, strlen(text));
        flat(NULL, got, sizeof got);
        const bool fits = strncmp(got, "id*,x 2:a(a|vvv", 15) == 0;
        cr_expect_eq(fits, more == 0, "%.80s", got);
        cr_expect(more == 0 ||
                      strstr(got, "its columns take 16385 octets as JSON; 16384 are the most") != NULL,
                  "%.120s", got);
        cr_expect_not_null(strstr(got, ";3:b(b|);"), "the row behind it");
    }
}
