#include "io/db_impl.h"

static const struct cm_db_ops *const kinds[CM_DB_KINDS] = {
    [CM_DB_SQLITE] = &cm_db_sqlite_ops,
    [CM_DB_POSTGRESQL] = &cm_db_pg_ops,
};

cm_err cm_db_open(const char *url, const char *option, const struct cm_db_wait *wait, struct cm_db **out,
                  bool *away, struct cm_error *err)
{
    enum cm_db_kind kind = CM_DB_SQLITE;

    *away = false;
    CM_TRY(cm_db_url_kind(url, option, &kind, err));
    return kinds[kind]->open(url, option, wait, out, away, err);
}

/* A rollback may wipe out what the kind knows of it. */
static cm_err noted(struct cm_db *d, cm_err rc)
{
    d->away = rc == CM_E_DB && d->ops->is_away(d);
    d->doubled = rc == CM_E_DB && d->ops->is_doubled(d);
    return rc;
}

static cm_err look_around(struct cm_db *d, const char *run_id, const char *ca_certificate_id,
                          struct cm_db_found *found, struct cm_error *err)
{
    struct cm_db_look look = { 0 };

    CM_TRY(noted(d, d->ops->look(d, run_id, ca_certificate_id, &look, err)));
    found->runs = look.runs;
    found->others = look.others;
    return CM_OK;
}

cm_err cm_db_look(const char *url, const char *option, const struct cm_db_wait *wait, const char *run_id,
                  const char *ca_certificate_id, struct cm_db_found *found, struct cm_db **out,
                  struct cm_error *err)
{
    enum cm_db_kind kind = CM_DB_SQLITE;
    struct cm_db *d = NULL;
    bool away = false;

    *out = NULL;
    *found = (struct cm_db_found) { 0 };
    CM_TRY(cm_db_url_kind(url, option, &kind, err));
    CM_TRY(kinds[kind]->peek(url, option, wait, found, err));
    if (found->version != CM_DB_VERSION)
        return CM_OK;
    CM_TRY(cm_db_open(url, option, wait, &d, &away, err)); /* which has nothing to make */
    const cm_err rc = look_around(d, run_id, ca_certificate_id, found, err);
    if (rc != CM_OK)
        cm_db_close(d);
    else
        *out = d;
    return rc;
}

void cm_db_wait_with(struct cm_db *d, const struct cm_db_wait *wait)
{
    d->ops->wait_with(d, wait);
}

void cm_db_close(struct cm_db *d)
{
    if (d == NULL)
        return;
    cm_db_rollback(d);
    d->ops->close(d);
}

bool cm_db_is_new(const struct cm_db *d)
{
    return d->is_new;
}

const char *cm_db_name(const struct cm_db *d)
{
    return d->name;
}

bool cm_db_is_away(const struct cm_db *d)
{
    return d->away;
}

bool cm_db_is_doubled(const struct cm_db *d)
{
    return d->doubled;
}

cm_err cm_db_enter(struct cm_db *d, const struct cm_db_run *run, struct cm_error *err)
{
    struct cm_db_look look = { 0 };

    CM_ASSERT(!d->loading);
    CM_TRY(noted(d, d->ops->enter(d, run, err)));
    CM_ASSERT(d->run_no > 0);
    CM_TRY(noted(d, d->ops->look(d, run->run_id, run->ca_certificate_id, &look, err)));
    /* Rows of two runs need the indexes, which keep ids and certificates apart. */
    return look.runs > 0 && !look.indexed ? cm_db_index(d, err) : CM_OK;
}

cm_err cm_db_has_others(struct cm_db *d, const char *run_id, const char *ca_certificate_id, bool *out,
                        uint64_t *from, struct cm_error *err)
{
    struct cm_db_look look = { 0 };

    CM_ASSERT(!d->loading);
    CM_TRY(noted(d, d->ops->look(d, run_id, ca_certificate_id, &look, err)));
    *out = look.others > 0;
    *from = (uint64_t) look.manifest_bytes;
    return look.others > 0 && !look.indexed ? cm_db_index(d, err) : CM_OK;
}

cm_err cm_db_has(struct cm_db *d, struct cm_span certificate_id, bool *out, struct cm_error *err)
{
    CM_ASSERT(!d->loading);
    return noted(d, d->ops->has(d, certificate_id, out, err));
}

cm_err cm_db_taken(struct cm_db *d, const char *run_id, const char *ca_certificate_id,
                   const struct cm_span *id, size_t ids, struct cm_error *err)
{
    struct cm_db_holder holder = { 0 };

    CM_ASSERT(!d->loading && ids <= CM_DB_IDS_MAX);
    const cm_err rc = noted(d, d->ops->taken(d, run_id, ca_certificate_id, id, ids, &holder, err));
    if (rc == CM_E_END)
        return CM_OK;
    CM_TRY(rc);
    CM_FAIL(err, CM_E_INPUT,
            "the database %.80s has device id %s already, of run %s under the same CA: choose other ids or "
            "another database",
            d->name, holder.device_id, holder.run_id);
}

cm_err cm_db_begin(struct cm_db *d, struct cm_db_cursor *at, struct cm_error *err)
{
    CM_ASSERT(!d->loading && d->run_no > 0);
    d->loading = true;
    CM_TRY(noted(d, d->ops->begin(d, &d->at, err)));
    *at = d->at;
    return CM_OK;
}

cm_err cm_db_supersede(struct cm_db *d, const struct cm_db_successor *next, size_t count,
                       struct cm_error *err)
{
    size_t changed = 0;

    CM_ASSERT(d->loading);
    CM_TRY(noted(d, d->ops->supersede(d, next, count, &changed, err)));
    if (changed != count)
        CM_FAIL(
            err, CM_E_INPUT,
            "the database %.80s lacks rows that this run has put there: %zu devices were minted again, and "
            "%zu of them are there: somebody removed rows; restore it from a backup",
            d->name, count, changed);
    return CM_OK;
}

cm_err cm_db_put(struct cm_db *d, const struct cm_db_row *row, struct cm_error *err)
{
    CM_ASSERT(d->loading);
    return noted(d, d->ops->put(d, row, err));
}

cm_err cm_db_commit(struct cm_db *d, const struct cm_db_cursor *to, struct cm_error *err)
{
    CM_ASSERT(d->loading && to->manifest_bytes > d->at.manifest_bytes && to->rows > d->at.rows);
    CM_TRY(noted(d, d->ops->commit(d, to, err)));
    d->loading = false;
    return CM_OK;
}

void cm_db_rollback(struct cm_db *d)
{
    if (d->loading)
        d->ops->rollback(d);
    d->loading = false;
}

cm_err cm_db_index(struct cm_db *d, struct cm_error *err)
{
    CM_ASSERT(!d->loading);
    return noted(d, d->ops->index(d, err));
}
