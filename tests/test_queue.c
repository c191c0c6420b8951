/* Goal: a queue hands batches on in order, waits as long as it was told, and after closing says whose each
 * batch is. Method: one thread where that is enough; a second one only to be woken. Races are
 * stress_queue.c's. */
#include "engine/batch.h"
#include "engine/queue.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

static struct cm_batch batch[64];

static struct cm_queue *open_queue(size_t cap)
{
    struct cm_queue *q = NULL;

    cr_assert_eq(cm_queue_open(cap, &q, NULL), CM_OK);
    return q;
}

Test(queue, first_in_first_out_around_the_ring)
{
    for (size_t cap = 1; cap <= 5; cap++) {
        struct cm_queue *q = open_queue(cap);
        size_t in = 0, out = 0;
        for (size_t round = 0; round < 12; round++) {
            for (size_t i = 0; i <= round % cap && in < 60; i++)
                cr_assert_eq(cm_queue_push(q, &batch[in++]), CM_OK);
            while (out < in) {
                struct cm_batch *b = NULL;
                cr_assert_eq(cm_queue_pop(q, 0, &b), CM_OK);
                cr_assert_eq(b, &batch[out++]);
            }
        }
        cm_queue_done(q);
    }
}

Test(queue, an_empty_one_says_so)
{
    struct cm_queue *q = open_queue(2);
    struct cm_batch *b = NULL;
    struct timespec before, after;

    cr_expect_eq(cm_queue_pop(q, 0, &b), CM_E_END);
    (void) clock_gettime(CLOCK_MONOTONIC, &before);
    cr_expect_eq(cm_queue_pop(q, 1030, &b), CM_E_END);
    (void) clock_gettime(CLOCK_MONOTONIC, &after);
    /* Not earlier than asked: a lower bound holds on any machine. */
    cr_expect_geq((after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000, 1029);
    cr_expect_null(b);
    cm_queue_done(q);
}

Test(queue, closing_keeps_what_is_in_it)
{
    struct cm_queue *q = open_queue(4);
    struct cm_batch *b = NULL;

    cr_assert_eq(cm_queue_push(q, &batch[0]), CM_OK);
    cr_assert_eq(cm_queue_push(q, &batch[1]), CM_OK);
    cm_queue_close(q);
    cm_queue_close(q);
    cr_expect_eq(cm_queue_push(q, &batch[2]), CM_E_CLOSED);
    cr_expect(cm_queue_pop(q, -1, &b) == CM_OK && b == &batch[0]);
    cr_expect(cm_queue_pop(q, 0, &b) == CM_OK && b == &batch[1]);
    b = NULL;
    cr_expect_eq(cm_queue_pop(q, -1, &b), CM_E_CLOSED);
    cr_expect_eq(cm_queue_pop(q, 0, &b), CM_E_CLOSED);
    cr_expect_null(b);
    cm_queue_done(q);
    cm_queue_done(NULL);
}

struct waiter {
    struct cm_queue *q;
    bool pushes;
    cm_err rc;
    struct cm_batch *got;
    atomic_bool started;
};

static void *wait_there(void *arg)
{
    struct waiter *w = arg;

    atomic_store(&w->started, true);
    w->rc = w->pushes ? cm_queue_push(w->q, &batch[9]) : cm_queue_pop(w->q, -1, &w->got);
    return NULL;
}

static pthread_t start(struct waiter *w)
{
    pthread_t id;

    cr_assert_eq(pthread_create(&id, NULL, wait_there, w), 0);
    while (!atomic_load(&w->started))
        (void) nanosleep(&(struct timespec) { .tv_nsec = 1000000 }, NULL);
    (void) nanosleep(&(struct timespec) { .tv_nsec = 20000000 }, NULL);
    return id;
}

Test(queue, a_push_waits_for_room_and_a_pop_for_a_batch, .timeout = 20)
{
    struct waiter w = { .q = open_queue(1), .pushes = true };
    struct cm_batch *b = NULL;

    cr_assert_eq(cm_queue_push(w.q, &batch[8]), CM_OK);
    pthread_t id = start(&w);
    cr_expect(cm_queue_pop(w.q, -1, &b) == CM_OK && b == &batch[8]);
    (void) pthread_join(id, NULL);
    cr_expect_eq(w.rc, CM_OK);
    cr_expect(cm_queue_pop(w.q, -1, &b) == CM_OK && b == &batch[9]);

    w.pushes = false;
    atomic_store(&w.started, false);
    id = start(&w);
    cr_expect_eq(cm_queue_push(w.q, &batch[7]), CM_OK);
    (void) pthread_join(id, NULL);
    cr_expect(w.rc == CM_OK && w.got == &batch[7]);
    cm_queue_done(w.q);
}

Test(queue, closing_wakes_both_sides, .timeout = 20)
{
    for (int pushes = 0; pushes < 2; pushes++) {
        struct waiter w = { .q = open_queue(1), .pushes = pushes != 0 };
        struct cm_batch *b = NULL;
        if (w.pushes)
            cr_assert_eq(cm_queue_push(w.q, &batch[8]), CM_OK);
        const pthread_t id = start(&w);
        cm_queue_close(w.q);
        (void) pthread_join(id, NULL);
        cr_expect_eq(w.rc, CM_E_CLOSED);
        cr_expect_null(w.got);
        cr_expect_eq(cm_queue_pop(w.q, 0, &b), pushes != 0 ? CM_OK : CM_E_CLOSED);
        cm_queue_done(w.q);
    }
}

Test(queue, a_batch_left_behind_stops_the_program, .signal = SIGABRT)
{
    struct cm_queue *q = open_queue(1);

    cr_assert_eq(cm_queue_push(q, &batch[0]), CM_OK);
    cm_queue_done(q);
}
