#include "io/follow.h"

#include "engine/when.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

enum { PAUSE_MS = 100, PAUSE_MAX_MS = 5000 };

struct cm_follower {
    struct cm_loader *loader; /* the thread's, once it runs */
    struct cm_fleet *fleet;   /* the thread's */
    uint64_t committed;       /* of the fleet at open */
    unsigned patience_ms;
    char name[160];
    pthread_t thread;
    bool running;
    bool sync_made;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    uint64_t upto;
    bool last, give_up, stop;
    uint64_t progress_ns; /* when the database last took rows, or the end was told */
    struct cm_follower_state state;
};

static uint64_t now_ns(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

/* --- the thread -------------------------------------------------------------- */

/* Called after each transaction. */
static bool note_progress(void *arg, const struct cm_db_cursor *at)
{
    struct cm_follower *f = arg;

    (void) pthread_mutex_lock(&f->lock);
    f->state.at = *at;
    f->state.loaded = cm_loader_loaded(f->loader);
    f->state.away = false;
    f->progress_ns = now_ns();
    const bool more = !f->stop;
    (void) pthread_mutex_unlock(&f->lock);
    return more;
}

/* Is it time to leave a database alone? Under the lock. */
static bool is_long_enough(const struct cm_follower *f)
{
    return f->give_up || (f->last && now_ns() - f->progress_ns >= (uint64_t) f->patience_ms * 1000000u);
}

/* Another process has the database locked. */
static bool wait_on(void *arg, const char *name, unsigned waited_ms)
{
    struct cm_follower *f = arg;

    (void) pthread_mutex_lock(&f->lock);
    if (waited_ms >= CM_DB_TELL_MS && !f->state.away) {
        f->state.away = true;
        f->state.why = (struct cm_error) { 0 };
        (void) cm_fail(&f->state.why, CM_E_DB, CM_HERE, "the database %.160s: another process has it locked",
                       name);
    }
    const bool more = !is_long_enough(f);
    (void) pthread_mutex_unlock(&f->lock);
    return more;
}

/* Until there is more to load: how far. false: there won't be. */
static bool wait_for_more(struct cm_follower *f, uint64_t done, uint64_t *upto)
{
    (void) pthread_mutex_lock(&f->lock);
    while (f->upto <= done && !f->last && !f->give_up)
        (void) pthread_cond_wait(&f->changed, &f->lock);
    *upto = f->upto;
    (void) pthread_mutex_unlock(&f->lock);
    return *upto > done;
}

/* The database is away. Waits a while; false: it was long enough. */
static bool pause_a_while(struct cm_follower *f, unsigned *pause_ms, const struct cm_error *why)
{
    const struct timespec until = cm_when_deadline((int) *pause_ms);
    int waited = 0;

    *pause_ms = *pause_ms * 2 < PAUSE_MAX_MS ? *pause_ms * 2 : PAUSE_MAX_MS;
    (void) pthread_mutex_lock(&f->lock);
    f->state.away = true;
    f->state.why = *why;
    const bool last_before = f->last;
    while (waited != ETIMEDOUT && !f->give_up && f->last == last_before)
        waited = pthread_cond_timedwait(&f->changed, &f->lock, &until);
    const bool long_enough = is_long_enough(f);
    (void) pthread_mutex_unlock(&f->lock);
    return !long_enough;
}

static cm_err load(struct cm_follower *f, struct cm_error *err)
{
    CM_TRY(cm_loader_run(f->loader, note_progress, f, err));
    const struct cm_db_cursor at = cm_loader_at(f->loader);
    (void) note_progress(f, &at);
    return CM_OK;
}

/* One step, over new connections where that helps. done: the octets of the manifest that need no more. */
static cm_err persist(struct cm_follower *f, cm_err (*step)(struct cm_follower *f, struct cm_error *err),
                      struct cm_error *err)
{
    unsigned pause_ms = PAUSE_MS;
    cm_err rc = step(f, err);

    while (rc == CM_E_DB && cm_loader_is_away(f->loader)) {
        if (!pause_a_while(f, &pause_ms, err))
            return rc;
        rc = cm_loader_reopen(f->loader, err);
        if (rc == CM_OK)
            rc = step(f, err);
    }
    return rc;
}

static cm_err finish(struct cm_follower *f, struct cm_error *err)
{
    return cm_loader_finish(f->loader, err);
}

static cm_err follow(struct cm_follower *f, struct cm_error *err)
{
    uint64_t done = 0, upto = 0;

    while (wait_for_more(f, done, &upto)) {
        if (upto > f->committed)
            CM_TRY(cm_fleet_grow(f->fleet, upto, err));
        CM_TRY(persist(f, load, err));
        done = upto;
    }
    return done > 0 ? persist(f, finish, err) : CM_OK;
}

static void *thread_main(void *arg)
{
    struct cm_follower *f = arg;
    struct cm_error err = { 0 };
    const cm_err rc = follow(f, &err);

    (void) pthread_mutex_lock(&f->lock);
    f->state.ended = true;
    f->state.rc = rc;
    if (rc != CM_OK)
        f->state.why = err;
    (void) pthread_cond_broadcast(&f->changed);
    (void) pthread_mutex_unlock(&f->lock);
    return NULL;
}

/* --- the owner ---------------------------------------------------------------- */

static cm_err start(struct cm_follower *f, struct cm_error *err)
{
    pthread_condattr_t attr;

    if (pthread_condattr_init(&attr) != 0)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for following the fleet");
    (void) pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    (void) pthread_cond_init(&f->changed, &attr);
    (void) pthread_condattr_destroy(&attr);
    (void) pthread_mutex_init(&f->lock, NULL);
    f->sync_made = true;
    if (pthread_create(&f->thread, NULL, thread_main, f) != 0)
        CM_FAIL(err, CM_E_LIMIT, "can't start a thread for the database: raise the limit on processes");
    f->running = true;
    return CM_OK;
}

static cm_err open_follower(struct cm_follower *f, const struct cm_follower_conf *conf, struct cm_error *err)
{
    struct cm_db *db = conf->db;
    cm_err rc = cm_fleet_open(conf->dir, NULL, &f->fleet, err);

    if (rc != CM_OK) {
        cm_db_close(db);
        return rc;
    }
    f->committed = cm_fleet_manifest_bytes(f->fleet);
    const struct cm_loader_conf loader = { .url = conf->url,
                                           .option = conf->option,
                                           .wait = conf->wait,
                                           .fleet = f->fleet,
                                           .db = db,
                                           .later = conf->away != NULL };
    CM_TRY(cm_loader_open(&loader, &f->loader, err));
    cm_loader_wait_with(f->loader, &(const struct cm_db_wait) { conf->wait.ms, wait_on, f });
    (void) snprintf(f->name, sizeof f->name, "%s", cm_loader_name(f->loader));
    if (conf->away != NULL) {
        f->state.away = true;
        f->state.why = *conf->away;
    }
    return start(f, err);
}

cm_err cm_follower_open(const struct cm_follower_conf *conf, struct cm_follower **out, struct cm_error *err)
{
    struct cm_follower *f = calloc(1, sizeof *f);

    if (f == NULL) {
        cm_db_close(conf->db);
        CM_FAIL(err, CM_E_NOMEM, "out of memory for following the fleet");
    }
    f->patience_ms = conf->patience_ms;
    const cm_err rc = open_follower(f, conf, err);
    if (rc != CM_OK)
        cm_follower_close(f);
    else
        *out = f;
    return rc;
}

void cm_follower_upto(struct cm_follower *f, uint64_t manifest_bytes)
{
    (void) pthread_mutex_lock(&f->lock);
    if (manifest_bytes > f->upto) {
        f->upto = f->state.manifest_bytes = manifest_bytes;
        (void) pthread_cond_broadcast(&f->changed);
    }
    (void) pthread_mutex_unlock(&f->lock);
}

static void tell(struct cm_follower *f, bool *what)
{
    (void) pthread_mutex_lock(&f->lock);
    *what = true;
    f->progress_ns = now_ns();
    (void) pthread_cond_broadcast(&f->changed);
    (void) pthread_mutex_unlock(&f->lock);
}

void cm_follower_end(struct cm_follower *f)
{
    tell(f, &f->last);
}

void cm_follower_give_up(struct cm_follower *f)
{
    tell(f, &f->give_up);
}

void cm_follower_wait(struct cm_follower *f, int ms, struct cm_follower_state *out)
{
    const struct timespec until = cm_when_deadline(ms);
    int waited = ms == 0 ? ETIMEDOUT : 0;

    (void) pthread_mutex_lock(&f->lock);
    while (!f->state.ended && waited != ETIMEDOUT)
        waited = pthread_cond_timedwait(&f->changed, &f->lock, &until);
    *out = f->state;
    (void) pthread_mutex_unlock(&f->lock);
}

void cm_follower_stop(struct cm_follower *f)
{
    tell(f, &f->stop);
    tell(f, &f->give_up);
}

uint64_t cm_follower_committed(const struct cm_follower *f)
{
    return f->committed;
}

const char *cm_follower_name(const struct cm_follower *f)
{
    return f->name;
}

void cm_follower_close(struct cm_follower *f)
{
    if (f == NULL)
        return;
    if (f->running) {
        cm_follower_stop(f);
        (void) pthread_join(f->thread, NULL);
    }
    if (f->sync_made) {
        (void) pthread_cond_destroy(&f->changed);
        (void) pthread_mutex_destroy(&f->lock);
    }
    cm_loader_close(f->loader);
    cm_fleet_close(f->fleet);
    free(f);
}
