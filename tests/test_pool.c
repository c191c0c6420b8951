/* Goal: batches lie where they should (aligned, apart, keys in the secret slab), come out empty and go home
 * wiped; memory that can't be locked is told. Method: every octet of every part of every batch is written and
 * read. Threads are stress_pool.c's. */
#include "engine/pool.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

enum { BATCHES = 5 };

static const struct cm_batch_plan plan = {
    .devices = 7, .ids = 100, .chain = 12288, .keys = 8192, .rows = 5000
};

static struct cm_pool *open_pool(void)
{
    struct cm_pool *p = NULL;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_pool_open(BATCHES, &plan, &p, &err), CM_OK, "%s", err.what);
    return p;
}

static bool within(const void *at, size_t len, struct cm_span slab)
{
    const uint8_t *p = at;

    return p >= slab.data && p + len <= slab.data + slab.len;
}

static void fill(struct cm_batch *b, uint8_t with)
{
    memset(b->chain, with, plan.chain);
    memset(b->keys, with + 1, plan.keys);
    memset(b->rows, with + 2, plan.rows);
    memset(b->ids, with + 3, plan.ids);
    memset(b->random, with + 4, (size_t) plan.devices * CM_SERIAL_RANDOM);
    memset(b->rec, with + 5, plan.devices * sizeof b->rec[0]);
}

static bool all(const void *at, size_t len, unsigned value)
{
    const uint8_t *p = at;

    for (size_t i = 0; i < len; i++)
        if (p[i] != (uint8_t) value)
            return false;
    return true;
}

Test(pool, parts_do_not_overlap)
{
    struct cm_pool *p = open_pool();
    struct cm_batch *b[BATCHES];

    cr_expect_eq(cm_pool_batches(p), BATCHES);
    for (uint32_t i = 0; i < BATCHES; i++) {
        cr_assert_eq(cm_pool_acquire(p, &b[i]), CM_OK);
        cr_expect(b[i]->cap == 7 && b[i]->index < BATCHES && b[i]->state == CM_BATCH_FILLING);
        cr_expect((uintptr_t) b[i]->chain % 4096 == 0 && (uintptr_t) b[i]->keys % 4096 == 0);
        cr_expect(within(b[i]->chain, plan.chain, cm_pool_chain_slab(p)));
        cr_expect(within(b[i]->keys, plan.keys, cm_pool_key_slab(p)));
        cr_expect(!within(b[i]->rows, 1, cm_pool_chain_slab(p)), "rows are never given to the ring");
        fill(b[i], (uint8_t) (i * 10));
    }
    for (uint32_t i = 0; i < BATCHES; i++) {
        const unsigned w = i * 10;
        cr_expect(all(b[i]->chain, plan.chain, w) && all(b[i]->keys, plan.keys, w + 1) &&
                      all(b[i]->rows, plan.rows, w + 2) && all(b[i]->ids, plan.ids, w + 3) &&
                      all(b[i]->random, (size_t) plan.devices * CM_SERIAL_RANDOM, w + 4) &&
                      all(b[i]->rec, plan.devices * sizeof b[i]->rec[0], w + 5),
                  "batch %u", i);
        for (uint32_t k = 0; k < i; k++)
            cr_expect_neq(b[i]->index, b[k]->index);
    }
    for (uint32_t i = 0; i < BATCHES; i++)
        cm_pool_release(p, b[i]);
    cm_pool_close(p);
}

Test(pool, a_batch_comes_out_empty_and_wiped)
{
    struct cm_pool *p = open_pool();
    struct cm_batch *b = NULL, *again = NULL;

    cr_assert_eq(cm_pool_acquire(p, &b), CM_OK);
    fill(b, 1);
    b->count = b->unit = 3;
    b->chain_len = b->rows_len = b->ids_len = 10;
    b->keys_len = plan.keys;
    b->chain_base = b->key_base = 4096;
    b->landed = b->group_end = true;
    b->state = CM_BATCH_LISTING;
    uint8_t *const keys = b->keys;
    cm_pool_release(p, b);
    cr_expect(all(keys, plan.keys, 0), "keys are left in a free batch");
    cr_assert_eq(cm_pool_acquire(p, &again), CM_OK);
    cr_expect_eq(again, b, "the warmest goes out first");
    cr_expect(b->count == 0 && b->unit == 0 && b->chain_len == 0 && b->keys_len == 0 && b->rows_len == 0 &&
              b->ids_len == 0 && b->chain_base == 0 && b->key_base == 0 && !b->landed && !b->group_end &&
              b->inflight == 0 && b->next == NULL && b->state == CM_BATCH_FILLING);
    cm_pool_release(p, b);
    cm_pool_close(p);
}

Test(pool, stopped)
{
    struct cm_pool *p = open_pool();
    struct cm_batch *b = NULL, *none = NULL;

    cr_assert_eq(cm_pool_acquire(p, &b), CM_OK);
    cm_pool_stop(p);
    cr_expect_eq(cm_pool_acquire(p, &none), CM_E_CLOSED, "although batches are free");
    cr_expect_null(none);
    cm_pool_release(p, b);
    cm_pool_close(p);
    cm_pool_close(NULL);
}

Test(pool, a_batch_that_is_not_home_stops_the_program, .signal = SIGABRT)
{
    struct cm_pool *p = open_pool();
    struct cm_batch *b = NULL;

    cr_assert_eq(cm_pool_acquire(p, &b), CM_OK);
    cm_pool_close(p);
}

Test(pool, memory_that_can_not_be_locked)
{
    struct cm_pool *p = NULL;
    struct cm_error err = { 0 };

    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) /* root may lock what it likes */
        cr_skip_test("NOT TESTED: this process can't become an ordinary user");
    cr_assert_eq(setrlimit(RLIMIT_MEMLOCK, &(struct rlimit) { 16384, 16384 }), 0);
    static uint8_t probe[1 << 20];
    if (mlock(probe, sizeof probe) == 0)
        cr_skip_test("NOT TESTED: mlock does nothing here (AddressSanitizer replaces it)");
    cr_expect_eq(cm_pool_open(BATCHES, &plan, &p, &err), CM_E_LIMIT);
    cr_expect_not_null(strstr(err.what, "ulimit -l"), "%s", err.what);
    cr_assert_eq(cm_pool_open(2, &plan, &p, &err), CM_OK, "what fits must do: %s", err.what);
    cm_pool_close(p);
}

Test(pool, its_size_is_told)
{
    const size_t one = cm_pool_bytes(&plan, 1);

    cr_expect_eq(cm_pool_bytes(&plan, 10), 10 * one);
    cr_expect_geq(one, plan.chain + plan.keys + plan.rows + plan.ids + 7 * (sizeof(struct cm_rec) + 12));
    cr_expect_lt(one,
                 plan.chain + plan.keys + plan.rows + plan.ids + 7 * (sizeof(struct cm_rec) + 12) + 3 * 4096);
}
