/* Goal: when memory runs out while devices are asked for again, or while some of them are committed, nothing
 * of that is on record; and what waits is what was asked for without what was committed. Method: a supersede
 * record and a commit of every second of its devices; each allocation for ranges fails in turn. */
#include "io/journalread.h"
#include "tests/t_plant.h"

#include <criterion/criterion.h>
#include <sys/stat.h>

static long fail_at; /* counted down to; 0: none fails any more */

void *reallocarray(void *p, size_t n, size_t size)
{
    return fail_at > 0 && --fail_at == 0 ? NULL : realloc(p, n * size);
}

struct rig {
    struct t_place place;
    struct cm_places places;
    struct cm_journal *j;
    struct cm_ranges all; /* 1 to 100 */
};

static off_t journal_size(const struct rig *g)
{
    struct stat st;

    cr_assert_eq(fstatat(g->place.dir.fd, "journal", &st, 0), 0);
    return st.st_size;
}

/* The devices under the prefix; how often it failed before. */
static long commit(struct rig *g, const struct cm_ranges *seqs, uint64_t prefix)
{
    struct cm_recorder *const r = cm_journal_recorder(g->j);
    const struct cm_prefixes none = { 0 };
    struct cm_commit c = { .devices = cm_ranges_size(seqs), .seqs = *seqs };
    struct cm_error err = { 0 };
    const off_t before = journal_size(g);
    long failed = 0;

    cr_assert_eq(cm_ranges_add(&c.prefixes, prefix, prefix, NULL), CM_OK);
    g->places.manifest_bytes += 4096;
    for (;; failed++) {
        fail_at = failed + 1;
        if (r->ops->commit(r, &c, &none, &err) == CM_OK)
            break;
        cr_assert(err.code == CM_E_NOMEM && journal_size(g) == before, "allocation %ld: %s", failed,
                  err.what);
    }
    fail_at = 0;
    cr_assert_gt(journal_size(g), before);
    cm_ranges_close(&c.prefixes);
    return failed;
}

/* All hundred are committed. */
static void open_rig(struct rig *g)
{
    static const uint8_t octets[2][CM_SERIAL_PREFIX] = { { 1 }, { 2 } };
    const struct cm_prefixes first = { .at_most = 100, .count = 2, .prefix = octets };
    struct cm_error err = { 0 };
    json_t *run = json_pack("{s:i}", "version", 1);

    *g = (struct rig) { .j = NULL };
    t_place_open(&g->place);
    const struct cm_journal_conf conf = {
        .dir = &g->place.dir, .run_id = "run", .places = &g->places, .requested = 100, .durable = true
    };
    cr_assert_eq(cm_journal_create(&conf, run, &g->j, &err), CM_OK, "%s", err.what);
    json_decref(run);
    cr_assert_eq(cm_journal_attempt(g->j, "reissue", NULL, &err), CM_OK, "%s", err.what);
    struct cm_recorder *const r = cm_journal_recorder(g->j);
    cr_assert_eq(r->ops->reserve(r, &first, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_ranges_add(&g->all, 1, 100, NULL), CM_OK);
    cr_assert_eq(commit(g, &g->all, 0), 0, "where nothing waits, no memory is needed");
}

static void close_rig(struct rig *g)
{
    cm_ranges_close(&g->all);
    cm_journal_close(g->j);
    t_place_close(&g->place);
}

Test(journal_again, no_memory)
{
    struct rig g;
    struct cm_ranges some = { 0 };
    struct cm_journal_state s = { 0 };
    struct cm_error err = { 0 };

    open_rig(&g);
    const off_t before = journal_size(&g);
    fail_at = 1;
    cr_expect_eq(cm_journal_supersede(g.j, "worn", &g.all, &err), CM_E_NOMEM);
    cr_expect(journal_size(&g) == before && cm_journal_rows_superseded(g.j) == 0);
    cr_assert_eq(cm_journal_supersede(g.j, "worn", &g.all, &err), CM_OK, "%s", err.what);
    cr_expect_eq(cm_journal_rows_superseded(g.j), 0, "the old ones are in force");
    for (uint64_t n = 2; n <= 40; n += 2)
        cr_assert_eq(cm_ranges_add(&some, n, n, NULL), CM_OK);
    cr_expect_geq(commit(&g, &some, 1), 2);
    cr_expect_eq(cm_journal_rows_superseded(g.j), 20);
    cr_assert_eq(cm_journal_read(g.place.dir.fd, g.place.out, &s, &err), CM_OK, "%s", err.what);
    cr_expect(s.commits == 2 && cm_ranges_size(&s.again) == 80 && cm_journal_rows_in_force(&s) == 100);
    for (uint64_t n = 1; n <= 100; n++)
        cr_expect_eq(cm_ranges_meets(&s.again, n, n), n > 40 || n % 2 == 1, "device %d", (int) n);
    cm_journal_state_done(&s);
    cm_ranges_close(&some);
    close_rig(&g);
}
