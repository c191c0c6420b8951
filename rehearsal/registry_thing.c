#include "rehearsal/registry_impl.h"

#include <stdlib.h>
#include <string.h>

void cm_reg_thing_done(struct cm_reg_thing *thing)
{
    free(thing->attributes);
    *thing = (struct cm_reg_thing) { 0 };
}

static cm_err not_found(const char *name, struct cm_svc_error *no)
{
    CM_REFUSE(no, CM_SVC_NOT_FOUND, "Thing %.128s does not exist", name);
}

cm_err cm_reg_thing_find(struct cm_registry *r, const char *name, struct cm_reg_thing *out,
                         struct cm_svc_error *no)
{
    struct cm_reg_thing thing = { 0 };
    sqlite3_stmt *stmt = NULL;
    bool got = false;

    cm_err rc = cm_reg_first(r, &stmt, &got, no,
                             "SELECT name, type, billing, id, attributes, version FROM thing WHERE name = ?1",
                             "t", name);
    if (rc == CM_OK && got) {
        cm_reg_copy(stmt, 0, thing.name, sizeof thing.name);
        cm_reg_copy(stmt, 1, thing.type, sizeof thing.type);
        cm_reg_copy(stmt, 2, thing.billing_group, sizeof thing.billing_group);
        cm_reg_copy(stmt, 3, thing.id, sizeof thing.id);
        thing.version = sqlite3_column_int64(stmt, 5);
        rc = cm_reg_text(stmt, 4, &thing.attributes, no);
    }
    (void) sqlite3_finalize(stmt);
    if (rc == CM_OK && !got)
        return not_found(name, no);
    if (rc == CM_OK)
        *out = thing;
    return rc;
}

/* A type takes new things until it is deprecated. */
static cm_err check_type(struct cm_registry *r, const char *type, struct cm_svc_error *no)
{
    struct cm_reg_named named = { 0 };

    if (type == NULL || type[0] == '\0')
        return CM_OK;
    CM_TRY(cm_reg_named_find(r, CM_REG_TYPE, type, &named, no));
    const bool deprecated = named.deprecated;
    cm_reg_named_done(&named);
    if (deprecated)
        CM_REFUSE(no, CM_SVC_INVALID, "Can not assign deprecated thing type: %.128s", type);
    return CM_OK;
}

static cm_err check_billing(struct cm_registry *r, const char *group, struct cm_svc_error *no)
{
    struct cm_reg_named named = { 0 };

    if (group == NULL || group[0] == '\0')
        return CM_OK;
    CM_TRY(cm_reg_named_find(r, CM_REG_BILLING, group, &named, no));
    cm_reg_named_done(&named);
    return CM_OK;
}

/* An unset member and "" are the same. */
static const char *or_null(const char *text)
{
    return text != NULL && text[0] != '\0' ? text : NULL;
}

static cm_err insert(struct cm_registry *r, const struct cm_reg_thing_new *t, struct cm_svc_error *no)
{
    char id[37];

    CM_TRY(check_type(r, t->type, no));
    CM_TRY(check_billing(r, t->billing_group, no));
    CM_TRY(cm_reg_uuid(id, no));
    return cm_reg_do(
        r, NULL, no,
        "INSERT INTO thing(name, id, type, billing, attributes, version) VALUES(?1, ?2, ?3, ?4, ?5, 1)",
        "ttttt", t->name, id, or_null(t->type), or_null(t->billing_group),
        t->attributes != NULL ? t->attributes : "{}");
}

static cm_err add(struct cm_registry *r, const struct cm_reg_thing_new *t, struct cm_svc_error *no)
{
    int64_t there = 0, same = 0;

    CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM thing WHERE name = ?1", "t", t->name));
    if (there == 0)
        return insert(r, t, no);
    CM_TRY(cm_reg_number(
        r, &same, no,
        "SELECT 1 FROM thing WHERE name = ?1 AND type IS ?2 AND billing IS ?3 AND attributes = ?4", "tttt",
        t->name, or_null(t->type), or_null(t->billing_group), t->attributes != NULL ? t->attributes : "{}"));
    if (same != 0)
        return CM_OK;
    (void) snprintf(no->resource_id, sizeof no->resource_id, "%s", t->name);
    CM_ASSERT(cm_registry_arn(r, "thing", t->name, no->resource_arn, sizeof no->resource_arn));
    CM_REFUSE(no, CM_SVC_EXISTS, "Thing %s already exists in account with different attributes", t->name);
}

cm_err cm_reg_thing_add(struct cm_registry *r, const struct cm_reg_thing_new *thing, struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, add(r, thing, no), no);
}

static cm_err check_version(struct cm_registry *r, const char *name, int64_t version, struct cm_svc_error *no)
{
    int64_t has = 0;

    CM_TRY(cm_reg_number(r, &has, no, "SELECT version FROM thing WHERE name = ?1", "t", name));
    if (has == 0)
        return not_found(name, no);
    if (version != 0 && version != has)
        CM_REFUSE(no, CM_SVC_VERSION_CONFLICT,
                  "The version for thing %.128s does not match the expected version.", name);
    return CM_OK;
}

static cm_err update(struct cm_registry *r, const struct cm_reg_thing_new *t, int64_t version,
                     struct cm_svc_error *no)
{
    CM_TRY(check_version(r, t->name, version, no));
    CM_TRY(check_type(r, t->type, no));
    CM_TRY(check_billing(r, t->billing_group, no));
    return cm_reg_do(r, NULL, no,
                     "UPDATE thing SET type = nullif(coalesce(?1, type), ''),"
                     " billing = nullif(coalesce(?2, billing), ''), attributes = coalesce(?3, attributes),"
                     " version = version + 1 WHERE name = ?4",
                     "tttt", t->type, t->billing_group, t->attributes, t->name);
}

cm_err cm_reg_thing_update(struct cm_registry *r, const struct cm_reg_thing_new *thing, int64_t version,
                           struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, update(r, thing, version, no), no);
}

static cm_err delete_it(struct cm_registry *r, const char *name, int64_t version, struct cm_svc_error *no)
{
    int64_t there = 0, attached = 0;

    CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM thing WHERE name = ?1", "t", name));
    if (there == 0) /* which the service takes for done */
        return CM_OK;
    CM_TRY(check_version(r, name, version, no));
    CM_TRY(
        cm_reg_number(r, &attached, no, "SELECT count(*) FROM thing_principal WHERE thing = ?1", "t", name));
    if (attached > 0)
        CM_REFUSE(no, CM_SVC_INVALID,
                  "Cannot delete. Thing %.128s is still attached to one or more principals", name);
    CM_TRY(cm_reg_do(r, NULL, no, "DELETE FROM member WHERE thing = ?1", "t", name));
    return cm_reg_do(r, NULL, no, "DELETE FROM thing WHERE name = ?1", "t", name);
}

cm_err cm_reg_thing_delete(struct cm_registry *r, const char *name, int64_t version, struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, delete_it(r, name, version, no), no);
}

static cm_err attach(struct cm_registry *r, const char *name, const char *principal, struct cm_svc_error *no)
{
    const char *const cert = cm_registry_arn_name(r, "cert", principal);
    int64_t there = 0;

    CM_TRY(check_version(r, name, 0, no));
    if (cert == NULL)
        CM_REFUSE(no, CM_SVC_INVALID,
                  "Invalid principal %.200s: a certificate's ARN of this account and region "
                  "belongs there",
                  principal);
    CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM certificate WHERE id = ?1", "t", cert));
    if (there == 0)
        CM_REFUSE(no, CM_SVC_NOT_FOUND, "The certificate given in the principal does not exist: %.64s", cert);
    return cm_reg_do(r, NULL, no, "INSERT OR IGNORE INTO thing_principal(thing, principal) VALUES(?1, ?2)",
                     "tt", name, principal);
}

cm_err cm_reg_thing_attach(struct cm_registry *r, const char *name, const char *principal,
                           struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, attach(r, name, principal, no), no);
}

static cm_err detach(struct cm_registry *r, const char *name, const char *principal, struct cm_svc_error *no)
{
    CM_TRY(check_version(r, name, 0, no));
    return cm_reg_do(r, NULL, no, "DELETE FROM thing_principal WHERE thing = ?1 AND principal = ?2", "tt",
                     name, principal);
}

cm_err cm_reg_thing_detach(struct cm_registry *r, const char *name, const char *principal,
                           struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, detach(r, name, principal, no), no);
}

cm_err cm_reg_thing_attached(struct cm_registry *r, const char *name, const char *principal, bool *out,
                             struct cm_svc_error *no)
{
    int64_t there = 0;

    CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM thing_principal WHERE thing = ?1 AND principal = ?2",
                         "tt", name, principal));
    *out = there != 0;
    return CM_OK;
}
