/* Goal: what goes into the external sort comes out again, all of it and in memcmp order, whether it fits in
 * memory, needs many runs, or more runs than the table holds; and nothing stays on disk. Method: random
 * records from a printed seed, few distinct values among them, against a checksum of the multiset and the
 * order itself. */
#include "engine/bytes.h"
#include "engine/xxh.h"
#include "io/extsort.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <dirent.h>
#include <unistd.h>

struct load {
    size_t record_len, memory, count;
    uint64_t values; /* how many different ones there are; 0: any */
};

static char dir[] = "/tmp/cm-extsort-XXXXXX";

static void setup(void)
{
    cr_assert_not_null(mkdtemp(dir));
}

static void teardown(void)
{
    cr_expect_eq(rmdir(dir), 0, "something was left in %s", dir);
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 16;
}

static void make_record(uint8_t *record, const struct load *load, uint64_t *state)
{
    uint64_t value = next_random(state);

    if (load->values != 0)
        value %= load->values;
    for (size_t i = 0; i < load->record_len; i++)
        record[i] = (uint8_t) (value >> (8 * (i % 6)));
}

/* A sum over the records that does not depend on their order. */
static uint64_t sum_of(const uint8_t *record, size_t len)
{
    return cm_xxh64(record, len);
}

static void sort_and_compare(const struct load *load, uint64_t seed)
{
    uint8_t record[CM_EXTSORT_RECORD_MAX], before[CM_EXTSORT_RECORD_MAX] = { 0 };
    uint64_t state = seed, in = 0, out = 0;
    struct cm_extsort *s = NULL;
    struct cm_error err = { 0 };
    const uint8_t *got = NULL;
    size_t count = 0;
    cm_err rc = CM_OK;

    cr_assert_eq(cm_extsort_open(dir, load->record_len, load->memory, &s, &err), CM_OK, "%s", err.what);
    for (size_t i = 0; i < load->count; i++) {
        make_record(record, load, &state);
        in += sum_of(record, load->record_len);
        cr_assert_eq(cm_extsort_push(s, record, &err), CM_OK, "%s", err.what);
    }
    while ((rc = cm_extsort_pop(s, &got, &err)) == CM_OK) {
        cr_assert_leq(memcmp(before, got, load->record_len), 0, "record %zu is below its predecessor", count);
        memcpy(before, got, load->record_len);
        out += sum_of(got, load->record_len);
        count++;
    }
    cr_expect_eq(rc, CM_E_END, "%s", err.what);
    cr_expect_eq(cm_extsort_pop(s, &got, &err), CM_E_END, "the end stays the end");
    cr_expect_eq(count, load->count);
    cr_expect_eq(in, out, "other records came out than went in");
    cm_extsort_close(s);
}

ParameterizedTestParameters(extsort, gives_back_everything_in_order)
{
    static struct load loads[] = {
        { 17, CM_EXTSORT_MEMORY_MIN, 0, 0 },
        { 17, CM_EXTSORT_MEMORY_MIN, 1, 0 },
        { 1, CM_EXTSORT_MEMORY_MIN, 300000, 0 },
        { 17, CM_EXTSORT_MEMORY_MIN, 65536 / 17, 0 },     /* just fits */
        { 17, CM_EXTSORT_MEMORY_MIN, 65536 / 17 + 1, 0 }, /* just does not */
        { 25, CM_EXTSORT_MEMORY_MIN, 100000, 7 },         /* nearly all equal */
        { 25, CM_EXTSORT_MEMORY_MIN, 100000, 1 },
        { 29, CM_EXTSORT_MEMORY, 500000, 0 },
        { 64, CM_EXTSORT_MEMORY_MIN, 700000, 0 }, /* 683 runs, of which the table holds 512 */
        { 64, CM_EXTSORT_MEMORY_MIN, 512 * 1024, 0 },
        { 64, CM_EXTSORT_MEMORY_MIN, 512 * 1024 + 1, 1000 },
    };

    return cr_make_param_array(struct load, loads, CM_COUNT(loads));
}

ParameterizedTest(struct load *load, extsort, gives_back_everything_in_order, .init = setup, .fini = teardown,
                  .timeout = 120)
{
    const uint64_t seed = (uint64_t) getpid();

    cr_log_info("seed %llu", (unsigned long long) seed);
    sort_and_compare(load, seed);
}

/* Goal: the temporary file has no name while it is there. Method: look into the directory after a spill. */
Test(extsort, file_has_no_name, .init = setup, .fini = teardown)
{
    struct cm_extsort *s = NULL;
    struct cm_error err = { 0 };
    const struct dirent *e = NULL;
    uint8_t record[64] = { 0 };

    cr_assert_eq(cm_extsort_open(dir, sizeof record, CM_EXTSORT_MEMORY_MIN, &s, &err), CM_OK);
    for (int i = 0; i < 5000; i++)
        cr_assert_eq(cm_extsort_push(s, record, &err), CM_OK, "%s", err.what);
    DIR *d = opendir(dir);
    cr_assert_not_null(d);
    while ((e = readdir(d)) != NULL)
        cr_expect(e->d_name[0] == '.' && e->d_name[1 + (e->d_name[1] == '.')] == '\0', "%s", e->d_name);
    (void) closedir(d);
    cm_extsort_close(s);
}

/* Goal: a directory that can't take the file is a failure that names it, and close is still right after it.
 */
Test(extsort, no_directory)
{
    struct cm_extsort *s = NULL;
    struct cm_error err = { 0 };
    uint8_t record[64] = { 0 };
    cm_err rc = CM_OK;

    cr_assert_eq(cm_extsort_open("/nowhere/at/all", sizeof record, CM_EXTSORT_MEMORY_MIN, &s, &err), CM_OK);
    for (int i = 0; i < 5000 && rc == CM_OK; i++)
        rc = cm_extsort_push(s, record, &err);
    cr_expect_eq(rc, CM_E_IO);
    cr_expect_not_null(strstr(err.what, "/nowhere/at/all"), "%s", err.what);
    cm_extsort_close(s);
    cm_extsort_close(NULL);
}
