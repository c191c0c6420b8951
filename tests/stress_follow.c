/* Goal: the threads that keep databases behind a fleet race with nobody: not with the pipeline that mints it,
 * not with each other on one database, and they end when they are told to at any moment. Method: a run of
 * many commits with two databases; then followers that load it into a third together, and some that are
 * closed at once. */
#include "cli/cmd.h"
#include "cli/minting.h"
#include "tests/t_plant.h"

#include <unistd.h>

enum { DEVICES = 1500, COMMIT = 40, TOGETHER = 4, SHORT = 12 };

static struct t_place place;
static char ca[128], ca_key[128], out[128], url[4][140];

static void mint(void)
{
    const struct cm_common quiet = { .quiet = true };
    const char *to[] = { url[0], url[1] };
    struct cm_mint_opts o = { .ca = ca };
    struct cm_minting m = { .common = &quiet };
    struct cm_error err = { 0 };

    cm_cmd_mint.defaults(&o);
    o.ca_key = ca_key;
    o.out = out;
    o.count = DEVICES;
    o.batch = 10;
    o.workers = 2;
    o.plaintext_keys = true;
    o.feeds.db_wait = 20;
    o.feeds.to = (struct cm_strs) { .item = to, .count = 2 };
    CM_ASSERT(cm_mint_plan_open(&o, NULL, &m.plan, &err) == CM_OK);
    m.plan.pipeline.commit.devices = COMMIT;
    const cm_err rc = cm_minting_begin(&m, &err);
    if (rc != CM_OK)
        printf("minting: %s\n", err.what);
    CM_ASSERT(rc == CM_OK);
    cm_minting_close(&m);
}

static struct cm_follower *follow(const char *to)
{
    const struct cm_follower_conf conf = {
        .url = to, .option = "--to", .wait = { .ms = 20000 }, .patience_ms = 20000, .dir = out
    };
    struct cm_follower *f = NULL;
    struct cm_error err = { 0 };
    const cm_err rc = cm_follower_open(&conf, &f, &err);

    if (rc != CM_OK)
        printf("following: %s\n", err.what);
    CM_ASSERT(rc == CM_OK);
    cm_follower_upto(f, cm_follower_committed(f));
    return f;
}

/* To its end; all rows are there then. */
static void expect_all(struct cm_follower *f)
{
    struct cm_follower_state state;

    cm_follower_end(f);
    do
        cm_follower_wait(f, 50, &state);
    while (!state.ended);
    if (state.rc != CM_OK)
        printf("loading: %s\n", state.why.what);
    CM_ASSERT(state.rc == CM_OK && state.at.rows == DEVICES);
    CM_ASSERT(state.at.manifest_bytes == cm_follower_committed(f));
}

int main(void)
{
    struct cm_follower *f[TOGETHER] = { NULL };
    uint64_t seed = t_seed();

    t_place_open(&place);
    (void) snprintf(ca, sizeof ca, "%s/ca.pem", place.base);
    (void) snprintf(ca_key, sizeof ca_key, "%s/ca.key", place.base);
    (void) snprintf(out, sizeof out, "%s/fleet", place.base);
    for (int i = 0; i < 4; i++)
        (void) snprintf(url[i], sizeof url[i], "sqlite:%s/%d.db", place.base, i);
    t_ca_files(ca, ca_key);
    mint();
    for (int i = 0; i < TOGETHER; i++)
        f[i] = follow(url[2]);
    for (int i = 0; i < TOGETHER; i++) {
        expect_all(f[i]);
        cm_follower_close(f[i]);
    }
    for (int i = 0; i < SHORT; i++) { /* whatever the thread is at */
        struct cm_follower *one = follow(url[3]);
        (void) usleep((useconds_t) t_random(&seed, 20000));
        cm_follower_close(one);
    }
    for (int i = 0; i < 4; i++) {
        struct cm_follower *again = follow(url[i]);
        expect_all(again);
        cm_follower_close(again);
    }
    t_place_close(&place);
    (void) puts("databases follow, alone and together");
    return 0;
}
