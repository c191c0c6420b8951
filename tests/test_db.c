/* Goal: a database takes rows once, whole or not at all, and says what it can't take. Method: the calls of
 * db.h on SQLite files, in every order that the contract allows; the file is looked at by SQLite itself.
 * (e2e_db.py has PostgreSQL.) */
#include "io/db_schema.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <sys/stat.h>

#define RUN_A "00000000-0000-4000-8000-00000000000a"
#define RUN_B "00000000-0000-4000-8000-00000000000b"
#define CA "ca"

static struct t_place place;
static char path[200], url[220];
static struct cm_error err;
static bool away;

static const struct cm_db_wait a_moment = { .ms = 200 };

static void setup(void)
{
    t_place_open(&place);
    (void) snprintf(path, sizeof path, "%s/devices.db", place.base);
    (void) snprintf(url, sizeof url, "sqlite:%s", path);
}

static void teardown(void)
{
    t_place_close(&place);
}

static struct cm_db *open_db(void)
{
    struct cm_db *d = NULL;

    cr_assert_eq(cm_db_open(url, "--to", &a_moment, &d, &away, &err), CM_OK, "%s", err.what);
    return d;
}

/* The first column of the first row; -1: there is none, or it can't be asked. */
static int64_t ask(const char *sql)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int64_t out = -1;

    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) == SQLITE_OK && sqlite3_step(stmt) == SQLITE_ROW)
        out = sqlite3_column_int64(stmt, 0);
    (void) sqlite3_finalize(stmt);
    (void) sqlite3_close(db);
    return out;
}

static void enter(struct cm_db *d, const char *run)
{
    const struct cm_db_run entry = { .run_id = run,
                                     .ca_certificate_id = CA,
                                     .created_at = "2026-01-01T00:00:00Z",
                                     .engine = "e",
                                     .libcrypto = "l",
                                     .requested = 9,
                                     .directory = "/x",
                                     .request = "{}",
                                     .chain_pem = "pem",
                                     .chain_sha256 = "sha" };

    cr_assert_eq(cm_db_enter(d, &entry, &err), CM_OK, "%s", err.what);
}

/* The device number seq of a run, whose certificate has this id. */
static cm_err put(struct cm_db *d, const char *run, int64_t seq, const char *id, const char *certificate_id)
{
    const struct cm_span text = cm_span_str("t");
    struct cm_db_row row = { .certificate = cm_span("\x30\x00", 2) };

    for (size_t i = 0; i < CM_DB_COLUMNS; i++) {
        char *at = (char *) &row + cm_db_columns[i].offset;
        if (cm_db_columns[i].type == CM_DB_INT8 || cm_db_columns[i].type == CM_DB_INT4)
            memcpy(at, &(int64_t) { -1 }, sizeof(int64_t));
        else if (cm_db_columns[i].type != CM_DB_BLOB)
            memcpy(at, &text, sizeof text);
    }
    row.row.seq = seq;
    row.row.chain_length = 5;
    row.row.run_id = cm_span_str(run);
    row.row.ca_certificate_id = cm_span_str(CA);
    row.row.device_id = cm_span_str(id);
    row.row.certificate_id = cm_span_str(certificate_id);
    row.row.lot = cm_span(NULL, 0);
    return cm_db_put(d, &row, &err);
}

static void begin(struct cm_db *d, uint64_t bytes, uint64_t rows)
{
    struct cm_db_cursor at = { 99, 99 };

    cr_assert_eq(cm_db_begin(d, &at, &err), CM_OK, "%s", err.what);
    cr_expect(at.manifest_bytes == bytes && at.rows == rows, "%llu, %llu",
              (unsigned long long) at.manifest_bytes, (unsigned long long) at.rows);
}

static cm_err commit(struct cm_db *d, uint64_t bytes, uint64_t rows)
{
    const struct cm_db_cursor to = { bytes, rows };

    return cm_db_commit(d, &to, &err);
}

Test(db, rows_and_cursor_are_one, .init = setup, .fini = teardown)
{
    struct cm_db *d = open_db();
    struct stat st;

    cr_expect(cm_db_is_new(d));
    cr_expect(stat(path, &st) == 0 && (st.st_mode & 07777) == 0600);
    enter(d, RUN_A);
    begin(d, 0, 0);
    cr_assert_eq(put(d, RUN_A, 1, "one", "c1"), CM_OK, "%s", err.what);
    cm_db_rollback(d);
    cr_expect_eq(ask("SELECT count(*) FROM device"), 0, "rolled back");
    begin(d, 0, 0);
    cr_assert_eq(put(d, RUN_A, 1, "one", "c1"), CM_OK, "%s", err.what);
    cr_assert_eq(put(d, RUN_A, 2, "two", "c2"), CM_OK, "%s", err.what);
    cr_assert_eq(commit(d, 100, 2), CM_OK, "%s", err.what);
    begin(d, 100, 2);
    cr_assert_eq(put(d, RUN_A, 3, "three", "c3"), CM_OK, "%s", err.what);
    cm_db_close(d); /* undoes what was not committed */
    cr_expect_eq(ask("SELECT count(*) FROM device"), 2);
    cr_expect_eq(
        ask("SELECT count(*) FROM device WHERE lot IS NULL AND key_length IS NULL AND state = 'unused'"), 2);
    d = open_db();
    cr_expect_not(cm_db_is_new(d));
    enter(d, RUN_A);
    begin(d, 100, 2);
    cr_assert_eq(put(d, RUN_A, 3, "three", "c3"), CM_OK, "%s", err.what);
    cr_assert_eq(commit(d, 150, 3), CM_OK, "%s", err.what);
    cm_db_close(d);
    cr_expect_eq(ask("SELECT count(*) FROM batch WHERE run_no = 1"), 2);
    cr_expect_eq(ask("SELECT devices FROM batch WHERE first_byte = 100 AND end_byte = 150"), 1);
    cm_db_close(NULL);
}

/* A second run has the indexes made, and doubles are refused from then on. */
Test(db, indexes_keep_runs_apart, .init = setup, .fini = teardown)
{
    struct cm_db *d = open_db();
    const struct cm_span ids[] = { cm_span_str("other"), cm_span_str("one") };
    uint64_t from = 7;
    bool others = true;

    cr_assert_eq(cm_db_has_others(d, RUN_A, CA, &others, &from, &err), CM_OK);
    cr_expect(!others && from == 0);
    enter(d, RUN_A);
    begin(d, 0, 0);
    cr_assert_eq(put(d, RUN_A, 1, "one", "c1"), CM_OK, "%s", err.what);
    cr_assert_eq(commit(d, 100, 1), CM_OK, "%s", err.what);
    cr_expect_eq(ask("SELECT indexed FROM certmill_schema"), 0);
    cr_assert_eq(cm_db_has_others(d, RUN_B, CA, &others, &from, &err), CM_OK);
    cr_expect(others && from == 0);
    cr_assert_eq(cm_db_has_others(d, RUN_B, "another CA", &others, &from, &err), CM_OK);
    cr_expect_not(others);
    cr_expect_eq(cm_db_taken(d, RUN_B, CA, ids, 1, &err), CM_OK);
    cr_expect_eq(cm_db_taken(d, RUN_B, CA, ids, 2, &err), CM_E_INPUT);
    cr_expect(strstr(err.what, "device id one ") != NULL && strstr(err.what, RUN_A) != NULL, "%s", err.what);
    cr_expect_eq(cm_db_taken(d, RUN_A, CA, ids, 2, &err), CM_OK, "they are its own");
    cr_expect_eq(cm_db_taken(d, RUN_B, "another CA", ids, 2, &err), CM_OK);
    enter(d, RUN_B);
    cr_expect_eq(ask("SELECT indexed FROM certmill_schema"), 1);
    begin(d, 0, 0);
    cr_expect_eq(put(d, RUN_B, 1, "one", "c9"), CM_E_DB, "the id is taken");
    cr_expect_not(cm_db_is_away(d), "waiting does not help");
    cm_db_rollback(d);
    begin(d, 0, 0);
    cr_expect_eq(put(d, RUN_B, 1, "b1", "c1"), CM_E_DB, "the certificate is there");
    cm_db_rollback(d);
    cr_expect_eq(cm_db_index(d, &err), CM_OK, "%s", err.what);
    cm_db_close(d);
    cr_expect_eq(ask("SELECT count(*) FROM device"), 1);
}

Test(db, successors_take_the_place, .init = setup, .fini = teardown)
{
    struct cm_db *d = open_db();
    struct cm_db_successor next[] = { { 1, "n1" }, { 2, "n2" } };

    enter(d, RUN_A);
    begin(d, 0, 0);
    cr_assert_eq(put(d, RUN_A, 1, "one", "c1"), CM_OK, "%s", err.what);
    cr_assert_eq(commit(d, 100, 1), CM_OK, "%s", err.what);
    cr_assert_eq(cm_db_index(d, &err), CM_OK, "%s", err.what);
    begin(d, 100, 1);
    cr_expect_eq(cm_db_supersede(d, next, 2, &err), CM_E_INPUT, "one of them is not there");
    cr_expect(strstr(err.what, "somebody removed rows") != NULL, "%s", err.what);
    cm_db_rollback(d);
    begin(d, 100, 1);
    cr_expect_eq(put(d, RUN_A, 1, "one", "n1"), CM_E_DB, "two in force");
    cm_db_rollback(d);
    begin(d, 100, 1);
    cr_assert_eq(cm_db_supersede(d, next, 1, &err), CM_OK, "%s", err.what);
    cr_assert_eq(put(d, RUN_A, 1, "one", "n1"), CM_OK, "%s", err.what);
    cr_assert_eq(commit(d, 200, 2), CM_OK, "%s", err.what);
    cm_db_close(d);
    cr_expect_eq(ask("SELECT count(*) FROM device WHERE certificate_id = 'c1' AND superseded_by = 'n1'"
                     " AND state = 'scrapped'"),
                 1);
    cr_expect_eq(ask("SELECT count(*) FROM next_unused WHERE certificate_id = 'n1'"), 1);
}

/* Somebody else's lock may pass; a database that is not one, or damaged, does not. */
Test(db, what_stands_in_the_way, .init = setup, .fini = teardown)
{
    struct cm_db *d = open_db();
    struct cm_db_cursor at;
    sqlite3 *db = NULL;

    enter(d, RUN_A);
    cr_assert_eq(sqlite3_open(path, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    cr_expect_eq(cm_db_begin(d, &at, &err), CM_E_DB);
    cm_db_rollback(d);
    cr_expect(cm_db_is_away(d));
    (void) sqlite3_close(db);
    begin(d, 0, 0);
    cr_expect_not(cm_db_is_away(d));
    cm_db_close(d);
    FILE *f = fopen(path, "r+");
    cr_assert(f != NULL && fputs("this is no database", f) >= 0 && fclose(f) == 0);
    cr_expect_eq(cm_db_open(url, "--to", &a_moment, &d, &away, &err), CM_E_DB);
    cr_expect(strstr(err.what, "not a database") != NULL && strstr(err.what, "restore") != NULL, "%s",
              err.what);
    cr_expect_eq(cm_db_open("sqlite:", "--to", &a_moment, &d, &away, &err), CM_E_USAGE);
    cr_expect_eq(strncmp(err.what, "--to ", 5), 0, "%s", err.what);
    cr_expect_eq(cm_db_open("sqlite:/nowhere/at/all", "--to", &a_moment, &d, &away, &err), CM_E_IO);
}

/* The columns that a load fills are those of the table, each once. */
Test(db, columns_are_the_tables, .init = setup, .fini = teardown)
{
    char sql[200];

    cm_db_close(open_db());
    for (size_t i = 0; i < CM_DB_COLUMNS; i++) {
        (void) snprintf(sql, sizeof sql, "SELECT count(*) FROM pragma_table_info('device') WHERE name = '%s'",
                        cm_db_columns[i].name);
        cr_expect_eq(ask(sql), 1, "%s", cm_db_columns[i].name);
        for (size_t j = 0; j < i; j++)
            cr_expect_neq(cm_db_columns[i].offset, cm_db_columns[j].offset);
    }
    cr_expect_eq(ask("SELECT count(*) FROM sqlite_master WHERE name IN " CM_DB_NAMES), CM_DB_NAMES_COUNT);
}

/* What a load takes depends on it: the pages of a new file, the columns that indexes look at in front, the
 * indexes that only claims fill made before the rows. */
Test(db, a_new_file_is_laid_out_for_loads, .init = setup, .fini = teardown)
{
    cm_db_close(open_db());
    cr_expect_eq(ask("SELECT page_size FROM pragma_page_size"), 16384);
    cr_expect_leq(ask("SELECT max(cid) FROM pragma_table_info('device') WHERE name IN ('run_no', 'seq',"
                      " 'device_id', 'certificate_id', 'ca_certificate_id', 'superseded_by', 'state',"
                      " 'lot', 'sku', 'order_name')"),
                  9);
    cr_expect_eq(ask("SELECT count(*) FROM sqlite_master WHERE type = 'index'"
                     " AND name IN ('device_request', 'device_lease')"),
                 2);
}
