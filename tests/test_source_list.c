/* Goal: a list of devices is read as it was meant, whatever editor wrote it, and every fault is told with its
 * line before a key is made; a list that changes in between ends the run. Method: files with each
 * peculiarity, read to the end in batches of odd sizes; faults in a table. */
#include "io/source_list.h"

#include "engine/ident.h"
#include "tests/t_oracle.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[64];
static struct cm_hasher hasher;

static void setup(void)
{
    (void) snprintf(path, sizeof path, "/tmp/certmill-list-%d.txt", (int) getpid());
    cr_assert_eq(cm_hasher_open(&hasher, NULL), CM_OK);
}

static void teardown(void)
{
    (void) unlink(path);
    cm_hasher_close(&hasher);
}

static void write_list(const void *data, size_t len)
{
    FILE *f = fopen(path, "w");

    cr_assert(f != NULL && fwrite(data, 1, len, f) == len && fclose(f) == 0);
}

/* *out: NULL where it can't be used. */
static cm_err open_as(enum cm_list_format format, const char *id_column,
                      const struct cm_source_list_conf *conf, struct cm_source **out, struct cm_error *err)
{
    cm_err rc = cm_source_list_open(path, format, id_column, out, err);

    if (rc == CM_OK) {
        rc = cm_source_list_check(*out, conf, err);
        if (rc != CM_OK)
            (*out)->ops->close(*out);
    }
    *out = rc == CM_OK ? *out : NULL;
    return rc;
}

static cm_err open_list(bool fold_case, struct cm_source **out, struct cm_error *err)
{
    const struct cm_source_list_conf conf = {
        .fold_case = fold_case, .mac_base = 10, .run_id = t_run_id, .hasher = &hasher, .spill_dir = "/tmp"
    };

    return open_as(CM_LIST_AUTO, NULL, &conf, out, err);
}

/* Reads all; ids separated by '|' in out. */
static cm_err read_all(struct cm_source *s, char *out, size_t cap, struct cm_error *err)
{
    enum { CAP = 3 };
    struct cm_rec rec[CAP];
    char ids[CAP * 96];
    struct cm_writer w = cm_writer(out, cap - 1);
    uint64_t n = 0;
    cm_err rc = CM_OK;

    while (rc == CM_OK) {
        struct cm_batch b = {
            .cap = 1 + (uint32_t) (n % CAP), .rec = rec, .ids = ids, .plan = { .ids = sizeof ids }
        };
        rc = s->ops->next(s, &b, err);
        for (uint32_t i = 0; rc == CM_OK && i < b.count; i++, n++) {
            cr_assert(rec[i].seq == n + 1 && rec[i].mac == 10 + n, "device %llu", (unsigned long long) n);
            cm_put_str(&w, n > 0 ? "|" : "");
            cm_put(&w, ids + rec[i].id_off, rec[i].id_len);
        }
        cr_assert(rc != CM_OK || b.count > 0, "an empty batch");
    }
    cr_assert(cm_writer_ok(&w));
    out[w.len] = '\0';
    return rc;
}

#define LIT(text) text, sizeof(text) - 1

static const struct {
    const char *text;
    size_t len;
    const char *ids;
} fine[] = {
    { LIT("a\nb\nc\n"), "a|b|c" },
    { LIT("a\nb\nc"), "a|b|c" },
    { LIT("a\r\nb\r\n"), "a|b" },
    { LIT("a\r\nb"), "a|b" },
    { LIT("\xef\xbb\xbf"
          "a\nb\n"),
      "a|b" },
    { LIT("\xef\xbb\xbf"
          "\r\n\r\na\n"),
      "a" },
    { LIT("\n\na\n\n\nb\n\n"), "a|b" },
    { LIT("Gerät\n日本\n😀 x\n"), "Gerät|日本|😀 x" },
    { LIT("only"), "only" },
    { LIT("a b\na,b\n\"q\"\n"), "a b|a,b|\"q\"" },
    { LIT("SN1\nsn1\n"), "SN1|sn1" },
};

Test(source_list, what_editors_write, .init = setup, .fini = teardown)
{
    for (size_t i = 0; i < CM_COUNT(fine); i++) {
        struct cm_source *s = NULL;
        struct cm_error err = { 0 };
        char all[256];
        struct cm_values first;
        uint8_t sha[32], expected[EVP_MAX_MD_SIZE];
        write_list(fine[i].text, fine[i].len);
        cr_assert_eq(open_list(false, &s, &err), CM_OK, "%zu: %s", i, err.what);
        cr_expect_eq(read_all(s, all, sizeof all, &err), CM_E_END, "%s", err.what);
        cr_expect_str_eq(all, fine[i].ids);
        cm_source_list_sha256(s, sha);
        cr_assert_eq(EVP_Digest(fine[i].text, fine[i].len, expected, NULL, EVP_sha256(), NULL), 1);
        cr_expect_arr_eq(sha, expected, 32);
        cr_assert(cm_source_list_first(s, 0, &first));
        cr_expect(cm_span_eq(first.id, cm_span(fine[i].ids, strcspn(fine[i].ids, "|"))));
        cr_expect(first.seq == 1 && first.mac == 10);
        cr_expect_eq(read_all(s, all, sizeof all, &err), CM_E_END, "asked again after the end");
        s->ops->close(s);
    }
}

static const struct {
    const char *what, *text;
    size_t len;
    bool fold;
    const char *words;
} bad[] = {
    { "empty", LIT(""), false, "holds no device id" },
    { "blank", LIT("\n\r\n\n"), false, "holds no device id" },
    { "only a mark", LIT("\xef\xbb\xbf\n"), false, "holds no device id" },
    { "UTF-16, little",
      LIT("\xff\xfe"
          "a\0\n\0"),
      false, "is UTF-16; save it as UTF-8" },
    { "UTF-16, big", LIT("\xfe\xff\0a\0\n"), false, "is UTF-16" },
    { "gzip", LIT("\x1f\x8b\x08\0\0\0\0\0\0\x03\n"), false, "is compressed with gzip" },
    { "the same twice", LIT("a\n\nb\n\na\n"), false, "line 5: the same device id as line 1" },
    { "twice, not side by side", LIT("z\na\nm\nb\na\nq\n"), false, "line 5: the same device id as line 2" },
    { "thrice", LIT("a\na\na\n"), false, "2 rows can't be used" },
    { "twice with another end", LIT("a\r\na"), false, "line 2: the same device id as line 1" },
    { "the same but for case", LIT("SN1\nb\nsn1\n"), true,
      "line 3: the same device id as line 1 (upper and lower" },
    { "not UTF-8", LIT("a\nb\xff\n"), false, "line 2: device id \"b\\xff\" can't be used: it is not UTF-8" },
    { "Latin-1", LIT("a\n\nGer\xe4t\n"), false, "line 3: device id" },
    { "a NUL", LIT("a\nb\0c\n"), false, "line 2: " },
    { "too long",
      LIT("a\n1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901"
          "234567\n"),
      false, "line 2: device id" },
    { "a path", LIT("a\n../b\n"), false, "line 2: " },
    { "a space at an end", LIT("a \n"), false, "line 1: " },
    { "a tab", LIT("a\tb\n"), false, "line 1: " },
};

Test(source_list, faults_are_told_with_their_lines, .init = setup, .fini = teardown)
{
    for (size_t i = 0; i < CM_COUNT(bad); i++) {
        struct cm_source *s = NULL;
        struct cm_error err = { 0 };
        write_list(bad[i].text, bad[i].len);
        cr_expect_eq(open_list(bad[i].fold, &s, &err), CM_E_INPUT, "%s", bad[i].what);
        cr_expect_not_null(strstr(err.what, bad[i].words), "%s: %s", bad[i].what, err.what);
        cr_expect_not_null(strstr(err.what, path), "%s: %s", bad[i].what, err.what);
        cr_expect_null(s);
    }
}

Test(source_list, a_line_without_end, .init = setup, .fini = teardown)
{
    static char line[300000];
    struct cm_source *s = NULL;
    struct cm_error err = { 0 };

    memset(line, 'x', sizeof line);
    memcpy(line, "a\nb\n", 4);
    write_list(line, sizeof line);
    cr_expect_eq(open_list(false, &s, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "line 3: longer than 262144 octets"), "%s", err.what);
}

Test(source_list, what_is_no_file, .init = setup, .fini = teardown)
{
    struct cm_source *s = NULL;
    struct cm_error err = { 0 };

    cr_expect_eq(open_list(false, &s, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "there is no such file"), "%s", err.what);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_expect_eq(open_list(false, &s, &err), CM_E_INPUT, "and it did not wait for a writer");
    cr_expect_not_null(strstr(err.what, "a pipe won't do"), "%s", err.what);
    (void) unlink(path);
    cr_assert_eq(mkdir(path, 0700), 0);
    cr_expect_eq(open_list(false, &s, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "not a regular file"), "%s", err.what);
    (void) rmdir(path);
}

/* Longer than the buffer, lines across its end, more ids than the sort keeps in memory. */
Test(source_list, a_long_list, .init = setup, .fini = teardown, .timeout = 60)
{
    enum { N = 250000 };
    FILE *f = fopen(path, "w");
    struct cm_source *s = NULL;
    struct cm_error err = { 0 };
    static struct cm_rec rec[1000];
    static char ids[96000];
    uint64_t n = 0;

    for (int i = 0; i < N; i++)
        (void) fprintf(f, "device-%d%.*s\r\n", i, i % 40, "0123456789012345678901234567890123456789");
    cr_assert_eq(fclose(f), 0);
    cr_assert_eq(open_list(true, &s, &err), CM_OK, "%s", err.what);
    cr_expect_eq(s->devices, N);
    for (;;) {
        struct cm_batch b = { .cap = 1000, .rec = rec, .ids = ids, .plan = { .ids = sizeof ids } };
        const cm_err rc = s->ops->next(s, &b, &err);
        if (rc == CM_E_END)
            break;
        cr_assert_eq(rc, CM_OK, "%s", err.what);
        for (uint32_t i = 0; i < b.count; i++, n++) {
            char expected[64];
            const int len = snprintf(expected, sizeof expected, "device-%d%.*s", (int) n, (int) n % 40,
                                     "0123456789012345678901234567890123456789");
            cr_assert(rec[i].id_len == (uint32_t) len &&
                      memcmp(ids + rec[i].id_off, expected, (size_t) len) == 0);
        }
    }
    cr_expect_eq(n, N);
    s->ops->close(s);
    f = fopen(path, "a");
    (void) fprintf(f, "device-7%.7s\n", "0123456");
    cr_assert_eq(fclose(f), 0);
    cr_expect_eq(open_list(true, &s, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "line 250001: the same device id as line 8"), "%s", err.what);
}

/* ---- changes between the two readings ---- */

static const struct {
    const char *what, *before, *after;
} changes[] = {
    { "another id", "a\nb\nc\nd\ne\n", "a\nb\nc\nd\nf\n" },
    { "one more", "a\nb\nc\nd\ne\n", "a\nb\nc\nd\ne\nf\n" },
    { "one less", "a\nb\nc\nd\ne\n", "a\nb\nc\nd\n" },
    { "nothing left", "a\nb\nc\n", "" },
    { "only a blank line more", "a\nb\nc\n", "a\nb\nc\n\n" },
    { "the same ids in another order", "a\nb\nc\n", "a\nc\nb\n" },
    { "an id that was never checked", "a\nb\nc\n", "a\n..\nc\n" },
    { "a longer one", "a\nb\nc\n",
      "a\n12345678901234567890123456789012345678901234567890123456789012345678901234567890123456789012345678"
      "\nc\n" },
};

Test(source_list, a_change_ends_the_run, .init = setup, .fini = teardown)
{
    for (size_t i = 0; i < CM_COUNT(changes); i++) {
        struct cm_source *s = NULL;
        struct cm_error err = { 0 };
        char all[256];
        write_list(changes[i].before, strlen(changes[i].before));
        cr_assert_eq(open_list(false, &s, &err), CM_OK, "%s", err.what);
        write_list(changes[i].after, strlen(changes[i].after)); /* the same inode */
        cr_expect_eq(read_all(s, all, sizeof all, &err), CM_E_INPUT, "%s", changes[i].what);
        cr_expect_not_null(strstr(err.what, "changed during the run"), "%s: %s", changes[i].what, err.what);
        s->ops->close(s);
    }
}

/* ---- the caller's own judgement ---- */

static cm_err judge(void *arg, const struct cm_values *v, struct cm_error *err)
{
    char *seen = arg;

    (void) snprintf(seen + strlen(seen), 64, "%.*s:%u ", (int) v->id.len, (const char *) v->id.data,
                    (unsigned) v->seq);
    cr_assert(v->mac == 9 + v->seq && v->run_id == t_run_id && v->hasher == &hasher);
    if (v->id.data[0] == 'x')
        CM_FAIL(err, CM_E_USAGE, "x is not liked");
    return CM_OK;
}

Test(source_list, the_caller_judges_each, .init = setup, .fini = teardown)
{
    char seen[200] = "";
    struct cm_source_list_conf conf = { .mac_base = 10,
                                        .run_id = t_run_id,
                                        .hasher = &hasher,
                                        .spill_dir = "/tmp",
                                        .check = judge,
                                        .check_arg = seen };
    struct cm_source *s = NULL;
    struct cm_error err = { 0 };

    write_list(LIT("a\n\nb\nx\nc\n"));
    cr_expect_eq(open_as(CM_LIST_LINES, NULL, &conf, &s, &err), CM_E_USAGE);
    cr_expect_str_eq(seen, "a:1 b:2 x:3 c:3 x:3 ", "all of them, and the one that is refused once more");
    cr_expect_not_null(strstr(err.what, "line 4: x is not liked"), "%s", err.what);
    conf.check = NULL;
    conf.mac_base = (1ull << 48) - 2;
    cr_expect_eq(open_as(CM_LIST_LINES, NULL, &conf, &s, &err), CM_E_USAGE);
    cr_expect_not_null(strstr(err.what, "line 4: --mac-base passes"), "%s", err.what);
}

/* ---- columns, and rows that are left out ---- */

struct told {
    char text[4096];
    uint64_t count;
};

static cm_err tell(void *arg, const struct cm_list_fault *fault, struct cm_error *err)
{
    struct told *const t = arg;
    const size_t len = strlen(t->text);

    (void) err;
    if (t->count++ < 40)
        (void) snprintf(t->text + len, sizeof t->text - len, "%u[%.*s] %.40s\n", (unsigned) fault->line,
                        (int) fault->raw.len, (const char *) fault->raw.data, fault->reason);
    return CM_OK;
}

static cm_err refuse_x(void *arg, const struct cm_values *v, struct cm_error *err)
{
    (void) arg;
    if (cm_span_eq(v->column[1], cm_span_str("x")))
        CM_FAIL(err, CM_E_INPUT, "column \"b\": x is not liked");
    return cm_span_eq(v->column[1], cm_span_str("fatal")) ? cm_fail(err, CM_E_NOMEM, CM_HERE, "no memory")
                                                          : CM_OK;
}

static const char rows[] = "id,b\n" /* line 1 */
                           "a,1\n"
                           "..,2\n"       /* 3: no id */
                           "b,x\n"        /* 4: the caller's word */
                           "A,\"3\n3\"\n" /* 5, 6: a, where case makes no difference */
                           "c,4\n"
                           "a,5\n" /* 8: a */
                           "b,6\n" /* 9: the b before it is none */
                           "d\n"   /* 10: ragged */
                           "e,7\n";

static struct cm_source_list_conf judged(bool skip, struct told *told)
{
    return (struct cm_source_list_conf) { .fold_case = true,
                                          .mac_base = 10,
                                          .run_id = t_run_id,
                                          .hasher = &hasher,
                                          .spill_dir = "/tmp",
                                          .check = refuse_x,
                                          .skip = skip,
                                          .report = tell,
                                          .report_arg = told };
}

/* All of it, as "seq:id(value)". */
static cm_err read_values(struct cm_source *s, char *out, size_t cap, struct cm_error *err)
{
    struct cm_rec rec[2];
    char ids[2 * 300];
    struct cm_writer w = cm_writer(out, cap - 1);
    cm_err rc = CM_OK;

    while (rc == CM_OK) {
        struct cm_batch b = { .cap = 2, .rec = rec, .ids = ids, .plan = { .ids = sizeof ids } };
        rc = s->ops->next(s, &b, err);
        for (uint32_t i = 0; rc == CM_OK && i < b.count; i++) {
            struct cm_span value[2];
            cm_batch_values(&b, &rec[i], value, 2);
            cm_put_dec(&w, rec[i].seq, 0);
            cm_put_lit(&w, ":");
            cm_put(&w, ids + rec[i].id_off, rec[i].id_len);
            cm_put_lit(&w, "(");
            cm_put_span(&w, value[1]);
            cm_put_lit(&w, ")");
            cr_expect(cm_span_eq(value[0], cm_span(ids + rec[i].id_off, rec[i].id_len)));
            cr_expect_eq(rec[i].mac, 9 + rec[i].seq);
        }
    }
    out[w.len] = '\0';
    return rc;
}

static const char told_of_rows[] = "3[..,2] device id \"..\" can't be used: it holds \n"
                                   "4[b,x] column \"b\": x is not liked\n"
                                   "5[A,\"3\n3\"] the same device id as line 2 (upper and \n"
                                   "8[a,5] the same device id as line 2 (upper and \n"
                                   "10[d] 1 field where the header has 2\n";

static cm_err take_id(void *arg, struct cm_span id, struct cm_error *err)
{
    char *const all = arg;

    (void) err;
    (void) snprintf(all + strlen(all), 64, "%.*s ", (int) id.len, (const char *) id.data);
    return CM_OK;
}

Test(source_list, rows_that_are_left_out, .init = setup, .fini = teardown)
{
    struct told told = { .count = 0 };
    const struct cm_source_list_conf conf = judged(true, &told);
    struct cm_source *s = NULL;
    struct cm_error err = { 0 };
    struct cm_ranges done = { 0 };
    struct cm_values first;
    char all[256], ids[256] = "";

    write_list(rows, sizeof rows - 1);
    cr_assert_eq(open_as(CM_LIST_CSV, NULL, &conf, &s, &err), CM_OK, "%s", err.what);
    cr_expect_str_eq(told.text, told_of_rows);
    cr_expect(s->devices == 4 && cm_source_list_refused(s) == 5);
    cr_expect(cm_source_list_bounds(s)->value[1] == 3 && cm_source_list_bounds(s)->packed == 2 + 1 + 2 + 3);
    cr_assert(cm_source_list_first(s, 2, &first));
    cr_expect(cm_span_eq(first.id, cm_span_str("c")) || cm_span_eq(first.id, cm_span_str("A")),
              "one of the first that can be used by themselves");
    cr_expect_not(cm_source_list_first(s, 3, &first));
    cr_expect_eq(cm_source_list_each(s, take_id, ids, &err), CM_OK, "%s", err.what);
    cr_expect_str_eq(ids, "a c b e ");
    cr_expect_eq(read_values(s, all, sizeof all, &err), CM_E_END, "%s", err.what);
    cr_expect_str_eq(all, "1:a(1)2:c(4)3:b(6)4:e(7)");
    s->ops->close(s);

    /* A resume numbers them alike. */
    told = (struct told) { .count = 0 };
    cr_assert_eq(open_as(CM_LIST_CSV, NULL, &conf, &s, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_ranges_add(&done, 1, 2, NULL), CM_OK);
    s->done = &done;
    cr_expect_eq(read_values(s, all, sizeof all, &err), CM_E_END, "%s", err.what);
    cr_expect_str_eq(all, "3:b(6)4:e(7)");
    s->ops->close(s);
    cm_ranges_close(&done);
}

Test(source_list, rows_that_end_the_run, .init = setup, .fini = teardown)
{
    struct told told = { .count = 0 };
    struct cm_source_list_conf conf = judged(false, &told);
    struct cm_source *s = NULL;
    struct cm_error err = { 0 };

    write_list(rows, sizeof rows - 1);
    cr_expect_eq(open_as(CM_LIST_CSV, NULL, &conf, &s, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "5 rows can't be used; mend them"), "%s", err.what);
    cr_expect_str_eq(told.text, told_of_rows, "all of them at once");
    write_list(LIT("id,b\na,x\nb,x\n"));
    conf.skip = true;
    cr_expect_eq(open_as(CM_LIST_CSV, NULL, &conf, &s, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "line 2: column \"b\": x is not liked; and no other row"), "%s",
                       err.what);
    write_list(LIT("id,b\na,1\nb,fatal\nc,x\n"));
    cr_expect_eq(open_as(CM_LIST_CSV, NULL, &conf, &s, &err), CM_E_NOMEM, "not the row's fault");
    write_list(LIT("id,b\n"));
    cr_expect_eq(open_as(CM_LIST_CSV, NULL, &conf, &s, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "holds no device id"), "%s", err.what);
}

/* The first 20 are told, all are counted; where there are too many, the rest is not looked at. */
Test(source_list, a_flood_of_faults, .init = setup, .fini = teardown, .timeout = 60)
{
    struct told told = { .count = 0 };
    struct cm_source_list_conf conf = judged(false, &told);
    struct cm_source *s = NULL;
    struct cm_error err = { 0 };

    for (unsigned n = CM_LIST_REFUSED_MAX; n <= CM_LIST_REFUSED_MAX + 1; n++) {
        FILE *f = fopen(path, "w");
        (void) fprintf(f, "id,b\n");
        for (unsigned i = 0; i < n; i++)
            (void) fprintf(f, "%s\n", i % 2 == 0 ? "same,1" : "ragged");
        (void) fprintf(f, "%s\n", n % 2 == 0 ? "fine,2" : "same,2");
        cr_assert_eq(fclose(f), 0);
        told = (struct told) { .count = 0 };
        cr_expect_eq(open_as(CM_LIST_CSV, NULL, &conf, &s, &err), CM_E_INPUT);
        cr_expect_eq(told.count, CM_LIST_SHOWN);
        cr_expect_not_null(strstr(err.what, n == CM_LIST_REFUSED_MAX ? "99999 rows can't be used"
                                                                     : "more than 100000 rows can't be used"),
                           "%s", err.what);
    }
}

static const struct {
    const char *what, *before, *after;
} column_changes[] = {
    { "another value", "id,b\na,1\nb,2\n", "id,b\na,1\nb,3\n" },
    { "another header", "id,b\na,1\nb,2\n", "id,c\na,1\nb,2\n" },
    { "a column more", "id,b\na,1\nb,2\n", "id,b,c\na,1,3\nb,2,3\n" },
    { "a refused row that is mended", "id,b\na,1\nb,x\n", "id,b\na,1\nb,2\n" },
    { "a value that is too long for what was planned", "id,b\na,1\nb,2\n",
      "id,b\na,1\nb,"
      "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
      "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
      "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
      "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
      "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
      "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
      "\n" },
};

Test(source_list, changed_columns_end_the_run, .init = setup, .fini = teardown)
{
    for (size_t i = 0; i < CM_COUNT(column_changes); i++) {
        struct told told = { .count = 0 };
        const struct cm_source_list_conf conf = judged(true, &told);
        struct cm_source *s = NULL;
        struct cm_error err = { 0 };
        char all[256];
        write_list(column_changes[i].before, strlen(column_changes[i].before));
        cr_assert_eq(open_as(CM_LIST_CSV, NULL, &conf, &s, &err), CM_OK, "%s", err.what);
        write_list(column_changes[i].after, strlen(column_changes[i].after)); /* the same inode */
        cr_expect_eq(read_values(s, all, sizeof all, &err), CM_E_INPUT, "%s", column_changes[i].what);
        cr_expect_not_null(strstr(err.what, "changed during the run"), "%s: %s", column_changes[i].what,
                           err.what);
        s->ops->close(s);
    }
}
