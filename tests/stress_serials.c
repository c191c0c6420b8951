/* Goal: no prefix is taken twice or before it is admitted, whatever the threads' pace, and a stop wakes all
 * who wait. Method: threads that take and sign while one draws, admits and commits; ThreadSanitizer watches.
 */
#include "engine/serials.h"
#include "tests/t_plant.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

enum { TAKERS = 4, MOST = 20000, STOCK = 6 };

struct shared {
    struct cm_serials *s;
    atomic_int taken[MOST];
    atomic_uint_least64_t recorded; /* prefixes below this one are on record */
    atomic_uint_least64_t made;
    atomic_bool wrong;
};

static void *take_all(void *arg)
{
    struct shared *sh = arg;
    struct cm_batch b = { 0 };
    cm_err rc = CM_OK;

    while ((rc = cm_serials_take(sh->s, &b, NULL)) == CM_OK) {
        if (b.prefix_number >= atomic_load(&sh->recorded) ||
            atomic_fetch_add(&sh->taken[b.prefix_number], 1) != 0)
            atomic_store(&sh->wrong, true);
        cm_serials_signed(sh->s, &b, 1);
        atomic_fetch_add(&sh->made, 1);
    }
    if (rc != CM_E_CLOSED)
        atomic_store(&sh->wrong, true);
    return NULL;
}

/* One that draws, commits what was taken meanwhile, and stops while others wait. */
static void drive(struct shared *sh, uint64_t limit)
{
    uint64_t recorded = 0;

    while (recorded + 2 * STOCK < limit) {
        struct cm_ranges done = { 0 };
        struct cm_prefixes p = { 0 };
        CM_ASSERT(cm_serials_draw(sh->s, &p, NULL) == CM_OK);
        recorded += p.count;
        atomic_store(&sh->recorded, recorded);
        cm_serials_admit(sh->s);
        for (uint64_t n = recorded > 64 ? recorded - 64 : 0; n < recorded; n++)
            if (atomic_load(&sh->taken[n]) != 0)
                CM_ASSERT(cm_ranges_add(&done, n, n, NULL) == CM_OK);
        cm_serials_commit(sh->s, &done);
        cm_ranges_close(&done);
    }
    cm_serials_stop(sh->s);
}

static bool once(uint64_t limit)
{
    static struct shared sh;
    const struct cm_serials_conf conf = { .stock = STOCK, .batches = TAKERS, .at_most = 1 };
    pthread_t taker[TAKERS];

    memset(&sh, 0, sizeof sh);
    CM_ASSERT(cm_serials_open(&conf, &sh.s, NULL) == CM_OK);
    for (int i = 0; i < TAKERS; i++)
        CM_ASSERT(pthread_create(&taker[i], NULL, take_all, &sh) == 0);
    drive(&sh, limit);
    for (int i = 0; i < TAKERS; i++)
        CM_ASSERT(pthread_join(taker[i], NULL) == 0);
    const bool good =
        !atomic_load(&sh.wrong) && cm_serials_signatures(sh.s) == (uint64_t) atomic_load(&sh.made);
    cm_serials_close(sh.s);
    return good;
}

int main(void)
{
    uint64_t seed = t_seed();
    int failed = 0;

    failed += !once(MOST);
    for (int i = 0; i < 200; i++)
        failed += !once(2 * STOCK + 1 + t_random(&seed, 200));
    printf("%d passed, %d failed\n", 201 - failed, failed);
    return failed != 0;
}
