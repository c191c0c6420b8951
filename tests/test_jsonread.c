/* Goal: whichever allocation fails while JSON is read, the reader says that memory ran out, leaks nothing (a
 * sanitizer tells) and reads the same text right afterwards. Method: texts that take jansson's buffers and
 * tables through every size; its n-th allocation fails, for each n, until none does; once alone and once in
 * threads that read side by side. */
#include "io/jsonread.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

static _Thread_local long allocations_left = LONG_MAX;

static void *failing_malloc(size_t n)
{
    return allocations_left-- > 0 ? malloc(n) : NULL;
}

static struct cm_span span_of(const char *text)
{
    return cm_span(text, strlen(text));
}

/* How often it failed before it got through. */
static long starve(struct cm_span text)
{
    struct cm_error err = { 0 };
    json_t *whole = NULL, *got = NULL;
    long n = 0;

    cr_assert_eq(cm_json_read(text, &whole, NULL, &err), CM_OK);
    for (cm_err rc = CM_E_NOMEM; rc == CM_E_NOMEM; n++) {
        json_error_t why;
        allocations_left = n;
        rc = cm_json_read(text, &got, &why, &err);
        allocations_left = LONG_MAX;
        if (rc == CM_OK)
            break;
        cr_assert_eq(rc, CM_E_NOMEM);
        cr_assert_null(got);
        cr_assert_not_null(strstr(err.what, "memory"), "%s", err.what);
    }
    cr_assert(whole == NULL ? got == NULL : json_equal(got, whole), "after %ld failures: another value", n);
    json_decref(whole);
    json_decref(got);
    return n;
}

/* An object with strings from 1 to 4,096 octets, escapes, a table that grows, arrays and all kinds of values.
 */
static char *rich_text(void)
{
    char *text = NULL, x[4097];
    size_t len = 0;
    FILE *const f = open_memstream(&text, &len);

    cr_assert_not_null(f);
    memset(x, 'x', sizeof x);
    (void) fprintf(
        f, "{\"escapes\":\"\\u00e4\\n\\ud83d\\ude00\",\"numbers\":[0,-1,9223372036854775807,1.5e300,[],{}]");
    for (int n = 1; n <= 4096; n *= 2)
        (void) fprintf(f, ",\"of %d\":\"%.*s\"", n, n, x);
    for (int i = 0; i < 40; i++)
        (void) fprintf(f, ",\"key %d\":[true,false,null,\"%d\"]", i, i);
    (void) fprintf(f, "}");
    cr_assert_eq(fclose(f), 0);
    return text;
}

Test(jsonread, no_memory)
{
    static const struct {
        const char *text;
        long least; /* allocations that must have failed */
    } row[] = {
        { "{}", 2 },
        { "{\"a\":\"0123456789abcdef0123456789abcdef0123456789abcdef\"}", 8 },
        { "[[[[[[[[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18]]]]]]]]", 30 },
        { "{\"no end\":\"0123456789abcdef0123456789abcdef", 4 },
        { "{\"twice\":1,\"twice\":2}", 4 },
    };
    char *const rich = rich_text();

    json_set_alloc_funcs(failing_malloc, free);
    for (size_t i = 0; i < CM_COUNT(row); i++)
        cr_expect_geq(starve(span_of(row[i].text)), row[i].least, "%s", row[i].text);
    cr_expect_gt(starve(span_of(rich)), 300);
    json_set_alloc_funcs(malloc, free);
    free(rich);
}

static void *starve_rich(void *text)
{
    return (void *) (intptr_t) starve(span_of(text));
}

Test(jsonread, no_memory_in_threads)
{
    char *const rich = rich_text();
    pthread_t thread[4];

    json_set_alloc_funcs(failing_malloc, free);
    cr_assert_gt(starve(span_of("[]")), 0);
    for (size_t i = 0; i < CM_COUNT(thread); i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, starve_rich, rich), 0);
    for (size_t i = 0; i < CM_COUNT(thread); i++) {
        void *failed = NULL;
        cr_assert_eq(pthread_join(thread[i], &failed), 0);
        cr_expect_gt((intptr_t) failed, 300);
    }
    free(rich);
}

Test(jsonread, what_is_no_json)
{
    static const char *const bad[] = { "",         "{",           "{}x", "[1,]", "{\"a\":1,\"a\":2}",
                                       "\"\xff\"", "\"\\ud800\"", "1" };
    struct cm_error err = { 0 };

    for (size_t i = 0; i < CM_COUNT(bad); i++) {
        json_t *got = (json_t *) &err;
        json_error_t why = { 0 };
        cr_expect_eq(cm_json_read(span_of(bad[i]), &got, &why, &err), CM_OK);
        cr_expect_null(got, "%s", bad[i]);
        cr_expect_neq(why.text[0], '\0', "%s", bad[i]);
    }
}

/* What was allocated outside may be freed by what reads, and the other way round. */
Test(jsonread, values_live_with_others)
{
    struct cm_error err = { 0 };
    json_t *before = json_pack("{s:s}", "a", "b"), *got = NULL;

    cr_assert_eq(cm_json_read(span_of("{\"c\":{\"d\":\"e\"}}"), &got, NULL, &err), CM_OK);
    cr_assert_not_null(got);
    cr_assert_eq(json_object_update(got, before), 0);
    json_decref(before);
    cr_expect_str_eq(json_string_value(json_object_get(got, "a")), "b");
    cr_assert_eq(json_object_clear(got), 0);
    json_decref(got);
}
