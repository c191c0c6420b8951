/* Goal: rows with columns come out as they stand in the list, numbered without a gap; what can't be used is
 * told at once, in the order of the file, and ends the run or is left out of every reading alike; a change
 * between two readings ends the run. Method: lists with known faults, read to the end in small batches. */
#include "engine/ident.h"
#include "tests/t_list.h"
#include "tests/t_oracle.h"

#include <criterion/criterion.h>

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
                                          .hasher = &t_list_hasher,
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

static const char told_of_rows[] = "3[..,2] device id \"..\" can't be used: it holds \"\n"
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

Test(source_list, rows_that_are_left_out, .init = t_list_setup, .fini = t_list_teardown)
{
    struct told told = { .count = 0 };
    const struct cm_source_list_conf conf = judged(true, &told);
    struct cm_source *s = NULL;
    struct cm_error err = { 0 };
    struct cm_ranges done = { 0 };
    struct cm_values first;
    char all[256], ids[256] = "";

    t_list_write(rows, sizeof rows - 1);
    cr_assert_eq(t_list_open(CM_LIST_CSV, &conf, &s, &err), CM_OK, "%s", err.what);
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
    cr_assert_eq(t_list_open(CM_LIST_CSV, &conf, &s, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_ranges_add(&done, 1, 2, NULL), CM_OK);
    s->done = &done;
    cr_expect_eq(read_values(s, all, sizeof all, &err), CM_E_END, "%s", err.what);
    cr_expect_str_eq(all, "3:b(6)4:e(7)");
    s->ops->close(s);
    cm_ranges_close(&done);
}

Test(source_list, rows_that_end_the_run, .init = t_list_setup, .fini = t_list_teardown)
{
    struct told told = { .count = 0 };
    struct cm_source_list_conf conf = judged(false, &told);
    struct cm_source *s = NULL;
    struct cm_error err = { 0 };

    t_list_write(rows, sizeof rows - 1);
    cr_expect_eq(t_list_open(CM_LIST_CSV, &conf, &s, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "5 rows can't be used; mend them"), "%s", err.what);
    cr_expect_str_eq(told.text, told_of_rows, "all of them at once");
    t_list_write(T_LIT("id,b\na,x\nb,x\n"));
    conf.skip = true;
    cr_expect_eq(t_list_open(CM_LIST_CSV, &conf, &s, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "none of its 2 rows can be used"), "%s", err.what);
    t_list_write(T_LIT("id,b\na,1\nb,fatal\nc,x\n"));
    cr_expect_eq(t_list_open(CM_LIST_CSV, &conf, &s, &err), CM_E_NOMEM, "not the row's fault");
    t_list_write(T_LIT("id,b\n"));
    cr_expect_eq(t_list_open(CM_LIST_CSV, &conf, &s, &err), CM_E_INPUT);
    cr_expect_not_null(strstr(err.what, "holds no device id"), "%s", err.what);
}

/* The first 20 are told, all are counted; where there are too many, the rest is not looked at. */
Test(source_list, a_flood_of_faults, .init = t_list_setup, .fini = t_list_teardown, .timeout = 60)
{
    struct told told = { .count = 0 };
    struct cm_source_list_conf conf = judged(false, &told);
    struct cm_source *s = NULL;
    struct cm_error err = { 0 };

    for (unsigned n = CM_LIST_REFUSED_MAX; n <= CM_LIST_REFUSED_MAX + 1; n++) {
        FILE *f = fopen(t_list_path, "w");
        (void) fprintf(f, "id,b\n");
        for (unsigned i = 0; i < n; i++)
            (void) fprintf(f, "%s\n", i % 2 == 0 ? "same,1" : "ragged");
        (void) fprintf(f, "%s\n", n % 2 == 0 ? "fine,2" : "same,2");
        cr_assert_eq(fclose(f), 0);
        told = (struct told) { .count = 0 };
        cr_expect_eq(t_list_open(CM_LIST_CSV, &conf, &s, &err), CM_E_INPUT);
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

Test(source_list, changed_columns_end_the_run, .init = t_list_setup, .fini = t_list_teardown)
{
    for (size_t i = 0; i < CM_COUNT(column_changes); i++) {
        struct told told = { .count = 0 };
        const struct cm_source_list_conf conf = judged(true, &told);
        struct cm_source *s = NULL;
        struct cm_error err = { 0 };
        char all[256];
        t_list_write(column_changes[i].before, strlen(column_changes[i].before));
        cr_assert_eq(t_list_open(CM_LIST_CSV, &conf, &s, &err), CM_OK, "%s", err.what);
        t_list_write(column_changes[i].after, strlen(column_changes[i].after)); /* the same inode */
        cr_expect_eq(read_values(s, all, sizeof all, &err), CM_E_INPUT, "%s", column_changes[i].what);
        cr_expect_not_null(strstr(err.what, "changed during the run"), "%s: %s", column_changes[i].what,
                           err.what);
        s->ops->close(s);
    }
}
