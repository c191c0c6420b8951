/* Goal: every row is found by both of its ids, nothing else is, and damage is noticed by whoever meets it.
 * Method: indexes of sizes around a page, all looked up; then with octets turned over; then rebuilt from a
 * manifest. */
#include "io/index.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/cm-index-XXXXXX";

static void path_of(const char *name, char out[64])
{
    (void) snprintf(out, 64, "%s/%s", dir, name);
}

static void setup(void)
{
    cr_assert_not_null(mkdtemp(dir));
}

static void teardown(void)
{
    static const char *const known[] = { "index", "manifest.ndjson" };
    char path[64];

    for (size_t i = 0; i < CM_COUNT(known); i++) {
        path_of(known[i], path);
        (void) unlink(path);
    }
    cr_expect_eq(rmdir(dir), 0, "something was left in %s", dir);
}

TestSuite(index, .init = setup, .fini = teardown, .timeout = 60);

static void ids_of(uint64_t row, char device[32], char certificate[65])
{
    (void) snprintf(device, 32, "SN%08llu", (unsigned long long) row);
    (void) snprintf(certificate, 65, "%064llx", (unsigned long long) (row * 2654435761u));
}

static uint64_t offset_of(uint64_t row)
{
    return row * 1213;
}

static void build(uint64_t rows)
{
    struct cm_index_builder *b = NULL;
    struct cm_error err = { 0 };
    char device[32], certificate[65];

    cr_assert_eq(cm_index_builder_open(dir, &b, &err), CM_OK, "%s", err.what);
    for (uint64_t i = 0; i < rows; i++) {
        ids_of(i, device, certificate);
        cr_assert_eq(
            cm_index_builder_push(b, cm_span_str(device), cm_span_str(certificate), offset_of(i), &err),
            CM_OK, "%s", err.what);
    }
    cr_assert_eq(cm_index_builder_finish(b, offset_of(rows), &err), CM_OK, "%s", err.what);
    cm_index_builder_close(b);
}

/* Looks one id up: CM_OK only when the answer is the row, CM_E_END when there was none. */
static cm_err look_up(const struct cm_index *x, enum cm_index_key key, const char *id, uint64_t expected)
{
    uint64_t offset[CM_INDEX_FOUND_MAX];
    struct cm_error err = { 0 };
    size_t count = 0;

    const cm_err rc = cm_index_find(x, key, cm_span_str(id), offset, &count, &err);
    if (rc != CM_OK)
        return rc;
    cr_expect_leq(count, 1, "no two hashes are the same here");
    if (count == 0)
        return CM_E_END;
    cr_expect_eq(offset[0], expected, "%s", id);
    return CM_OK;
}

static void expect_all(const struct cm_index *x, uint64_t rows, uint64_t step)
{
    char device[32], certificate[65];

    for (uint64_t i = 0; i < rows; i += step) {
        ids_of(i, device, certificate);
        cr_assert_eq(look_up(x, CM_INDEX_DEVICE, device, offset_of(i)), CM_OK, "%s", device);
        cr_assert_eq(look_up(x, CM_INDEX_CERTIFICATE, certificate, offset_of(i)), CM_OK, "%s", certificate);
        cr_expect_eq(look_up(x, CM_INDEX_CERTIFICATE, device, 0), CM_E_END, "the tables are apart");
    }
    cr_expect_eq(look_up(x, CM_INDEX_DEVICE, "SN", 0), CM_E_END);
    cr_expect_eq(look_up(x, CM_INDEX_DEVICE, "", 0), CM_E_END);
}

ParameterizedTestParameters(index, finds_every_row)
{
    static uint64_t rows[] = { 0, 1, 2, 254, 255, 256, 510, 511, 5000, 300000 };

    return cr_make_param_array(uint64_t, rows, CM_COUNT(rows));
}

ParameterizedTest(uint64_t *rows, index, finds_every_row)
{
    struct cm_index *x = NULL;
    struct cm_error err = { 0 };
    char path[64];

    build(*rows);
    cr_assert_eq(cm_index_open(dir, offset_of(*rows), &x, &err), CM_OK, "%s", err.what);
    cr_assert_not_null(x);
    cr_expect_eq(cm_index_rows(x), *rows);
    expect_all(x, *rows, *rows > 10000 ? 37 : 1);
    cm_index_close(x);
    path_of("index.part", path);
    cr_expect_neq(access(path, F_OK), 0, "index.part is left");
}

Test(index, is_not_there_or_stale)
{
    struct cm_index *x = NULL;
    struct cm_error err = { 0 };

    cr_expect_eq(cm_index_open(dir, 0, &x, &err), CM_OK);
    cr_expect_null(x);
    build(10);
    cr_expect_eq(cm_index_open(dir, offset_of(10) + 1, &x, &err), CM_OK);
    cr_expect_null(x);
    cr_expect_eq(cm_index_open(dir, offset_of(10), &x, &err), CM_OK);
    cr_expect_not_null(x);
    cm_index_close(x);
    cm_index_close(NULL);
}

/* A builder that is given up leaves an older index alone. */
Test(index, unfinished_leaves_nothing)
{
    struct cm_index_builder *b = NULL;
    struct cm_index *x = NULL;
    struct cm_error err = { 0 };

    build(10);
    cr_assert_eq(cm_index_builder_open(dir, &b, &err), CM_OK);
    cr_assert_eq(cm_index_builder_push(b, cm_span_str("a"), cm_span_str("b"), 7, &err), CM_OK);
    cm_index_builder_close(b);
    cr_expect_eq(cm_index_open(dir, offset_of(10), &x, &err), CM_OK);
    cr_expect_not_null(x);
    cm_index_close(x);
}

/* Equal hashes, here of equal ids, run over a page's end: the last ones are given, in order. */
Test(index, gives_all_candidates)
{
    struct cm_index_builder *b = NULL;
    struct cm_index *x = NULL;
    struct cm_error err = { 0 };
    uint64_t offset[CM_INDEX_FOUND_MAX];
    size_t count = 0;

    cr_assert_eq(cm_index_builder_open(dir, &b, &err), CM_OK);
    for (uint64_t i = 0; i < 700; i++)
        cr_assert_eq(
            cm_index_builder_push(b, cm_span_str(i % 2 ? "one" : "two"), cm_span_str("c"), 699 - i, &err),
            CM_OK);
    cr_assert_eq(cm_index_builder_finish(b, 700, &err), CM_OK, "%s", err.what);
    cm_index_builder_close(b);
    cr_assert_eq(cm_index_open(dir, 700, &x, &err), CM_OK);
    cr_assert_not_null(x);
    cr_expect_eq(cm_index_find(x, CM_INDEX_DEVICE, cm_span_str("two"), offset, &count, &err), CM_OK);
    cr_expect_eq(count, CM_INDEX_FOUND_MAX);
    for (size_t i = 0; i < count; i++)
        cr_expect_eq(offset[i], 2 * (350 - CM_INDEX_FOUND_MAX + i) + 1);
    cm_index_close(x);
}

static void flip(int fd, off_t at)
{
    uint8_t octet = 0;

    cr_assert_eq(pread(fd, &octet, 1, at), 1);
    octet ^= 0x20;
    cr_assert_eq(pwrite(fd, &octet, 1, at), 1);
}

/* Wherever an octet is wrong, a look-up gives the right answer or a failure, never
 * another row and never "no such row". */
Test(index, damage_is_noticed)
{
    enum { ROWS = 600 };
    struct stat st;
    char path[64], device[32], certificate[65];
    size_t failed = 0;

    build(ROWS);
    path_of("index", path);
    const int fd = open(path, O_RDWR | O_CLOEXEC);
    cr_assert(fd >= 0 && fstat(fd, &st) == 0);
    for (off_t at = 0; at < st.st_size; at += 97) {
        struct cm_index *x = NULL;
        struct cm_error err = { 0 };
        flip(fd, at);
        cm_err rc = cm_index_open(dir, offset_of(ROWS), &x, &err);
        cr_expect(rc == CM_E_INPUT || x != NULL, "octet %lld", (long long) at);
        failed += rc == CM_E_INPUT;
        for (uint64_t i = 0; x != NULL && i < ROWS; i += 13) {
            ids_of(i, device, certificate);
            rc = look_up(x, i % 2 ? CM_INDEX_DEVICE : CM_INDEX_CERTIFICATE, i % 2 ? device : certificate,
                         offset_of(i));
            cr_expect(rc == CM_OK || rc == CM_E_INPUT, "octet %lld: %x", (long long) at, rc);
            failed += rc == CM_E_INPUT;
        }
        cm_index_close(x);
        flip(fd, at);
    }
    (void) close(fd);
    cr_expect_gt(failed, 0);
}

Test(index, refuses_other_lengths)
{
    struct cm_index *x = NULL;
    struct cm_error err = { 0 };
    char path[64];

    build(600);
    path_of("index", path);
    cr_assert_eq(truncate(path, 4096 * 6), 0);
    cr_expect_eq(cm_index_open(dir, offset_of(600), &x, &err), CM_E_INPUT);
    cr_assert_eq(truncate(path, 100), 0);
    cr_expect_eq(cm_index_open(dir, offset_of(600), &x, &err), CM_E_INPUT);
    cr_expect_null(x);
}

/* Rows in the format's order, as the minter writes them, among lines that are none. */
Test(index, is_rebuilt_from_the_manifest)
{
    char path[64], device[32], certificate[65];
    struct cm_index *x = NULL;
    struct cm_error err = { 0 };
    uint64_t at[3] = { 0 };

    path_of("manifest.ndjson", path);
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    (void) fputs("no row\n\n", f);
    for (uint64_t i = 0; i < 3; i++) {
        ids_of(i, device, certificate);
        at[i] = (uint64_t) ftell(f);
        (void) fprintf(f, "{\"run_id\":\"x\",\"seq\":1,\"device_id\":\"%s\",\"certificate_id\":\"%s\"}%*s\n",
                       device, certificate, (int) i, "");
    }
    (void) fputs("{\"run_id\":\"x\",\"seq\":1,\"device_id\":\"torn", f);
    const uint64_t bytes = (uint64_t) ftell(f);
    cr_assert_eq(fclose(f), 0);
    cr_assert_eq(cm_index_rebuild(dir, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_index_open(dir, bytes, &x, &err), CM_OK, "%s", err.what);
    cr_assert_not_null(x);
    cr_expect_eq(cm_index_rows(x), 3);
    for (uint64_t i = 0; i < 3; i++) {
        ids_of(i, device, certificate);
        cr_expect_eq(look_up(x, CM_INDEX_DEVICE, device, at[i]), CM_OK);
        cr_expect_eq(look_up(x, CM_INDEX_CERTIFICATE, certificate, at[i]), CM_OK);
    }
    cm_index_close(x);
}
