#include "io/ledger_impl.h"

#include "engine/ident.h"

#include <unistd.h>

static const struct cm_ledger_ops *const kinds[CM_DB_KINDS] = {
    [CM_DB_SQLITE] = &cm_ledger_sqlite_ops,
    [CM_DB_POSTGRESQL] = &cm_ledger_pg_ops,
};

static const char option[] = "--ledger";

cm_err cm_ledger_public(const char *url, char *out, size_t cap, struct cm_error *err)
{
    return cm_db_url_public(url, option, out, cap, err);
}

cm_err cm_ledger_open(const char *url, unsigned wait_ms, struct cm_ledger **out, struct cm_error *err)
{
    enum cm_db_kind kind = CM_DB_SQLITE;

    CM_TRY(cm_db_url_kind(url, option, &kind, err));
    return kinds[kind]->open(url, wait_ms, out, err);
}

bool cm_ledger_is_new(const struct cm_ledger *l)
{
    return l->is_new;
}

const char *cm_ledger_name(const struct cm_ledger *l)
{
    return l->name;
}

cm_err cm_ledger_check_version(const struct cm_ledger *l, int64_t version, struct cm_error *err)
{
    if (version < 0 || version > CM_LEDGER_VERSION)
        CM_FAIL(err, CM_E_INPUT,
                "the ledger %s has schema version %lld, and this certmill knows them up to %d: use the newer "
                "certmill that made it",
                l->name, (long long) version, CM_LEDGER_VERSION);
    return CM_OK;
}

static void abandon(struct cm_ledger *l)
{
    l->ops->rollback(l);
    l->reserving = false;
}

cm_err cm_ledger_begin(struct cm_ledger *l, const struct cm_ledger_claim *claim, struct cm_error *err)
{
    CM_ASSERT(!l->reserving);
    CM_ASSERT(strlen(claim->ca_certificate_id) == 64 && strlen(claim->run_id) == 36);
    l->claim = *claim;
    l->added = l->held = 0;
    l->named = 0;
    l->full = false;
    l->holders[0] = l->named_run[0] = '\0';
    if (gethostname(l->host, sizeof l->host) != 0)
        l->host[0] = '\0';
    l->host[sizeof l->host - 1] = '\0';
    l->reserving = true;
    const cm_err rc = l->ops->begin(l, err);
    if (rc != CM_OK)
        abandon(l);
    return rc;
}

cm_err cm_ledger_add(struct cm_ledger *l, struct cm_span id, struct cm_error *err)
{
    CM_ASSERT(l->reserving && id.len > 0 && id.len <= CM_ID_MAX);
    l->added++;
    const cm_err rc = l->ops->add(l, id, err);
    if (rc != CM_OK)
        abandon(l);
    return rc;
}

void cm_ledger_note(struct cm_ledger *l, const struct cm_ledger_holder *h)
{
    const size_t used = strlen(l->holders), room = sizeof l->holders - used;
    const bool same = l->named > 0 && strncmp(l->named_run, h->run_id, sizeof l->named_run - 1) == 0;
    char id[48], order[32], host[32];
    int n = 0;

    if (l->full)
        return;
    (void) cm_printable(h->id, id, sizeof id);
    (void) cm_printable(cm_span_str(h->order != NULL ? h->order : ""), order, sizeof order);
    (void) cm_printable(cm_span_str(h->host), host, sizeof host);
    if (same)
        n = snprintf(l->holders + used, room, ", %s", id);
    else
        n = snprintf(l->holders + used, room, "%srun %.36s (%s%s%son %s, since %.20s) holds %s",
                     used > 0 ? "; " : "", h->run_id, h->order != NULL ? "order " : "", order,
                     h->order != NULL ? ", " : "", host, h->since, id);
    if (n < 0 || (size_t) n >= room) { /* what is cut in the middle helps nobody */
        l->holders[used] = '\0';
        l->full = true;
        return;
    }
    (void) snprintf(l->named_run, sizeof l->named_run, "%s", h->run_id);
    l->full = ++l->named == CM_LEDGER_NAMED;
}

cm_err cm_ledger_commit(struct cm_ledger *l, struct cm_error *err)
{
    cm_err rc = CM_OK;

    CM_ASSERT(l->reserving);
    rc = l->ops->settle(l, err);
    if (rc == CM_OK && l->held > 0)
        rc = cm_fail(err, CM_E_INPUT, CM_HERE,
                     "%llu of the %llu device ids are taken in the ledger %.80s: %s%s: choose other ids, or "
                     "resume that run",
                     (unsigned long long) l->held, (unsigned long long) l->added, l->name, l->holders,
                     l->held > l->named ? ", …" : "");
    if (rc == CM_OK)
        rc = l->ops->commit(l, err);
    if (rc != CM_OK) {
        abandon(l);
        return rc;
    }
    l->reserving = false;
    return CM_OK;
}

cm_err cm_ledger_release(struct cm_ledger *l, const char *ca_certificate_id, const char *run_id,
                         struct cm_error *err)
{
    CM_ASSERT(!l->reserving);
    CM_ASSERT(strlen(ca_certificate_id) == 64 && strlen(run_id) == 36);
    return l->ops->release(l, ca_certificate_id, run_id, err);
}

void cm_ledger_close(struct cm_ledger *l)
{
    if (l == NULL)
        return;
    if (l->reserving)
        abandon(l);
    l->ops->close(l);
}
