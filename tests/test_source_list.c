/* Goal: a list of devices is read as it was meant, whatever editor wrote it, and every fault is told with its
 * line before a key is made; a list that changes in between ends the run. Method: files with each
 * peculiarity, read to the end in batches of odd sizes; faults in a table. */
#include "tests/t_list.h"

#include "engine/ident.h"
#include "tests/t_oracle.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static cm_err open_list(bool fold_case, struct cm_source **out, struct cm_error *err)
{
    const struct cm_source_list_conf conf = { .fold_case = fold_case,
                                              .mac_base = 10,
                                              .run_id = t_run_id,
                                              .hasher = &t_list_hasher,
                                              .spill_dir = "/tmp" };

    return t_list_open(CM_LIST_AUTO, &conf, out, err);
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

static const struct {
    const char *text;
    size_t len;
    const char *ids;
} fine[] = {
    { T_LIT("a\nb\nc\n"), "a|b|c" },
    { T_LIT("a\nb\nc"), "a|b|c" },
    { T_LIT("a\r\nb\r\n"), "a|b" },
    { T_LIT("a\r\nb"), "a|b" },
    { T_LIT("\xef\xbb\xbf"
            "a\nb\n"),
      "a|b" },
    { T_LIT("\xef\xbb\xbf"
            "\r\n\r\na\n"),
      "a" },
    { T_LIT("\n\na\n\n\nb\n\n"), "a|b" },
    { T_LIT("Gerät\n日本\n😀 x\n"), "Gerät|日本|😀 x" },
    { T_LIT("only"), "only" },
    { T_LIT("a b\na,b\n\"q\"\n"), "a b|a,b|\"q\"" },
    { T_LIT("SN1\nsn1\n"), "SN1|sn1" },
};

Test(source_list, what_editors_write, .init = t_list_setup, .fini = t_list_teardown)
{
    for (size_t i = 0; i < CM_COUNT(fine); i++) {
        struct cm_source *s = NULL;
        struct cm_error err = { 0 };
        char all[256];
        struct cm_values first;
        uint8_t sha[32], expected[EVP_MAX_MD_SIZE];
        t_list_write(fine[i].text, fine[i].len);
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
    { "empty", T_LIT(""), false, "holds no device id" },
    { "blank", T_LIT("\n\r\n\n"), false, "holds no device id" },
    { "only a mark", T_LIT("\xef\xbb\xbf\n"), false, "holds no device id" },
    { "UTF-16, little",
      T_LIT("\xff\xfe"
            "a\0\n\0"),
      false, "is UTF-16; save it as UTF-8" },
    { "UTF-16, big", T_LIT("\xfe\xff\0a\0\n"), false, "is UTF-16" },
    { "gzip", T_LIT("\x1f\x8b\x08\0\0\0\0\0\0\x03\n"), false, "is compressed with gzip" },
    { "the same twice", T_LIT("a\n\nb\n\na\n"), false, "line 5: the same device id as line 1" },
    { "twice, not side by side", T_LIT("z\na\nm\nb\na\nq\n"), false, "line 5: the same device id as line 2" },
    { "thrice", T_LIT("a\na\na\n"), false, "2 rows can't be used" },
    { "twice with another end", T_LIT("a\r\na"), false, "line 2: the same device id as line 1" },
    { "the same but for case", T_LIT("SN1\nb\nsn1\n"), true,
      "line 3: the same device id as line 1 (upper and lower" },
    { "not UTF-8", T_LIT("a\nb\xff\n"), false,
      "line 2: device id \"b\\xff\" can't be used: it is not UTF-8" },
    { "Latin-1", T_LIT("a\n\nGer\xe4t\n"), false, "line 3: device id" },
    { "a NUL", T_LIT("a\nb\0c\n"), false, "line 2: " },
    { "too long",
      T_LIT("a\n1234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901"
            "234567\n"),
      false, "line 2: device id" },
    { "a path", T_LIT("a\n../b\n"), false, "line 2: " },
    { "a space at an end", T_LIT("a \n"), false, "line 1: " },
    { "a tab", T_LIT("a\tb\n"), false, "line 1: " },
};

Test(source_list, faults_are_told_with_their_lines, .init = t_list_setup, .fini = t_list_teardown)
{
    for (size_t i = 0; i < CM_COUNT(bad); i++) {
        struct cm_source *s = NULL;
        struct cm_error err = { 0 };
        t_list_write(bad[i].text, bad[i].len);
        cr_expect_eq(open_list(bad[i].fold, &s, &err), CM_E_INPUT, "%s", bad[i].what);
        cr_expect_not_null(strstr(err.what, bad[i].words), "%s: %s", bad[i].what, err.what);
        cr_expect_not_null(strstr(err.what, t_list_path), "%s: %s", bad[i].what, err.what);
        cr_expect_null(s);
    }
}

Test(source_list, a_line_without_end, .init = t_list_setup, .fini = t_list_teardown)
{
    static char line[300000];
    struct cm_source *s = NULL;
    struct cm_error err = { 0 };

    memset(line, 'x', sizeof line);
    memcpy(line, "a\nb\n", 4);
    t_list_write(line, sizeof line);
    cr_expect_eq(open_list(false, &s, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "line 3: longer than 262144 octets"), "%s", err.what);
}

Test(source_list, what_is_no_file, .init = t_list_setup, .fini = t_list_teardown)
{
    struct cm_source *s = NULL;
    struct cm_error err = { 0 };

    cr_expect_eq(open_list(false, &s, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "there is no such file"), "%s", err.what);
    cr_assert_eq(mkfifo(t_list_path, 0600), 0);
    cr_expect_eq(open_list(false, &s, &err), CM_E_INPUT, "and it did not wait for a writer");
    cr_expect_not_null(strstr(err.what, "a pipe won't do"), "%s", err.what);
    (void) unlink(t_list_path);
    cr_assert_eq(mkdir(t_list_path, 0700), 0);
    cr_expect_eq(open_list(false, &s, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "not a regular file"), "%s", err.what);
    (void) rmdir(t_list_path);
}

/* Longer than the buffer, lines across its end, more ids than the sort keeps in memory. */
Test(source_list, a_long_list, .init = t_list_setup, .fini = t_list_teardown, .timeout = 60)
{
    enum { N = 250000 };
    FILE *f = fopen(t_list_path, "w");
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
    f = fopen(t_list_path, "a");
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

Test(source_list, a_change_ends_the_run, .init = t_list_setup, .fini = t_list_teardown)
{
    for (size_t i = 0; i < CM_COUNT(changes); i++) {
        struct cm_source *s = NULL;
        struct cm_error err = { 0 };
        char all[256];
        t_list_write(changes[i].before, strlen(changes[i].before));
        cr_assert_eq(open_list(false, &s, &err), CM_OK, "%s", err.what);
        t_list_write(changes[i].after, strlen(changes[i].after)); /* the same inode */
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
    cr_assert(v->mac == 9 + v->seq && v->run_id == t_run_id && v->hasher == &t_list_hasher);
    if (v->id.data[0] == 'x')
        CM_FAIL(err, CM_E_USAGE, "x is not liked");
    return CM_OK;
}

Test(source_list, the_caller_judges_each, .init = t_list_setup, .fini = t_list_teardown)
{
    char seen[200] = "";
    struct cm_source_list_conf conf = { .mac_base = 10,
                                        .run_id = t_run_id,
                                        .hasher = &t_list_hasher,
                                        .spill_dir = "/tmp",
                                        .check = judge,
                                        .check_arg = seen };
    struct cm_source *s = NULL;
    struct cm_error err = { 0 };

    t_list_write(T_LIT("a\n\nb\nx\nc\n"));
    cr_expect_eq(t_list_open(CM_LIST_LINES, &conf, &s, &err), CM_E_USAGE);
    cr_expect_str_eq(seen, "a:1 b:2 x:3 c:3 x:3 ", "all of them, and the one that is refused once more");
    cr_expect_not_null(strstr(err.what, "line 4: x is not liked"), "%s", err.what);
    conf.check = NULL;
    conf.mac_base = (1ull << 48) - 2;
    cr_expect_eq(t_list_open(CM_LIST_LINES, &conf, &s, &err), CM_E_USAGE);
    cr_expect_not_null(strstr(err.what, "line 4: --mac-base passes"), "%s", err.what);
}
