#include "cli/feeds.h"

#include "cli/dbwait.h"
#include "cli/msg.h"
#include "cli/progress.h"
#include "cli/signals.h"
#include "engine/ident.h"
#include "io/sys.h"

#include <jansson.h>

typedef unsigned long long ull;

static const char option[] = "--to";

struct feed {
    const char *url;
    char public[CM_DB_URL_MAX];
    struct cm_db *db; /* until the follower has it */
    bool others;      /* it has devices of other runs under the CA */
    bool away;        /* it was, before the first key */
    struct cm_follower *follower;
    struct cm_follower_state state; /* as it was last seen */
    bool told;                      /* that it is away */
    struct cm_dbwait waiting;
    struct cm_db_found found; /* for --explain */
};

struct cm_feeds {
    const struct cm_feeds_opts *opts;
    struct feed feed[CM_FEEDS_MAX];
    size_t count;
    char dir[256];
    bool quiet;
    /* ids that are to be asked for */
    char run_id[37], ca_certificate_id[65];
    bool again; /* the run began before */
    char id[CM_DB_IDS_MAX][CM_ID_MAX];
    struct cm_span ids[CM_DB_IDS_MAX];
    size_t added;
};

/* For the locks of others. */
static struct cm_db_wait how_to_wait(const struct cm_feeds *f, struct feed *feed)
{
    const unsigned patience = f->opts->db_wait * 1000;
    const uint64_t ms = CM_TUNE("db_wait_ms", patience < CM_DB_WAIT_MS ? patience : CM_DB_WAIT_MS);

    feed->waiting.quiet = f->quiet;
    return cm_dbwait(&feed->waiting, (unsigned) ms);
}

static bool is_none(const struct cm_strs *to)
{
    return to->count == 0 || (to->count == 1 && strcmp(to->item[0], "none") == 0);
}

cm_err cm_feeds_check(const struct cm_feeds_opts *opts, bool lasts, bool durable, struct cm_error *err)
{
    if (is_none(&opts->to) || (lasts && durable))
        return CM_OK;
    if (!lasts)
        CM_FAIL(err, CM_E_USAGE, "--layout none mints nothing that lasts, so --to makes no sense with it");
    CM_FAIL(err, CM_E_USAGE,
            "--sync none may lose rows that the database of --to would keep: leave one of them out, and load "
            "the fleet afterwards with certmill load");
}

static cm_err take_url(struct cm_feeds *f, const char *url, struct cm_error *err)
{
    struct feed *feed = &f->feed[f->count];

    CM_TRY(cm_db_url_public(url, option, feed->public, sizeof feed->public, err));
    for (size_t i = 0; i < f->count; i++)
        if (strcmp(f->feed[i].public, feed->public) == 0)
            CM_FAIL(err, CM_E_USAGE, "--to %.200s is given twice", feed->public);
    feed->url = url;
    f->count++;
    return CM_OK;
}

cm_err cm_feeds_open(const struct cm_feeds_opts *opts, struct cm_feeds **out, struct cm_error *err)
{
    *out = NULL;
    if (is_none(&opts->to))
        return CM_OK;
    if (opts->to.count > CM_FEEDS_MAX)
        CM_FAIL(err, CM_E_USAGE, "--to is given %zu times; a run feeds at most %d databases", opts->to.count,
                CM_FEEDS_MAX);
    struct cm_feeds *f = calloc(1, sizeof *f);
    if (f == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the databases");
    f->opts = opts;
    f->quiet = opts->quiet;
    cm_err rc = CM_OK;
    for (size_t i = 0; rc == CM_OK && i < opts->to.count; i++)
        rc = take_url(f, opts->to.item[i], err);
    if (rc != CM_OK) {
        cm_feeds_close(f);
        return rc;
    }
    *out = f;
    return CM_OK;
}

size_t cm_feeds_count(const struct cm_feeds *f)
{
    return f != NULL ? f->count : 0;
}

const char *cm_feeds_public(const struct cm_feeds *f, size_t i)
{
    return f->feed[i].public;
}

/* --- before the first key ------------------------------------------------------ */

void cm_feeds_offer(struct cm_error *err)
{
    static const char other[] =
        "; give another --to URL, or the same with its password, which is on no record, "
        "or --to none to go on without";
    const size_t len = strnlen(err->what, sizeof err->what - sizeof other);

    memcpy(err->what + len, other, sizeof other);
}

/* What failed before the first key. A run that began before does without a database that is away: the
 * follower comes back to it. */
static cm_err failed(const struct cm_feeds *f, struct feed *feed, cm_err rc, bool away, struct cm_error *err)
{
    cm_db_close(feed->db);
    feed->db = NULL;
    feed->others = false;
    if (!f->again)
        return rc;
    if (rc != CM_E_DB || !away) {
        cm_feeds_offer(err);
        return rc;
    }
    feed->away = true;
    feed->state.why = *err;
    *err = (struct cm_error) { 0 };
    return CM_OK;
}

static cm_err connect_one(struct cm_feeds *f, struct feed *feed, struct cm_error *err)
{
    uint64_t from = 0;
    const struct cm_db_wait wait = how_to_wait(f, feed);
    bool away = false;
    cm_err rc = cm_db_open(feed->url, option, &wait, &feed->db, &away, err);

    if (rc == CM_OK) {
        rc = cm_db_has_others(feed->db, f->run_id, f->ca_certificate_id, &feed->others, &from, err);
        away = cm_db_is_away(feed->db);
    }
    return rc == CM_OK ? rc : failed(f, feed, rc, away, err);
}

cm_err cm_feeds_connect(struct cm_feeds *f, const char *run_id, const char *ca_certificate_id, bool again,
                        struct cm_error *err)
{
    if (f == NULL)
        return CM_OK;
    (void) snprintf(f->run_id, sizeof f->run_id, "%s", run_id);
    (void) snprintf(f->ca_certificate_id, sizeof f->ca_certificate_id, "%s", ca_certificate_id);
    f->again = again;
    for (size_t i = 0; i < f->count; i++)
        CM_TRY(connect_one(f, &f->feed[i], err));
    return CM_OK;
}

cm_err cm_feeds_look(struct cm_feeds *f, const char *run_id, const char *ca_certificate_id,
                     struct cm_error *err)
{
    for (size_t i = 0; i < cm_feeds_count(f); i++) {
        struct feed *feed = &f->feed[i];
        const struct cm_db_wait wait = how_to_wait(f, feed);
        CM_TRY(cm_db_look(feed->url, option, &wait, run_id, ca_certificate_id, &feed->found, &feed->db, err));
        feed->others = feed->found.others > 0;
    }
    if (f != NULL) {
        (void) snprintf(f->run_id, sizeof f->run_id, "%s", run_id);
        (void) snprintf(f->ca_certificate_id, sizeof f->ca_certificate_id, "%s", ca_certificate_id);
    }
    return CM_OK;
}

void cm_feeds_print_found(const struct cm_feeds *f)
{
    for (size_t i = 0; i < cm_feeds_count(f); i++) {
        const struct cm_db_found *const found = &f->feed[i].found;
        (void) printf("  database     %s: ", f->feed[i].public);
        if (!found->there)
            (void) printf("is not there, and would be made\n");
        else if (found->version == 0)
            (void) printf("has no tables of certmill's, which would be made\n");
        else
            (void) printf(
                "tables of version %lld, %lld other run%s, %lld under this CA; no id of it is there\n",
                (long long) found->version, (long long) found->runs, found->runs == 1 ? "" : "s",
                (long long) found->others);
    }
}

json_t *cm_feeds_found_json(const struct cm_feeds *f)
{
    json_t *const all = json_array();

    for (size_t i = 0; i < cm_feeds_count(f); i++) {
        const struct cm_db_found *const found = &f->feed[i].found;
        if (json_array_append_new(all, json_pack("{s:s s:b s:I s:I s:I}", "to", f->feed[i].public, "there",
                                                 (int) found->there, "version", (json_int_t) found->version,
                                                 "runs", (json_int_t) found->runs, "runs_of_ca",
                                                 (json_int_t) found->others)) != 0) {
            json_decref(all);
            return NULL;
        }
    }
    return all;
}

cm_err cm_feeds_checked(struct cm_feeds *f, struct cm_error *err)
{
    for (size_t i = 0; i < cm_feeds_count(f); i++) {
        struct feed *feed = &f->feed[i];
        cm_err rc = CM_OK;
        if (feed->others)
            rc = cm_db_taken(feed->db, f->run_id, f->ca_certificate_id, f->ids, f->added, err);
        if (rc != CM_OK)
            CM_TRY(failed(f, feed, rc, cm_db_is_away(feed->db), err));
    }
    if (f != NULL)
        f->added = 0;
    return CM_OK;
}

cm_err cm_feeds_add(struct cm_feeds *f, struct cm_span id, struct cm_error *err)
{
    if (f == NULL)
        return CM_OK;
    CM_ASSERT(id.len <= CM_ID_MAX);
    memcpy(f->id[f->added], id.data, id.len);
    f->ids[f->added] = cm_span(f->id[f->added], id.len);
    f->added++;
    return f->added == CM_DB_IDS_MAX ? cm_feeds_checked(f, err) : CM_OK;
}

/* --- while the fleet grows ------------------------------------------------------- */

/* Tells once that a database went away, and that it is back. */
static void look(struct cm_feeds *f, struct feed *feed, int ms)
{
    cm_follower_wait(feed->follower, ms, &feed->state);
    const bool away = feed->state.away && !feed->state.ended;
    if (away && !feed->told && !f->quiet)
        cm_msg_note("%s: trying again; the fleet does not wait for it", feed->state.why.what);
    if (!away && feed->told && !f->quiet && !feed->state.ended)
        cm_msg_note("the database %s is back", cm_follower_name(feed->follower));
    feed->told = away;
}

cm_err cm_feeds_start(struct cm_feeds *f, const char *dir, struct cm_error *err)
{
    if (f == NULL)
        return CM_OK;
    (void) snprintf(f->dir, sizeof f->dir, "%s", dir);
    for (size_t i = 0; i < cm_feeds_count(f); i++) {
        struct feed *feed = &f->feed[i];
        const struct cm_follower_conf conf = { .url = feed->url,
                                               .option = option,
                                               .wait = how_to_wait(f, feed),
                                               .patience_ms = f->opts->db_wait * 1000,
                                               .dir = dir,
                                               .db = feed->db,
                                               .away = feed->away ? &feed->state.why : NULL };
        if (feed->db != NULL && cm_db_is_new(feed->db) && !f->quiet)
            cm_msg_note("made the database %s", cm_db_name(feed->db));
        feed->db = NULL;
        CM_TRY(cm_follower_open(&conf, &feed->follower, err));
        cm_follower_upto(feed->follower, cm_follower_committed(feed->follower));
        look(f, feed, 0);
    }
    return CM_OK;
}

void cm_feeds_upto(struct cm_feeds *f, uint64_t manifest_bytes)
{
    for (size_t i = 0; i < cm_feeds_count(f) && f->feed[i].follower != NULL; i++) {
        cm_follower_upto(f->feed[i].follower, manifest_bytes);
        look(f, &f->feed[i], 0);
    }
}

/* --- at the end -------------------------------------------------------------------- */

/* What a person can do about it. */
static void advise(const struct cm_feeds *f, const struct feed *feed)
{
    const char *const name = cm_follower_name(feed->follower);
    const ull rows = (ull) feed->state.at.rows;

    if (feed->state.rc == CM_E_INPUT) /* what is wrong with rows or ids would only be found again */
        cm_msg_note("the fleet in %s is whole, and the database %s has %llu of its rows", f->dir, name, rows);
    else
        cm_msg_note(
            "the fleet in %s is whole, and the database %s has %llu of its rows; `certmill load %s --to %s` "
            "loads the rest",
            f->dir, name, rows, f->dir, feed->public);
}

static cm_err wait_for(struct cm_feeds *f, struct feed *feed, bool stop, struct cm_error *err)
{
    struct cm_progress progress;

    cm_progress_init(&progress, f->quiet, "loaded", 0);
    while (!feed->state.ended) {
        look(f, feed, 100);
        if (cm_signals_arrived != 0 && stop)
            cm_follower_stop(feed->follower);
        else if (cm_signals_arrived != 0)
            cm_follower_give_up(feed->follower);
        cm_progress_update(&progress, feed->state.at.rows, feed->state.at.manifest_bytes);
    }
    cm_progress_clear(&progress);
    if (feed->state.rc == CM_OK)
        return CM_OK;
    *err = feed->state.why;
    if (feed->state.rc == CM_E_CLOSED)
        *err = (struct cm_error) { .code = CM_E_CLOSED, .os = cm_signals_arrived };
    advise(f, feed);
    return feed->state.rc;
}

cm_err cm_feeds_finish(struct cm_feeds *f, bool stop, struct cm_error *err)
{
    cm_err first = CM_OK;

    for (size_t i = 0; i < cm_feeds_count(f); i++)
        if (f->feed[i].follower != NULL)
            cm_follower_end(f->feed[i].follower);
    for (size_t i = 0; i < cm_feeds_count(f); i++) {
        struct cm_error why = { 0 };
        if (f->feed[i].follower == NULL)
            continue;
        const cm_err rc = wait_for(f, &f->feed[i], stop, &why);
        if (rc != CM_OK && first == CM_OK) {
            first = rc;
            *err = why;
        } else if (rc != CM_OK) {
            cm_msg_error(&why);
        }
    }
    return first;
}

static json_t *databases(const struct cm_feeds *f)
{
    json_t *all = json_array();

    for (size_t i = 0; all != NULL && i < cm_feeds_count(f); i++)
        if (json_array_append_new(all, json_pack("{s:s s:I s:I}", "to", f->feed[i].public, "rows",
                                                 (json_int_t) f->feed[i].state.at.rows, "loaded",
                                                 (json_int_t) f->feed[i].state.loaded)) != 0) {
            json_decref(all);
            all = NULL;
        }
    return all;
}

json_t *cm_feeds_tell(const struct cm_feeds *f, json_t *all)
{
    if (all == NULL || cm_feeds_count(f) == 0 || json_object_set_new(all, "databases", databases(f)) == 0)
        return all;
    json_decref(all);
    return NULL;
}

void cm_feeds_print(const struct cm_feeds *f)
{
    for (size_t i = 0; i < cm_feeds_count(f); i++) {
        const struct cm_follower_state *const s = &f->feed[i].state;
        if (f->feed[i].follower != NULL)
            (void) printf("  %s: %llu row%s loaded, %llu %s there\n", cm_follower_name(f->feed[i].follower),
                          (ull) s->loaded, s->loaded == 1 ? "" : "s", (ull) (s->at.rows - s->loaded),
                          s->at.rows - s->loaded == 1 ? "was" : "were");
    }
}

void cm_feeds_close(struct cm_feeds *f)
{
    for (size_t i = 0; i < cm_feeds_count(f); i++) {
        cm_follower_close(f->feed[i].follower);
        cm_db_close(f->feed[i].db);
    }
    free(f);
}
