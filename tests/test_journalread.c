/* Goal: the reader refuses every journal that contradicts itself, and says why; what stands behind a torn
 * record is no reason as long as it is no record; nor is it read in part when memory runs out. Method:
 * records that a sealer of the test's own makes, one case for each refusal; allocations of the test's own
 * that fail at the n-th. */
#include "io/journalread.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILE_MAX = 64 << 10, SECTOR = 512 };

static uint8_t file[FILE_MAX];

/* --- allocations --------------------------------------------------------- */

static long fail_at; /* counted down to; 0: none fails any more */

void *reallocarray(void *p, size_t n, size_t size)
{
    return fail_at > 0 && --fail_at == 0 ? NULL : realloc(p, n * size);
}

char *strdup(const char *text)
{
    char *copy = fail_at > 0 && --fail_at == 0 ? NULL : malloc(strlen(text) + 1);

    return copy != NULL ? memcpy(copy, text, strlen(text) + 1) : NULL;
}

/* --- journals ------------------------------------------------------------- */

static cm_err parse(size_t len, struct cm_journal_state *s, struct cm_error *err)
{
    return cm_journal_parse(cm_span(file, len), "journal", s, err);
}

static char gap = ' '; /* between hash and JSON */

/* A record of the test's own making, sealed as the format says. */
static size_t put_record(size_t at, const char *json, uint8_t chain[32])
{
    const size_t len = (65 + strlen(json) + 1 + SECTOR - 1) / SECTOR * SECTOR;
    EVP_MD_CTX *md = EVP_MD_CTX_new();

    cr_assert(at + len <= sizeof file);
    memset(file + at, ' ', len);
    memcpy(file + at + 65, json, strlen(json));
    file[at + 64] = (uint8_t) gap;
    file[at + len - 1] = '\n';
    cr_assert(EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1 && EVP_DigestUpdate(md, chain, 32) == 1 &&
              EVP_DigestUpdate(md, file + at + 64, len - 64) == 1 &&
              EVP_DigestFinal_ex(md, chain, NULL) == 1);
    EVP_MD_CTX_free(md);
    for (int i = 0; i < 32; i++) {
        file[at + 2 * (size_t) i] = (uint8_t) "0123456789abcdef"[chain[i] >> 4];
        file[at + 2 * (size_t) i + 1] = (uint8_t) "0123456789abcdef"[chain[i] & 15];
    }
    return at + len;
}

#define RUN "'type':'run','version':1"
#define ATTEMPT(n, burned) "'type':'attempt','attempt':" #n ",'command':'mint','burned_bytes':" #burned
#define SUPERSEDE(seqs) "'type':'supersede','reason':'worn','seqs':" seqs
#define PURGE(state, before)                                                                                 \
    "'type':'purge','state':'" state "','before':" #before ",'purged_at':'2026-01-02T03:04:05Z'"
#define RESERVE(first)                                                                                       \
    "'type':'reserve','first':" #first ",'at_most':7,'prefixes':['1111111111111111','2222222222222222']"
#define XXH "00112233445566778899aabbccddeeff"
#define COMMIT(n, devices, bytes, units, seqs, prefixes)                                                     \
    "'type':'commit','commit':" #n ",'devices':" #devices ",'manifest_bytes':" #bytes ",'rows_xxh3':'" XXH   \
    "','units':" units ",'seqs':" seqs ",'prefixes':" prefixes ",'reserve':null"
#define END(state, unused, burned)                                                                           \
    "'type':'end','state':'" state "','signatures':3,'unused':" unused ",'burned_bytes':" #burned
#define BEGUN RUN, ATTEMPT(1, 0), RESERVE(0)
#define ONE COMMIT(1, 5, 4096, "[[0,8,8]]", "[[1,5]]", "[[0,0]]")

/* What stands before, and the record that is wrong: the last. */
static const struct {
    const char *record[8];
    const char *says; /* NULL: it is right */
} cases[] = {
    { { BEGUN, ONE, COMMIT(2, 6, 8192, "[[0,9,9],[1,0,0]]", "[[7,7]]", "[[1,1]]"), END("stopped", "[]", 0) },
      NULL },
    { { BEGUN, ONE, END("stopped", "[[1,1]]", 0), ATTEMPT(2, 70), RESERVE(2) }, NULL },
    { { BEGUN, END("failed", "[]", 10) }, NULL },
    { { RUN, ATTEMPT(1, 0), ATTEMPT(2, 0), RESERVE(0) }, NULL },
    { { BEGUN, ONE, SUPERSEDE("[[2,3]]"), COMMIT(2, 7, 8192, "[[1,8,8]]", "[[2,3]]", "[[1,1]]") }, NULL },
    { { BEGUN, ONE, END("stopped", "[[1,1]]", 0), PURGE("begun", 1), PURGE("done", 1) }, NULL },
    { { BEGUN, ONE, SUPERSEDE("[]") }, "seqs: none" },
    { { BEGUN, ONE, SUPERSEDE("[[5,6]]") }, "has no certificate" },
    { { BEGUN, ONE, SUPERSEDE("[[2,3]]"), SUPERSEDE("[[3,4]]") }, "asked for again before" },
    { { BEGUN, ONE, "'type':'supersede','seqs':[[2,3]]" }, "reason is not a string" },
    { { BEGUN, ONE, SUPERSEDE("[[2,3]]"), COMMIT(2, 7, 8192, "[]", "[[3,4]]", "[[1,1]]") },
      "were there before" },
    { { BEGUN, ONE, END("stopped", "[[1,1]]", 0), SUPERSEDE("[[2,3]]") }, "no attempt is under way" },
    { { BEGUN, ONE, PURGE("begun", 1) }, "where an attempt is under way" },
    { { BEGUN, ONE, END("stopped", "[[1,1]]", 0), PURGE("begun", 2) }, "segments that there are not" },
    { { BEGUN, ONE, END("stopped", "[[1,1]]", 0), PURGE("done", 1) }, "out of order" },
    { { BEGUN, ONE, END("stopped", "[[1,1]]", 0), PURGE("begun", 1), PURGE("done", 0) }, "purge" },
    { { BEGUN, ONE, END("stopped", "[[1,1]]", 0), PURGE("over", 1) }, "none of begun, done" },
    { { BEGUN, ONE, END("stopped", "[[1,1]]", 0), PURGE("begun", 1), ATTEMPT(2, 0) }, "being purged" },
    { { BEGUN, ONE, END("stopped", "[[1,1]]", 0), PURGE("begun", 0), PURGE("done", 1) },
      "not what the purge began with" },
    { { BEGUN, END("stopped", "[]", 0), PURGE("begun", 0), PURGE("done", 0) }, NULL },
    { { BEGUN, END("stopped", "[]", 0), PURGE("begun", 1) }, "segments that there are not" },
    { { BEGUN, END("stopped", "[]", 0), "'type':'purge'" }, "state is not a string" },
    { { BEGUN, END("stopped", "[]", 0), "'type':'purge','state':'begun'" }, "purged_at is not a string" },
    { { BEGUN, END("stopped", "[]", 0), "'type':'purge','state':'begun','purged_at':'now'" },
      "before is not" },
    { { BEGUN, ONE, "'type':'supersede','reason':'worn','seqs':7" }, "seqs is not an array" },
    { { BEGUN, ONE, SUPERSEDE("[[2]]") }, "seqs: not 2 whole numbers" },
    { { BEGUN, COMMIT(1, 5, 4096, "[]", "[[1]]", "[]") }, "seqs: not 2 whole numbers" },
    { { RUN, "'type':'attempt','attempt':1,'burned_bytes':0" }, "command is not a string" },
    { { BEGUN, "'type':'commit','commit':1,'devices':1,'manifest_bytes':1,'rows_xxh3':'" XXH
               "','units':[],'seqs':[],'prefixes':[]" },
      "first is not" },
    { { "#[]" }, "not a JSON object" },
    { { "#{\"record\":0,\"type\":\"run\",\"version\":1,}" }, "not a JSON object" },
    { { "#{\"record\":0,\"type\":\"run\",\"version\":1,\"version\":1}" }, "not a JSON object" },
    { { "#{\"record\":1,\"type\":\"run\",\"version\":1}" }, "it has the number 1" },
    { { "#{\"record\":\"0\",\"type\":\"run\",\"version\":1}" }, "record is not a whole number" },
    { { "#{\"record\":0,\"version\":1}" }, "type is not a string" },
    { { "'type':'run'" }, "version is not a whole number" },
    { { "'type':'run','version':-1" }, "version is not a whole number" },
    { { "'type':'run','version':2" }, "format version 2" },
    { { ATTEMPT(1, 0) }, "the first record" },
    { { RUN, RUN }, "the first record" },
    { { RUN, "'type':'nonsense'" }, "unknown type" },
    { { RUN, RESERVE(0) }, "no attempt is under way" },
    { { RUN, END("stopped", "[]", 0) }, "no attempt is under way" },
    { { BEGUN, END("stopped", "[]", 0), ONE }, "no attempt is under way" },
    { { BEGUN, END("stopped", "[]", 0), END("stopped", "[]", 0) }, "no attempt is under way" },
    { { RUN, ATTEMPT(2, 0) }, "attempt: not the number" },
    { { BEGUN, END("failed", "[]", 10), ATTEMPT(2, 9) }, "less is burned" },
    { { RUN, "'type':'attempt','burned_bytes':0" }, "attempt is not a whole number" },
    { { RUN, "'type':'attempt','attempt':1" }, "burned_bytes is not a whole number" },
    { { RUN, ATTEMPT(1, 0), RESERVE(1) }, "not the number of the next prefix" },
    { { BEGUN, RESERVE(0) }, "not the number of the next prefix" },
    { { RUN, ATTEMPT(1, 0), "'type':'reserve','first':0,'at_most':0,'prefixes':[]" }, "no certificate fits" },
    { { RUN, ATTEMPT(1, 0), "'type':'reserve','first':0,'at_most':4294967296,'prefixes':[]" },
      "no certificate" },
    { { RUN, ATTEMPT(1, 0), "'type':'reserve','at_most':1,'prefixes':[]" }, "first is not" },
    { { RUN, ATTEMPT(1, 0), "'type':'reserve','first':0,'prefixes':[]" }, "at_most is not" },
    { { RUN, ATTEMPT(1, 0), "'type':'reserve','first':0,'at_most':1" }, "prefixes is not an array" },
    { { RUN, ATTEMPT(1, 0), "'type':'reserve','first':0,'at_most':1,'prefixes':['111111111111111']" },
      "hex" },
    { { RUN, ATTEMPT(1, 0), "'type':'reserve','first':0,'at_most':1,'prefixes':['111111111111111A']" },
      "hex" },
    { { RUN, ATTEMPT(1, 0), "'type':'reserve','first':0,'at_most':1,'prefixes':[7]" }, "hex" },
    { { BEGUN, COMMIT(2, 5, 4096, "[]", "[]", "[]") }, "not what follows" },
    { { BEGUN, COMMIT(1, 0, 4096, "[]", "[]", "[]") }, "not what follows" },
    { { BEGUN, COMMIT(1, 1, 0, "[]", "[]", "[]") }, "not what follows" },
    { { BEGUN, ONE, COMMIT(2, 5, 8192, "[]", "[]", "[]") }, "not what follows" },
    { { BEGUN, ONE, COMMIT(2, 6, 4096, "[]", "[]", "[]") }, "not what follows" },
    { { BEGUN, "'type':'commit'" }, "commit is not a whole number" },
    { { BEGUN, "'type':'commit','commit':1" }, "devices is not" },
    { { BEGUN, "'type':'commit','commit':1,'devices':1" }, "manifest_bytes is not" },
    { { BEGUN, "'type':'commit','commit':1,'devices':1,'manifest_bytes':1" }, "rows_xxh3 is not a string" },
    { { BEGUN, "'type':'commit','commit':1,'devices':1,'manifest_bytes':1,'rows_xxh3':'00'" },
      "rows_xxh3: not" },
    { { BEGUN, "'type':'commit','commit':1,'devices':1,'manifest_bytes':1,'rows_xxh3':'" XXH "'" },
      "units is not" },
    { { BEGUN, COMMIT(1, 5, 4096, "[[0,1]]", "[]", "[]") }, "units: not 3 whole numbers" },
    { { BEGUN, COMMIT(1, 5, 4096, "[7]", "[]", "[]") }, "units: not 3 whole numbers" },
    { { BEGUN, COMMIT(1, 5, 4096, "[[0,-1,0]]", "[]", "[]") }, "units: not 3 whole numbers" },
    { { BEGUN, COMMIT(1, 5, 4096, "[[0,'1',0]]", "[]", "[]") }, "units: not 3 whole numbers" },
    { { BEGUN, COMMIT(1, 5, 4096, "[[0,9223372036854775807,0]]", "[]", "[]") },
      "units: not 3 whole numbers" },
    { { BEGUN, COMMIT(1, 5, 4096, "[[1073741824,0,0]]", "[]", "[]") }, "out of bounds" },
    { { BEGUN, COMMIT(1, 5, 4096, "[[1,8,8],[0,8,8]]", "[]", "[]") }, "left behind" },
    { { BEGUN, ONE, COMMIT(2, 6, 8192, "[[0,7,8]]", "[]", "[]") }, "shorter" },
    { { BEGUN, ONE, COMMIT(2, 6, 8192, "[[0,8,7]]", "[]", "[]") }, "shorter" },
    { { BEGUN, COMMIT(1, 5, 4096, "[]", "7", "[]") }, "seqs is not an array" },
    { { BEGUN, COMMIT(1, 5, 4096, "[]", "[[5,1]]", "[]") }, "backwards" },
    { { BEGUN, COMMIT(1, 5, 4096, "[]", "[[1,5],[5,6]]", "[]") }, "were there before" },
    { { BEGUN, ONE, COMMIT(2, 6, 8192, "[]", "[[3,8]]", "[]") }, "were there before" },
    { { BEGUN, ONE, COMMIT(2, 6, 8192, "[]", "[[6,6]]", "[[0,1]]") }, "were there before" },
    { { BEGUN, COMMIT(1, 5, 4096, "[]", "[[1,5]]", "[[0,2]]") }, "did not reserve" },
    { { BEGUN, COMMIT(1, 5, 4096, "[]", "[[1,5]]", "7") }, "prefixes is not an array" },
    { { BEGUN, END("stopped", "[]", 9), ATTEMPT(2, 9), ONE }, "did not reserve" },
    { { BEGUN, ONE, END("stopped", "[[0,1]]", 0) }, "or that was used" },
    { { BEGUN, ONE, END("stopped", "[[2,2]]", 0) }, "did not reserve" },
    { { BEGUN, END("stopped", "[]", 9), ATTEMPT(2, 9), END("stopped", "[[1,1]]", 9) }, "did not reserve" },
    { { BEGUN, ONE, END("stopped", "[[1,1],[1,1]]", 0) }, "were there before" },
    { { BEGUN, END("running", "[]", 0) }, "none of complete" },
    { { BEGUN, "'type':'end'" }, "state is not a string" },
    { { BEGUN, "'type':'end','state':'failed'" }, "signatures is not" },
    { { BEGUN, "'type':'end','state':'failed','signatures':0" }, "burned_bytes is not" },
    { { BEGUN, "'type':'end','state':'failed','signatures':0,'burned_bytes':0" }, "unused is not an array" },
    { { RUN, ATTEMPT(1, 5), END("failed", "[]", 4) }, "burned_bytes: less" },
    { { BEGUN, "'type':'commit','commit':1,'devices':1,'manifest_bytes':1,'rows_xxh3':'" XXH
               "','units':[],'seqs':[],'prefixes':[],'reserve':7" },
      "first is not" },
};

/* ' stands for a quotation mark; behind # comes the whole record. */
static size_t put_text(size_t at, size_t number, const char *text, uint8_t chain[32])
{
    char json[2048];

    if (text[0] == '#')
        (void) snprintf(json, sizeof json, "%s", text + 1);
    else
        (void) snprintf(json, sizeof json, "{'record':%zu,%s}", number, text);
    for (char *c = json; *c != '\0'; c++)
        *c = *c == '\'' ? '"' : *c;
    return put_record(at, json, chain);
}

static size_t put_case(size_t i)
{
    uint8_t chain[32] = { 0 };
    size_t len = 0;

    for (size_t n = 0; n < CM_COUNT(cases[i].record) && cases[i].record[n] != NULL; n++)
        len = put_text(len, n, cases[i].record[n], chain);
    return len;
}

/* A row is in force until a commit behind the supersede record brings another, and not a moment longer. */
Test(journalread, one_row_of_a_device_is_in_force)
{
    static const char *const record[] = {
        BEGUN,
        ONE,
        SUPERSEDE("[[2,3]]"),
        COMMIT(2, 6, 8192, "[[1,8,8]]", "[[2,2]]", "[[1,1]]"),
        SUPERSEDE("[[2,2]]"),
    };
    uint8_t chain[32] = { 0 };
    size_t len = 0;

    for (size_t n = 0; n < CM_COUNT(record); n++) {
        struct cm_journal_state s = { 0 };
        struct cm_error err = { 0 };
        len = put_text(len, n, record[n], chain);
        cr_assert_eq(parse(len, &s, &err), CM_OK, "%s", err.what);
        const bool again = cm_journal_superseded(&s, 2, 0) != NULL;
        cr_expect_eq(again, s.commits == 2, "record %zu: the first row of 2", n);
        cr_expect_null(cm_journal_superseded(&s, 2, 4096), "record %zu: the second row of 2", n);
        cr_expect_null(cm_journal_superseded(&s, 3, 0), "record %zu: 3 waits", n);
        cr_expect_null(cm_journal_superseded(&s, 4, 0), "record %zu: nobody asked for 4", n);
        cr_expect_eq(cm_journal_rows_in_force(&s), s.commits > 0 ? 5 : 0, "record %zu", n);
        cm_journal_state_done(&s);
    }
}

Test(journalread, every_contradiction)
{
    for (size_t i = 0; i < CM_COUNT(cases); i++) {
        struct cm_journal_state s = { 0 };
        struct cm_error err = { 0 };
        const cm_err rc = parse(put_case(i), &s, &err);
        cr_expect_eq(rc, cases[i].says == NULL ? CM_OK : CM_E_INPUT, "case %zu: %d, %s", i, (int) rc,
                     err.what);
        cr_expect(cases[i].says == NULL || strstr(err.what, cases[i].says) != NULL, "case %zu: %s", i,
                  err.what);
        cm_journal_state_done(&s);
    }
}

/* count numbers from `first` on, each second one: "[[4,4],[6,6]]". */
static const char *every_second(int first, int count)
{
    static char text[1024];
    int len = 0;

    for (int i = 0; i < count; i++)
        len += snprintf(text + len, sizeof text - (size_t) len, "%c[%d,%d]", i == 0 ? '[' : ',',
                        first + 2 * i, first + 2 * i);
    (void) snprintf(text + len, sizeof text - (size_t) len, "]");
    return text;
}

/* Each allocation in turn: no memory, and nothing comes out; nothing leaks (a sanitizer tells). */
Test(journalread, no_memory)
{
    static const char *const begin[] = { BEGUN, COMMIT(1, 200, 4096, "[[0,8,8]]", "[[1,200]]", "[[0,0]]"),
                                         SUPERSEDE("[[1,150]]") };
    uint8_t chain[32] = { 0 };
    size_t len = 0, n = 0;
    char text[1400];
    long failed = 0;

    for (; n < CM_COUNT(begin); n++)
        len = put_text(len, n, begin[n], chain);
    (void) snprintf(text, sizeof text, COMMIT(2, 240, 8192, "[[1,8,8]]", "%s", "[[1,1]]"),
                    every_second(2, 40));
    len = put_text(len, n++, text, chain);
    (void) snprintf(text, sizeof text, SUPERSEDE("%s"), every_second(160, 20));
    len = put_text(len, n, text, chain);
    for (cm_err rc = CM_E_NOMEM; rc != CM_OK; failed++) {
        struct cm_journal_state s = { 0 };
        struct cm_error err = { 0 };
        fail_at = failed + 1;
        rc = parse(len, &s, &err);
        fail_at = 0;
        cr_assert(rc == CM_OK || rc == CM_E_NOMEM, "allocation %ld: %d, %s", failed, (int) rc, err.what);
        cr_assert((rc == CM_OK) == (s.run != NULL), "allocation %ld: half a state", failed);
        cr_assert(rc != CM_OK || (cm_ranges_size(&s.again) == 130 && cm_ranges_size(&s.seqs) == 70));
        cm_journal_state_done(&s);
    }
    cr_expect_gt(failed, 12);
}

/* A hash that is right, of a record that has no space behind it. */
Test(journalread, hash_and_json_are_apart)
{
    struct cm_journal_state s = { 0 };
    struct cm_error err = { 0 };
    uint8_t chain[32] = { 0 }, copy[32];
    size_t len = put_text(0, 0, RUN, chain);

    memcpy(copy, chain, sizeof copy);
    const size_t whole = put_text(len, 1, ATTEMPT(1, 0), copy);
    cr_assert_eq(parse(whole, &s, &err), CM_OK, "%s", err.what);
    cr_assert_eq(s.at.records, 2);
    cm_journal_state_done(&s);
    gap = ';';
    cr_assert_eq(put_text(len, 1, ATTEMPT(1, 0), chain), whole);
    gap = ' ';
    cr_assert_eq(parse(whole, &s, &err), CM_OK, "%s", err.what);
    cr_expect(s.at.records == 1 && s.at.length == len && s.file_bytes == whole, "a torn tail");
    cm_journal_state_done(&s);
}

/* Something that is no record of ours behind a torn one: only a record's beginning counts. */
Test(journalread, what_stands_behind_a_torn_record)
{
    struct cm_journal_state s = { 0 };
    struct cm_error err = { 0 };
    size_t len = put_case(0);

    cr_assert_eq(parse(len, &s, &err), CM_OK, "%s", err.what);
    const uint64_t sound = s.at.records;
    cm_journal_state_done(&s);
    memset(file + len, 'a', 4 * SECTOR); /* hex digits, but no record */
    file[len + 2 * SECTOR - 1] = '\n';
    memset(file + len + 2 * SECTOR + 64, ' ', SECTOR - 64);
    file[len + 3 * SECTOR - 1] = '\n';
    cr_assert_eq(parse(len + 4 * SECTOR, &s, &err), CM_OK, "%s", err.what);
    cr_expect(s.at.records == sound && s.at.length == len && s.file_bytes == len + 4 * SECTOR);
    cm_journal_state_done(&s);
    memcpy(file + len + 3 * SECTOR + 64, " {\"record\":", 11);
    cr_expect_eq(parse(len + 4 * SECTOR, &s, &err), CM_E_INPUT);
    file[len + 3 * SECTOR + 63] = 'G';
    cr_expect_eq(parse(len + 4 * SECTOR, &s, &err), CM_OK, "%s", err.what);
    cm_journal_state_done(&s);
}

Test(journalread, what_is_no_file)
{
    struct t_place t;
    struct cm_journal_state s = { 0 };
    struct cm_error err = { 0 };

    t_place_open(&t);
    cr_expect_eq(cm_journal_read(t.dir.fd, t.out, &s, &err), CM_E_END);
    cr_assert_eq(symlinkat("elsewhere", t.dir.fd, "journal"), 0);
    cr_expect_eq(cm_journal_read(t.dir.fd, t.out, &s, &err), CM_E_IO);
    cr_assert_eq(unlinkat(t.dir.fd, "journal", 0), 0);
    cr_assert_eq(mkdirat(t.dir.fd, "journal", 0700), 0);
    cr_expect_eq(cm_journal_read(t.dir.fd, t.out, &s, &err), CM_E_INPUT);
    cr_assert_eq(unlinkat(t.dir.fd, "journal", AT_REMOVEDIR), 0);
    int fd = openat(t.dir.fd, "journal", O_WRONLY | O_CREAT, 0600);
    cr_expect_eq(cm_journal_read(t.dir.fd, t.out, &s, &err), CM_E_END,
                 "empty: killed before its first record");
    cr_assert_eq(ftruncate(fd, (off_t) 1 << 31), 0);
    cr_expect_eq(cm_journal_read(t.dir.fd, t.out, &s, &err), CM_E_INPUT, "no memory is asked for that");
    (void) close(fd);
    t_place_close(&t);
}
