/* Goal: a set of ranges is the set of numbers that were added and not removed, as few ranges as can be.
 * Method: random additions and removals of all kinds of overlap, each compared with a bitmap; the borders by
 * hand. CM_SEED repeats a run.
 */
#include "engine/ranges.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>

enum { NUMBERS = 300, ROUNDS = 300, ADDITIONS = 60 };

static void compare(const struct cm_ranges *r, const bool *in)
{
    uint64_t size = 0;

    for (uint64_t n = 0; n < NUMBERS; n++) {
        uint64_t gap = n;
        while (gap < NUMBERS && in[gap])
            gap++;
        size += in[n];
        cr_assert_eq(cm_ranges_meets(r, n, n), in[n], "number %llu", (unsigned long long) n);
        cr_assert_eq(cm_ranges_gap(r, n), gap, "gap from %llu", (unsigned long long) n);
    }
    cr_assert_eq(cm_ranges_size(r), size);
    for (size_t i = 0; i < r->count; i++) {
        cr_assert(r->at[i].first <= r->at[i].last);
        cr_assert(i == 0 || r->at[i].first > r->at[i - 1].last + 1, "two ranges that touch");
    }
}

Test(ranges, against_a_bitmap)
{
    struct cm_ranges r = { 0 };
    struct cm_error err = { 0 };
    uint64_t seed = t_seed();

    for (int round = 0; round < ROUNDS; round++) {
        bool in[NUMBERS + 1] = { false };
        for (int i = 0; i < ADDITIONS; i++) {
            const uint64_t first = t_random(&seed, NUMBERS);
            const uint64_t most = round % 3 == 0 ? 2 : round % 3 == 1 ? 10 : 80;
            uint64_t last = first + t_random(&seed, most);
            last = last < NUMBERS ? last : NUMBERS - 1;
            const bool add = t_random(&seed, 4) != 0;
            cr_assert_eq(add ? cm_ranges_add(&r, first, last, &err) : cm_ranges_remove(&r, first, last, &err),
                         CM_OK, "%s", err.what);
            for (uint64_t n = first; n <= last; n++)
                in[n] = add;
            compare(&r, in);
            const uint64_t a = t_random(&seed, NUMBERS), b = a + t_random(&seed, NUMBERS - a);
            bool meets = false;
            for (uint64_t n = a; n <= b; n++)
                meets |= in[n];
            cr_assert_eq(cm_ranges_meets(&r, a, b), meets);
        }
        cm_ranges_clear(&r);
        cr_assert_eq(cm_ranges_size(&r), 0);
    }
    cm_ranges_close(&r);
    cr_expect(r.at == NULL && r.count == 0 && r.cap == 0);
    cm_ranges_close(&r);
}

Test(ranges, the_largest_numbers)
{
    struct cm_ranges r = { 0 };
    struct cm_error err = { 0 };
    const uint64_t most = UINT64_MAX - 1;

    cr_assert_eq(cm_ranges_add(&r, most, most, &err), CM_OK);
    cr_assert_eq(cm_ranges_add(&r, 0, 0, &err), CM_OK);
    cr_expect(cm_ranges_meets(&r, most, UINT64_MAX) && cm_ranges_meets(&r, 0, 0));
    cr_expect_not(cm_ranges_meets(&r, 1, most - 1));
    cr_expect_eq(cm_ranges_gap(&r, 0), 1);
    cr_expect_eq(cm_ranges_gap(&r, most), UINT64_MAX);
    cr_expect_eq(cm_ranges_gap(&r, 17), 17);
    cr_assert_eq(cm_ranges_add(&r, 1, most - 1, &err), CM_OK);
    cr_expect_eq(r.count, 1, "what touches both sides makes one of them");
    cm_ranges_close(&r);
}
