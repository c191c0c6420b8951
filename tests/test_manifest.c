/* Goal: the manifest holds exactly the rows of synced commits, each commit ending on a multiple of 4096, and
 * its index finds them; after a failure nothing is left of the commit under way. Method: batches with made-up
 * rows and places; the file is read with jansson, the index by its own reader. */
#include "io/index.h"
#include "io/sinks.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static struct t_plant plant;
static struct t_place place;
static struct cm_places places;
static struct cm_minter *minter;
static struct cm_sink *sink;
static uint64_t next_seq;

static void setup(void)
{
    const struct t_plant_conf conf = { .devices = 3, .batches = 4 };
    struct cm_error err = { 0 };

    t_plant_open(&plant, &conf);
    t_place_open(&place);
    struct cm_sink_conf sinks = t_place_sinks(&place, &plant, CM_IO_POSIX);
    places = (struct cm_places) { .units = 0 };
    sinks.places = &places;
    cr_assert_eq(cm_minter_open(&plant.mint, &minter, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_sink_ndjson_ops.open(&sinks, &sink, &err), CM_OK, "%s", err.what);
    next_seq = 1;
}

static void teardown(void)
{
    sink->ops->close(sink);
    cm_minter_close(minter);
    t_place_close(&place);
    t_plant_close(&plant);
}

static cm_err put(unsigned batches, struct cm_error *err)
{
    cm_err rc = CM_OK;

    for (; batches > 0 && rc == CM_OK; batches--) {
        struct cm_batch *b = t_plant_batch(&plant, minter, next_seq, " \"ü\\");
        enum cm_put how = CM_PUT_PENDING;
        b->unit = (uint32_t) next_seq;
        b->chain_base = next_seq * 4096;
        b->key_base = next_seq * 8192;
        next_seq += b->count;
        rc = sink->ops->put(sink, b, &how, err);
        cr_expect(rc != CM_OK || how == CM_PUT_DONE);
        cm_pool_release(plant.pool, b);
    }
    return rc;
}

static void commit(unsigned batches)
{
    struct cm_error err = { 0 };

    cr_assert_eq(put(batches, &err), CM_OK, "%s", err.what);
    cr_assert_eq(sink->ops->sync(sink, &err), CM_OK, "%s", err.what);
    cr_assert_eq(sink->ops->settle(sink, &err), CM_OK, "%s", err.what);
}

static off_t size_of(const char *name)
{
    char path[200];
    struct stat st;

    (void) snprintf(path, sizeof path, "%s/%s", place.out, name);
    return stat(path, &st) == 0 ? st.st_size : -1;
}

/* Every row of the file: its number, id and place; and that the index leads to it. */
static void expect_rows(uint64_t rows, bool indexed)
{
    char path[200], *line = NULL, id[64], place_name[64];
    size_t cap = 0;
    uint64_t n = 0, at = 0, offset[CM_INDEX_FOUND_MAX];
    ssize_t len = 0;
    struct cm_index *index = NULL;
    struct cm_error err = { 0 };

    (void) snprintf(path, sizeof path, "%s/manifest.ndjson", place.out);
    cr_assert_eq(cm_index_open(place.out, (uint64_t) size_of("manifest.ndjson"), &index, &err), CM_OK, "%s",
                 err.what);
    cr_expect_eq(index != NULL, indexed);
    FILE *f = fopen(path, "r");
    cr_assert_not_null(f);
    while ((len = getline(&line, &cap, f)) > 0) {
        json_t *row = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        size_t count = 0;
        cr_assert(row != NULL && line[len - 1] == '\n', "%s", line);
        n++;
        const uint64_t batch = (n - 1) / 3 * 3 + 1;
        (void) snprintf(id, sizeof id, "SN%08llu \"ü\\", (unsigned long long) n);
        (void) snprintf(place_name, sizeof place_name, "chains/%06llu.tar", (unsigned long long) batch);
        cr_expect_eq((uint64_t) json_integer_value(json_object_get(row, "seq")), n);
        cr_expect_str_eq(json_string_value(json_object_get(row, "device_id")), id);
        const json_t *chain = json_object_get(row, "chain");
        cr_expect_str_eq(json_string_value(json_object_get(chain, "segment")), place_name);
        cr_expect_geq(json_integer_value(json_object_get(chain, "offset")),
                      (json_int_t) (batch * 4096 + 512));
        const char *cert_id = json_string_value(json_object_get(row, "certificate_id"));
        if (index != NULL) {
            cr_expect_eq(cm_index_find(index, CM_INDEX_DEVICE, cm_span_str(id), offset, &count, &err), CM_OK);
            cr_expect(count == 1 && offset[0] == at, "row %llu", (unsigned long long) n);
            cr_expect_eq(
                cm_index_find(index, CM_INDEX_CERTIFICATE, cm_span_str(cert_id), offset, &count, &err),
                CM_OK);
            cr_expect(count == 1 && offset[0] == at, "row %llu", (unsigned long long) n);
        }
        at += (uint64_t) len;
        json_decref(row);
    }
    cr_expect_eq(n, rows);
    cr_expect(index == NULL || cm_index_rows(index) == rows);
    cm_index_close(index);
    free(line);
    (void) fclose(f);
}

Test(manifest, rows_of_every_commit, .init = setup, .fini = teardown)
{
    struct cm_error err = { 0 };

    cr_assert_eq(put(2, &err), CM_OK);
    cr_expect_eq(size_of("manifest.ndjson"), 0, "not before the sync");
    cr_assert_eq(sink->ops->sync(sink, &err), CM_OK, "%s", err.what);
    const off_t first = size_of("manifest.ndjson");
    cr_expect(first > 0 && first % 4096 == 0);
    expect_rows(6, false);
    commit(1);
    commit(4);
    cr_expect_eq(size_of("manifest.ndjson") % 4096, 0);
    cr_expect_eq(size_of("index"), -1);
    cr_assert_eq(sink->ops->finish(sink, &err), CM_OK, "%s", err.what);
    cr_assert_eq(sink->ops->index(sink, &err), CM_OK, "%s", err.what);
    expect_rows(21, true);
    cr_expect_eq(size_of("index.part"), -1);
}

Test(manifest, rows_that_were_not_synced_are_gone, .init = setup, .fini = teardown)
{
    struct cm_error err = { 0 };

    commit(2);
    cr_assert_eq(put(1, &err), CM_OK);
    cr_assert_eq(sink->ops->finish(sink, &err), CM_OK, "%s", err.what);
    expect_rows(6, false);
    cr_expect_eq(size_of("manifest.ndjson") % 4096, 0);
}

Test(manifest, nothing_was_put, .init = setup, .fini = teardown)
{
    struct cm_error err = { 0 };

    cr_assert_eq(sink->ops->finish(sink, &err), CM_OK, "%s", err.what);
    cr_assert_eq(sink->ops->index(sink, &err), CM_OK, "%s", err.what);
    expect_rows(0, true);
}

/* At once, and after a part of it: 12288 lets one more block through. */
Test(manifest, a_write_that_fails, .timeout = 60)
{
    static const rlim_t limits[] = { 10000, 12288, 16384 };

    (void) signal(SIGXFSZ, SIG_IGN);
    for (size_t i = 0; i < CM_COUNT(limits); i++) {
        struct cm_error err = { 0 };
        struct rlimit old;
        setup();
        commit(1);
        cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &(struct rlimit) { limits[i], old.rlim_max }), 0);
        cr_assert_eq(put(4, &err), CM_OK);
        cr_expect_eq(sink->ops->sync(sink, &err), CM_E_IO);
        cr_expect_not_null(strstr(err.what, "ulimit -f"), "%s", err.what);
        cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
        cr_expect(limits[i] == 10000 || size_of("manifest.ndjson") == (off_t) limits[i],
                  "a part was written");
        cr_assert_eq(sink->ops->finish(sink, &err), CM_OK, "%s", err.what);
        expect_rows(3, false);
        teardown();
    }
}

/* Its rows are durable, and the journal could not take its record. */
Test(manifest, a_commit_that_is_not_on_record, .init = setup, .fini = teardown)
{
    struct cm_error err = { 0 };

    commit(1);
    const uint64_t committed = places.manifest_bytes;
    cr_assert_eq(put(2, &err), CM_OK);
    cr_assert_eq(sink->ops->sync(sink, &err), CM_OK, "%s", err.what);
    cr_assert_gt(places.manifest_bytes, committed);
    cr_assert_eq(sink->ops->finish(sink, &err), CM_OK, "%s", err.what);
    expect_rows(3, false);
    cr_expect_eq(places.manifest_bytes, committed, "run.json would tell of rows that are gone");
}

Test(manifest, more_rows_than_there_is_room_for, .init = setup, .fini = teardown)
{
    struct cm_sink_conf sinks = t_place_sinks(&place, &plant, CM_IO_POSIX);
    struct cm_error err = { 0 };

    sink->ops->close(sink);
    cr_assert_eq(unlinkat(place.dir.fd, "manifest.ndjson", 0), 0);
    sinks.rows_max = 8192;
    cr_assert_eq(cm_sink_ndjson_ops.open(&sinks, &sink, &err), CM_OK, "%s", err.what);
    commit(1);
    cr_expect_eq(put(4, &err), CM_E_NOSPACE);
    cr_assert_eq(sink->ops->finish(sink, &err), CM_OK, "%s", err.what);
    expect_rows(3, false);
}

Test(manifest, an_old_one_is_not_written_over, .init = setup, .fini = teardown)
{
    const struct cm_sink_conf sinks = t_place_sinks(&place, &plant, CM_IO_POSIX);
    struct cm_sink *second = NULL;
    struct cm_error err = { 0 };

    cr_expect_eq(cm_sink_ndjson_ops.open(&sinks, &second, &err), CM_E_IO);
    cr_expect_not_null(strstr(err.what, "File exists"), "%s", err.what);
    cr_expect_null(second);
}
