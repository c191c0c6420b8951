/* Goal: numbers read as a person writes them, without a carry lost between units. Method: known answers, at
 * the edges of each unit. */
#include "cli/amount.h"
#include "engine/err.h"

#include <criterion/criterion.h>

Test(amount, times)
{
    static const struct {
        double seconds;
        const char *text;
    } known[] = {
        { 0, "0.0 s" },
        { 0.04, "0.0 s" },
        { 9.94, "9.9 s" },
        { 9.96, "10 s" },
        { 59.4, "59 s" },
        { 59.6, "1 min" },
        { 60, "1 min" },
        { 100, "1 min 40 s" },
        { 3599.4, "59 min 59 s" },
        { 3599.6, "1 h" },
        { 3 * 3600 + 10 * 60 + 29, "3 h 10 min" },
        { 3 * 3600 + 59 * 60 + 31, "4 h" },
        { 24 * 3600 - 31, "23 h 59 min" },
        { 24 * 3600 - 29, "1 d" },
        { 100000, "1 d 4 h" },
        { 1e9, "11574 d 2 h" },
        { 1e30, "11574074074074 d 2 h" },
    };
    struct cm_amount a;

    for (size_t i = 0; i < CM_COUNT(known); i++)
        cr_expect_str_eq(cm_amount_time(&a, known[i].seconds), known[i].text, "%g: %s", known[i].seconds,
                         a.text);
}

Test(amount, octets_and_counts)
{
    static const struct {
        uint64_t n;
        const char *octets, *count;
    } known[] = {
        { 0, "0.0 kB", "0" },
        { 999, "0.9 kB", "999" },
        { 1000, "1.0 kB", "1,000" },
        { 999999, "999.9 kB", "999,999" },
        { 1000000, "1.0 MB", "1,000,000" },
        { 2900000000, "2.9 GB", "2,900,000,000" },
        { 12345678901234, "12.3 TB", "12,345,678,901,234" },
        { UINT64_MAX, "18446.7 PB", "18,446,744,073,709,551,615" },
    };
    struct cm_amount a;

    for (size_t i = 0; i < CM_COUNT(known); i++) {
        cr_expect_str_eq(cm_amount_bytes(&a, known[i].n), known[i].octets, "%s", a.text);
        cr_expect_str_eq(cm_amount_count(&a, known[i].n), known[i].count, "%s", a.text);
    }
}
