/* Goal: a ledger gives an id to one run only, whole reservations or nothing, refuses in words that help, and
 * never says a password. Method: ledgers in files, in every state that a user may point at, and URLs that are
 * wrong in every way; what needs a server, or processes that race, is in e2e_ledger.py. */
#include "io/ledger.h"

#include "engine/ident.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define CA_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define CA_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define RUN_1 "11111111-1111-4111-8111-111111111111"
#define RUN_2 "22222222-2222-4222-8222-222222222222"

enum { WAIT_MS = 100 };

static char base[64], file[96], url[112];
static struct cm_error err;

static void setup(void)
{
    (void) snprintf(base, sizeof base, "/tmp/certmill-ledger-XXXXXX");
    cr_assert_not_null(mkdtemp(base));
    (void) snprintf(file, sizeof file, "%s/ids.ledger", base);
    (void) snprintf(url, sizeof url, "sqlite:%s", file);
    (void) umask(0);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void) st;
    (void) type;
    (void) ftw;
    return remove(path);
}

static void teardown(void)
{
    (void) nftw(base, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static struct cm_ledger *open_it(void)
{
    struct cm_ledger *l = NULL;

    cr_assert_eq(cm_ledger_open(url, WAIT_MS, &l, &err), CM_OK, "%s", err.what);
    return l;
}

/* Reserves ids, which end with NULL, in a ledger that is opened for it. */
static cm_err reserve(const char *ca, const char *run, const char *order, const char *const *id)
{
    const struct cm_ledger_claim claim = { ca, run, order };
    struct cm_ledger *l = open_it();
    cm_err rc = cm_ledger_begin(l, &claim, &err);

    for (; rc == CM_OK && *id != NULL; id++)
        rc = cm_ledger_add(l, cm_span_str(*id), &err);
    if (rc == CM_OK)
        rc = cm_ledger_commit(l, &err);
    cm_ledger_close(l);
    return rc;
}

#define IDS(...) ((const char *const[]) { __VA_ARGS__, NULL })

/* One integer from the file, by SQLite itself. */
static int64_t sql(const char *query)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t value = -1;

    cr_assert_eq(sqlite3_open(file, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_prepare_v2(db, query, -1, &stmt, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    if (sqlite3_step(stmt) == SQLITE_ROW)
        value = sqlite3_column_int64(stmt, 0);
    (void) sqlite3_finalize(stmt);
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
    return value;
}

static void expect_words(const char *const *word)
{
    for (; *word != NULL; word++)
        cr_expect_not_null(strstr(err.what, *word), "no \"%s\" in: %s", *word, err.what);
}

Test(ledger, gives_an_id_to_one_run, .init = setup, .fini = teardown)
{
    cr_expect_eq(reserve(CA_A, RUN_1, "A-17", IDS("a", "b", "c")), CM_OK, "%s", err.what);
    cr_expect_eq(reserve(CA_A, RUN_2, NULL, IDS("x", "c", "b", "y")), CM_E_INPUT);
    expect_words(IDS("2 of the 4 device ids", url, "run " RUN_1, "order A-17", "holds c, b", "since 2"));
    cr_expect_null(strstr(err.what, "…"), "all were named: %s", err.what);
    cr_expect_eq(sql("SELECT count(*) FROM ledger_device"), 3, "nothing of what was refused stays");
    cr_expect_eq(sql("SELECT count(*) FROM ledger_run"), 1);
    cr_expect_eq(reserve(CA_A, RUN_2, NULL, IDS("x", "y")), CM_OK, "%s", err.what);
}

Test(ledger, same_run_once_more, .init = setup, .fini = teardown)
{
    cr_expect_eq(reserve(CA_A, RUN_1, NULL, IDS("a", "b")), CM_OK, "%s", err.what);
    cr_expect_eq(reserve(CA_A, RUN_1, NULL, IDS("b", "a", "c", "c")), CM_OK, "%s", err.what);
    cr_expect_eq(sql("SELECT count(*) FROM ledger_device"), 3);
    cr_expect_eq(sql("SELECT reservations FROM ledger_run"), 2);
}

/* An id is its octets: neither case nor Unicode's equivalences make two into one. */
Test(ledger, ids_are_octets, .init = setup, .fini = teardown)
{
    cr_expect_eq(reserve(CA_A, RUN_1, NULL, IDS("sn1", "\xc3\xa9")), CM_OK, "%s", err.what);
    cr_expect_eq(reserve(CA_A, RUN_2, NULL, IDS("SN1", "e\xcc\x81", "sn1 ", "sn")), CM_OK, "%s", err.what);
    cr_expect_eq(reserve(CA_B, RUN_2, NULL, IDS("sn1")), CM_OK, "below another CA: %s", err.what);
    cr_expect_eq(reserve(CA_A, RUN_2, NULL, IDS("\xc3\xa9")), CM_E_INPUT);
}

Test(ledger, release_frees_one_run_below_one_ca, .init = setup, .fini = teardown)
{
    struct cm_ledger *l = NULL;

    cr_expect_eq(reserve(CA_A, RUN_1, NULL, IDS("a", "b")), CM_OK, "%s", err.what);
    cr_expect_eq(reserve(CA_B, RUN_1, NULL, IDS("a")), CM_OK, "%s", err.what);
    cr_expect_eq(reserve(CA_A, RUN_2, NULL, IDS("c")), CM_OK, "%s", err.what);
    l = open_it();
    cr_expect_eq(cm_ledger_release(l, CA_A, RUN_1, &err), CM_OK, "%s", err.what);
    cr_expect_eq(cm_ledger_release(l, CA_A, RUN_1, &err), CM_OK, "nothing held is fine: %s", err.what);
    cm_ledger_close(l);
    cr_expect_eq(sql("SELECT count(*) FROM ledger_device"), 2);
    cr_expect_eq(sql("SELECT count(*) FROM ledger_run"), 2);
    cr_expect_eq(reserve(CA_A, RUN_2, NULL, IDS("a", "b")), CM_OK, "%s", err.what);
    cr_expect_eq(reserve(CA_B, RUN_2, NULL, IDS("a")), CM_E_INPUT, "still held below the other CA");
}

Test(ledger, what_is_not_committed_is_not_held, .init = setup, .fini = teardown)
{
    const struct cm_ledger_claim claim = { CA_A, RUN_1, NULL };
    struct cm_ledger *l = open_it();
    char id[32];

    cr_expect(cm_ledger_is_new(l));
    cr_assert_eq(cm_ledger_begin(l, &claim, &err), CM_OK, "%s", err.what);
    for (int i = 0; i < 10000; i++) {
        (void) snprintf(id, sizeof id, "SN%d", i);
        cr_assert_eq(cm_ledger_add(l, cm_span_str(id), &err), CM_OK, "%s", err.what);
    }
    cm_ledger_close(l);
    cm_ledger_close(NULL);
    cr_expect_eq(sql("SELECT (SELECT count(*) FROM ledger_device) + (SELECT count(*) FROM ledger_run)"), 0);
    l = open_it();
    cr_expect_not(cm_ledger_is_new(l));
    cm_ledger_close(l);
}

/* The longest of everything still gives a message that ends with what to do. */
Test(ledger, long_refusals_are_whole, .init = setup, .fini = teardown)
{
    char id[5][CM_ID_MAX + 1], order[300];
    const char *const ids[] = { id[0], id[1], id[2], id[3], id[4], NULL };

    memset(order, 'O', sizeof order - 1);
    order[sizeof order - 1] = '\0';
    for (int i = 0; i < 5; i++) {
        memset(id[i], 'a' + i, CM_ID_MAX);
        id[i][CM_ID_MAX] = '\0';
        cr_assert_eq(reserve(CA_A, i % 2 == 0 ? RUN_1 : RUN_2, order, IDS(id[i])), CM_OK, "%s", err.what);
    }
    cr_expect_eq(reserve(CA_A, "33333333-3333-4333-8333-333333333333", order, ids), CM_E_INPUT);
    expect_words(IDS("5 of the 5", RUN_1, "holds aaaa", "…", "choose other ids, or resume that run"));
    cr_expect_lt(strlen(err.what), sizeof err.what - 1, "it was cut: %s", err.what);
}

Test(ledger, a_new_file_is_its_makers_alone, .init = setup, .fini = teardown)
{
    struct stat st;

    cm_ledger_close(open_it());
    cr_assert_eq(stat(file, &st), 0);
    cr_expect_eq(st.st_mode & 07777, 0600, "%o", st.st_mode);
    cr_expect_eq(sql("SELECT version FROM ledger_version"), 1);
    cr_expect_eq(sql("SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'delete'"), 1);
}

static void expect_not_opened(cm_err rc, const char *const *word)
{
    struct cm_ledger *l = NULL;

    cr_expect_eq(cm_ledger_open(url, WAIT_MS, &l, &err), rc, "%s", err.what);
    cr_expect_null(l);
    expect_words(word);
}

Test(ledger, newer_schema_is_refused, .init = setup, .fini = teardown)
{
    cm_ledger_close(open_it());
    (void) sql("UPDATE ledger_version SET version = 2");
    expect_not_opened(CM_E_INPUT, IDS(url, "schema version 2", "up to 1"));
    (void) sql("DELETE FROM ledger_version");
    expect_not_opened(CM_E_INPUT, IDS("schema version -1"));
}

Test(ledger, no_such_place, .init = setup, .fini = teardown)
{
    (void) snprintf(url, sizeof url, "sqlite:%s/no/where", base);
    expect_not_opened(CM_E_IO, IDS("/no/where", "No such file"));
    (void) snprintf(url, sizeof url, "sqlite:%s", base);
    expect_not_opened(CM_E_DB, IDS(base, "directory"));
}

static void put(const void *data, size_t len, off_t offset)
{
    const int fd = open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    cr_assert_eq(pwrite(fd, data, len, offset), (ssize_t) len);
    (void) close(fd);
}

Test(ledger, not_a_database, .init = setup, .fini = teardown)
{
    char text[5000];

    memset(text, 'x', sizeof text);
    put(text, sizeof text, 0);
    expect_not_opened(CM_E_DB, IDS(url, "not a database", "backup"));
}

/* Every page but the first is overwritten: nothing may be believed to be free. */
Test(ledger, damaged_pages_free_nothing, .init = setup, .fini = teardown)
{
    struct stat st;
    uint8_t junk[4096];

    cr_assert_eq(reserve(CA_A, RUN_1, NULL, IDS("a", "b")), CM_OK);
    cr_assert_eq(stat(file, &st), 0);
    memset(junk, 0x5a, sizeof junk);
    for (off_t at = 4096; at < st.st_size; at += 4096)
        put(junk, sizeof junk, at);
    struct cm_ledger *l = NULL;
    const struct cm_ledger_claim claim = { CA_A, RUN_2, NULL };
    cm_err rc = cm_ledger_open(url, WAIT_MS, &l, &err);
    if (rc == CM_OK)
        rc = cm_ledger_begin(l, &claim, &err);
    cr_expect_eq(rc, CM_E_DB);
    expect_words(IDS("malformed", "backup"));
    cm_ledger_close(l);
}

Test(ledger, an_id_of_no_run_is_not_free, .init = setup, .fini = teardown)
{
    cr_assert_eq(reserve(CA_A, RUN_1, NULL, IDS("a")), CM_OK);
    (void) sql("DELETE FROM ledger_run");
    cr_assert_eq(reserve(CA_B, RUN_2, NULL, IDS("b")), CM_OK, "takes number 1 again: %s", err.what);
    (void) sql("UPDATE ledger_run SET run_no = 7");
    cr_expect_eq(reserve(CA_A, RUN_2, NULL, IDS("a")), CM_E_DB);
    expect_words(IDS("damaged"));
}

Test(ledger, locked_by_another, .init = setup, .fini = teardown)
{
    const struct cm_ledger_claim first = { CA_A, RUN_1, NULL }, second = { CA_A, RUN_2, NULL };
    struct cm_ledger *a = open_it(), *b = open_it();

    cr_assert_eq(cm_ledger_begin(a, &first, &err), CM_OK, "%s", err.what);
    cr_expect_eq(cm_ledger_begin(b, &second, &err), CM_E_DB);
    expect_words(IDS("locked", "another process", "try again"));
    cr_expect_eq(cm_ledger_release(b, CA_A, RUN_2, &err), CM_E_DB);
    cr_assert_eq(cm_ledger_add(a, cm_span_str("a"), &err), CM_OK, "%s", err.what);
    cr_expect_eq(cm_ledger_commit(a, &err), CM_OK, "%s", err.what);
    cr_expect_eq(cm_ledger_begin(b, &second, &err), CM_OK, "%s", err.what);
    cm_ledger_close(a);
    cm_ledger_close(b);
}

/* A write-ahead log can't be shared by machines: it is done away with, or the ledger is not used. */
Test(ledger, write_ahead_log, .init = setup, .fini = teardown)
{
    sqlite3 *db = NULL;

    cm_ledger_close(open_it());
    cr_assert_eq(sqlite3_open(file, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, "PRAGMA journal_mode = WAL; SELECT * FROM ledger_run", NULL, NULL, NULL),
                 SQLITE_OK);
    expect_not_opened(CM_E_DB, IDS(url));
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
    (void) sql("PRAGMA journal_mode = WAL");
    cm_ledger_close(open_it());
    cr_expect_eq(sql("SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'delete'"), 1);
}

/* A file that can't grow (a limit here; a full disk in e2e_ledger.py), wherever that falls: an error that
 * says so, and the ledger as it was. */
Test(ledger, file_that_cannot_grow, .init = setup, .fini = teardown)
{
    const struct cm_ledger_claim claim = { CA_A, RUN_2, NULL };
    struct rlimit limit, was;
    char id[32];

    cr_assert_eq(reserve(CA_A, RUN_1, NULL, IDS("a")), CM_OK);
    (void) signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &was), 0);
    for (rlim_t size = 0; size < 65536; size += 4096 + 512) {
        struct cm_ledger *l = open_it();
        limit = (struct rlimit) { size, was.rlim_max };
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
        cm_err rc = cm_ledger_begin(l, &claim, &err);
        for (int i = 0; rc == CM_OK && i < 5000; i++) {
            (void) snprintf(id, sizeof id, "SN%d", i);
            rc = cm_ledger_add(l, cm_span_str(id), &err);
        }
        if (rc == CM_OK)
            rc = cm_ledger_commit(l, &err);
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &was), 0);
        cr_expect_eq(rc, CM_E_DB, "limit %llu: %s", (unsigned long long) size, err.what);
        expect_words(IDS(url));
        cm_ledger_close(l);
        cr_expect_eq(sql("SELECT count(*) FROM ledger_device"), 1, "limit %llu", (unsigned long long) size);
    }
}

static void expect_usage(const char *bad, const char *word)
{
    struct cm_ledger *l = NULL;
    char public[CM_LEDGER_URL_MAX];

    cr_expect_eq(cm_ledger_open(bad, WAIT_MS, &l, &err), CM_E_USAGE, "%s: %s", bad, err.what);
    cr_expect(strstr(err.what, word) != NULL && strstr(err.what, "sEcReT") == NULL, "%s: %s", bad, err.what);
    cr_expect_eq(cm_ledger_public(bad, public, sizeof public, &err), CM_E_USAGE, "%s: %s", bad, err.what);
    cr_expect_null(strstr(err.what, "sEcReT"), "%s: %s", bad, err.what);
}

Test(ledger, urls_that_are_wrong)
{
    static char long_url[CM_LEDGER_URL_MAX + 100] = "sqlite:/";

    for (size_t i = 0; cm_db_url_form(i) != NULL; i++)
        expect_usage("mysql://u:sEcReT@h/d", cm_db_url_form(i));
    expect_usage("", "sqlite:FILE");
    expect_usage("sEcReT", "sqlite:FILE");
    expect_usage("sqlite", "sqlite:FILE");
    expect_usage("sqlite3:x", "sqlite:FILE");
    expect_usage("sqlite:", "names no file");
    expect_usage("postgresql:/u:sEcReT@h/d", "postgresql://");
    expect_usage("postgresql://u:sEc@sEcReT@h/d", "%40");
    expect_usage("postgresql://u:sEc/sEcReT@h/d", "%2F");
    expect_usage("postgresql://u:sEcReT/d", "port");
    expect_usage("postgresql://u:%zzsEcReT@h/d", "percent");
    expect_usage("postgresql://u:sEcReT%00@h/d", "forbidden");
    expect_usage("postgresql://u@h/d?passwort=sEcReT", "invalid URI query parameter");
    expect_usage("postgresql://u@h/d?sEcReT", "separator");
    expect_usage("postgresql://u:sEcReT@[::1/d", "IPv6");
    expect_usage("postgresql://u:sEcReT@[::1]x/d", "unexpected character");
    memset(long_url + 8, 'x', sizeof long_url - 9);
    expect_usage(long_url, "longer than");
}

/* What may be recorded: the same ledger, without secrets, from any directory. */
Test(ledger, public_urls, .init = setup, .fini = teardown)
{
    static const struct {
        const char *url, *public;
    } cases[] = {
        { "postgresql://u:pw@h:1/d", "postgresql://u@h:1/d" },
        { "postgres://u:p%40w@h,g/d?sslmode=require", "postgres://u@h,g/d?sslmode=require" },
        { "postgresql://u@h/d?password=x&sslmode=require&sslpassword=y",
          "postgresql://u@h/d?sslmode=require" },
        { "postgresql://h/d?connect_timeout=3&password=x", "postgresql://h/d?connect_timeout=3" },
        { "postgresql:///d?host=/run&user=u", "postgresql:///d?host=/run&user=u" },
        { "postgresql://u:p?w@h/d?password=", "postgresql://u@h/d" },
        { "postgresql://", "postgresql://" },
        { "sqlite:/x/y", "sqlite:/x/y" },
    };
    char public[CM_LEDGER_URL_MAX], small[12], want[200];

    for (size_t i = 0; i < CM_COUNT(cases); i++) {
        cr_expect_eq(cm_ledger_public(cases[i].url, public, sizeof public, &err), CM_OK, "%s", err.what);
        cr_expect_str_eq(public, cases[i].public);
        cr_expect_eq(cm_ledger_public(cases[i].public, small, 3, &err), CM_E_USAGE);
    }
    cr_assert_eq(chdir(base), 0);
    cr_expect_eq(cm_ledger_public("sqlite::memory:", public, sizeof public, &err), CM_OK, "%s", err.what);
    (void) snprintf(want, sizeof want, "sqlite:%s/:memory:", base);
    cr_expect_str_eq(public, want);
    cr_expect_eq(cm_ledger_public("postgresql://u@h/d?pass%77ord=sEcReT", public, sizeof public, &err),
                 CM_E_USAGE);
    cr_expect_null(strstr(err.what, "sEcReT"), "%s", err.what);
}

/* Names that mean something special to SQLite are files like others. */
Test(ledger, strange_names_are_files, .init = setup, .fini = teardown)
{
    static const char *const name[] = { ":memory:", "file:x?mode=memory", "a b?c#d%20" };
    struct cm_ledger *l = NULL;

    cr_assert_eq(chdir(base), 0);
    for (size_t i = 0; i < CM_COUNT(name); i++) {
        (void) snprintf(url, sizeof url, "sqlite:%s", name[i]);
        cr_expect_eq(cm_ledger_open(url, WAIT_MS, &l, &err), CM_OK, "%s", err.what);
        cm_ledger_close(l);
        cr_expect_eq(access(name[i], R_OK), 0, "%s", name[i]);
    }
}

Test(ledger, server_that_is_not_there)
{
    struct cm_ledger *l = NULL;

    cr_expect_eq(cm_ledger_open("postgresql://u:sEcReT@127.0.0.1:1/db", WAIT_MS, &l, &err), CM_E_DB);
    expect_words(IDS("postgresql://127.0.0.1:1/db", "refused"));
    cr_expect_null(strstr(err.what, "sEcReT"), "%s", err.what);
}
