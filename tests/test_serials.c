/* Goal: every prefix is on record before it is used, and ends committed, unused or burned, once. Method: each
 * way by hand, and a random course of draws, takes and commits against a list of what must become of each
 * prefix (CM_SEED repeats it). */
#include "engine/serials.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>

enum { STOCK = 4, BATCHES = 3, AT_MOST = 7 };

static struct cm_serials *open_stock(uint64_t first)
{
    const struct cm_serials_conf conf = {
        .first = first, .stock = STOCK, .batches = BATCHES, .at_most = AT_MOST
    };
    struct cm_serials *s = NULL;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_serials_open(&conf, &s, &err), CM_OK, "%s", err.what);
    return s;
}

static struct cm_prefixes draw(struct cm_serials *s)
{
    struct cm_prefixes p = { 0 };
    struct cm_error err = { 0 };

    cr_assert_eq(cm_serials_draw(s, &p, &err), CM_OK, "%s", err.what);
    return p;
}

static struct cm_batch take(struct cm_serials *s)
{
    struct cm_batch b = { 0 };
    struct cm_error err = { 0 };

    cr_assert_eq(cm_serials_take(s, &b, &err), CM_OK, "%s", err.what);
    return b;
}

static void commit(struct cm_serials *s, uint64_t first, uint64_t last)
{
    struct cm_ranges r = { 0 };
    struct cm_error err = { 0 };

    cr_assert_eq(cm_ranges_add(&r, first, last, &err), CM_OK);
    cm_serials_commit(s, &r);
    cm_ranges_close(&r);
}

static struct cm_attempt_end end_of(struct cm_serials *s)
{
    struct cm_attempt_end end = { 0 };
    struct cm_error err = { 0 };

    cr_assert_eq(cm_serials_end(s, &end, &err), CM_OK, "%s", err.what);
    return end;
}

Test(serials, prefixes_are_positive)
{
    struct cm_error err = { 0 };
    bool seen[128] = { false };
    uint8_t p[CM_SERIAL_PREFIX];

    for (int i = 0; i < 5000; i++) {
        cr_assert_eq(cm_serials_prefix(p, &err), CM_OK, "%s", err.what);
        cr_assert(p[0] >= 1 && p[0] <= 0x7f);
        seen[p[0]] = true;
    }
    for (int i = 1; i < 128; i++)
        cr_expect(seen[i], "first octet %02x never came", (unsigned) i);
}

Test(serials, the_way_of_a_prefix)
{
    struct cm_serials *s = open_stock(40);
    struct cm_prefixes p = draw(s);
    uint8_t octets[STOCK][CM_SERIAL_PREFIX];

    cr_assert(p.first == 40 && p.count == STOCK && p.at_most == AT_MOST);
    memcpy(octets, p.prefix, sizeof octets);
    cm_serials_admit(s);
    for (unsigned i = 0; i < 3; i++) {
        const struct cm_batch b = take(s);
        cr_assert(b.prefix_number >= 40 && b.prefix_number < 44);
        cr_expect_arr_eq(b.prefix, octets[b.prefix_number - 40], CM_SERIAL_PREFIX, "the one that was drawn");
        if (b.prefix_number != 42) /* 42 is taken, and nothing signed under it */
            cm_serials_signed(s, &b, 5 + i);
    }
    commit(s, 40, 40);
    p = draw(s);
    cr_expect(p.first == 44 && p.count == 3, "filled up to the stock");
    const struct cm_attempt_end end = end_of(s);
    cr_expect_eq(end.signatures, cm_serials_signatures(s));
    cr_expect_eq(end.burned_count, 1);
    cr_expect(end.burned[0].number == 41 && end.burned[0].signatures == 6);
    cr_expect_arr_eq(end.burned[0].prefix, octets[1], CM_SERIAL_PREFIX);
    cr_expect_eq(cm_ranges_size(&end.unused), 2, "42 and 43; what was never admitted is on no record");
    cr_expect(cm_ranges_meets(&end.unused, 42, 42) && cm_ranges_meets(&end.unused, 43, 43));
    struct cm_attempt_end done = end;
    cm_serials_end_done(&done);
    cr_expect_null(done.burned);
    cm_serials_close(s);
    cm_serials_close(NULL);
}

Test(serials, no_more_than_the_run_can_take)
{
    const struct cm_serials_conf conf = {
        .first = 7, .stock = STOCK, .batches = BATCHES, .at_most = AT_MOST, .total = STOCK + 1
    };
    struct cm_serials *s = NULL;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_serials_open(&conf, &s, &err), CM_OK, "%s", err.what);
    cr_expect_eq(draw(s).count, STOCK);
    cm_serials_admit(s);
    (void) take(s);
    (void) take(s);
    commit(s, 7, 8);
    cr_expect_eq(draw(s).count, 1, "two are missing in the stock, one in all");
    cm_serials_admit(s);
    for (unsigned i = 2; i <= STOCK; i++)
        cr_expect_eq(take(s).prefix_number, 7 + i);
    commit(s, 9, 7 + STOCK);
    cr_expect_eq(draw(s).count, 0);
    cm_serials_admit(s);
    cm_serials_close(s);
}

Test(serials, stop)
{
    struct cm_serials *s = open_stock(0);
    struct cm_batch b = { 0 };

    (void) draw(s);
    cm_serials_admit(s);
    cm_serials_stop(s);
    cr_expect_eq(cm_serials_take(s, &b, NULL), CM_E_CLOSED, "even where some are ready");
    cm_serials_stop(s);
    struct cm_attempt_end end = end_of(s);
    cr_expect_eq(cm_ranges_size(&end.unused), STOCK);
    cr_expect_eq(end.burned_count, 0);
    cm_serials_end_done(&end);
    cm_serials_close(s);
}

Test(serials, nobody_keeps_a_record)
{
    const struct cm_serials_conf conf = { .stock = STOCK, .batches = BATCHES, .unrecorded = true };
    struct cm_serials *s = NULL;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_serials_open(&conf, &s, &err), CM_OK, "%s", err.what);
    const struct cm_batch a = take(s), b = take(s);
    cr_expect(memcmp(a.prefix, b.prefix, sizeof a.prefix) != 0 && a.prefix[0] != 0);
    cm_serials_signed(s, &a, 3);
    cr_expect_eq(cm_serials_signatures(s), 3);
    cm_serials_close(s);
}

/* What must become of each prefix. */
enum fate { NEVER, RECORDED, IN_WORK, COMMITTED };
enum { MOST = 4000 };

Test(serials, a_random_course)
{
    static enum fate fate[MOST];
    static uint32_t made[MOST];
    uint64_t seed = t_seed(), signatures = 0;
    struct cm_serials *s = open_stock(0);
    struct cm_batch held[BATCHES + STOCK];
    size_t count = 0, recorded = 0, unused = 0, burned = 0, ready = 0;

    for (int i = 0; i < 3000 && recorded + STOCK < MOST; i++) {
        const uint64_t what = t_random(&seed, 3);
        if (what == 0) {
            const struct cm_prefixes p = draw(s);
            cr_assert_eq(p.first, recorded);
            cm_serials_admit(s);
            for (size_t n = 0; n < p.count; n++)
                fate[recorded++] = RECORDED;
            ready += p.count;
        } else if (what == 1 && ready > 0 && count < CM_COUNT(held)) {
            const struct cm_batch b = held[count++] = take(s);
            ready--;
            cr_assert_eq(fate[b.prefix_number], RECORDED, "taken once, and after it was on record");
            fate[b.prefix_number] = IN_WORK;
            made[b.prefix_number] = (uint32_t) t_random(&seed, AT_MOST + 1);
            signatures += made[b.prefix_number];
            cm_serials_signed(s, &b, made[b.prefix_number]);
        } else if (count > 0) {
            const uint64_t n = held[--count].prefix_number;
            commit(s, n, n);
            fate[n] = COMMITTED;
        }
    }
    struct cm_attempt_end end = end_of(s);
    for (uint64_t n = 0; n < recorded; n++) {
        const bool is_unused = fate[n] == RECORDED || (fate[n] == IN_WORK && made[n] == 0);
        unused += is_unused;
        burned += fate[n] == IN_WORK && made[n] > 0;
        cr_assert_eq(cm_ranges_meets(&end.unused, n, n), is_unused, "prefix %llu", (unsigned long long) n);
    }
    cr_expect(cm_ranges_size(&end.unused) == unused && end.burned_count == burned);
    for (size_t i = 0; i < end.burned_count; i++)
        cr_expect(fate[end.burned[i].number] == IN_WORK &&
                  made[end.burned[i].number] == end.burned[i].signatures);
    cr_expect_eq(end.signatures, signatures);
    cm_serials_end_done(&end);
    cm_serials_close(s);
}
