#include "rehearsal/registry_impl.h"

#include <stdlib.h>

static const struct {
    const char *arn, *text;
} kinds[] = {
    [CM_REG_TYPE] = { "thingtype", "Thing type" },
    [CM_REG_GROUP] = { "thinggroup", "Thing group" },
    [CM_REG_BILLING] = { "billinggroup", "Billing group" },
};

const char *cm_reg_kind_name(enum cm_reg_kind kind)
{
    return kinds[kind].arn;
}

void cm_reg_named_done(struct cm_reg_named *named)
{
    free(named->properties);
    *named = (struct cm_reg_named) { 0 };
}

static cm_err not_found(enum cm_reg_kind kind, const char *name, struct cm_svc_error *no)
{
    CM_REFUSE(no, CM_SVC_NOT_FOUND, "%s %.128s does not exist", kinds[kind].text, name);
}

cm_err cm_reg_named_find(struct cm_registry *r, enum cm_reg_kind kind, const char *name,
                         struct cm_reg_named *out, struct cm_svc_error *no)
{
    struct cm_reg_named named = { 0 };
    sqlite3_stmt *stmt = NULL;
    bool got = false;

    cm_err rc = cm_reg_first(r, &stmt, &got, no,
                             "SELECT name, id, parent, properties, created_ms, deprecated FROM named"
                             " WHERE kind = ?1 AND name = ?2",
                             "tt", kinds[kind].arn, name);
    if (rc == CM_OK && got) {
        cm_reg_copy(stmt, 0, named.name, sizeof named.name);
        cm_reg_copy(stmt, 1, named.id, sizeof named.id);
        cm_reg_copy(stmt, 2, named.parent, sizeof named.parent);
        named.created_ms = sqlite3_column_int64(stmt, 4);
        named.deprecated = sqlite3_column_int(stmt, 5) != 0;
        rc = cm_reg_text(stmt, 3, &named.properties, no);
    }
    (void) sqlite3_finalize(stmt);
    if (rc == CM_OK && !got)
        return not_found(kind, name, no);
    if (rc == CM_OK)
        *out = named;
    return rc;
}

static cm_err check_there(struct cm_registry *r, enum cm_reg_kind kind, const char *name,
                          struct cm_svc_error *no)
{
    int64_t there = 0;

    CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM named WHERE kind = ?1 AND name = ?2", "tt",
                         kinds[kind].arn, name));
    return there != 0 ? CM_OK : not_found(kind, name, no);
}

static cm_err add(struct cm_registry *r, enum cm_reg_kind kind, const char *name, const char *parent,
                  const char *properties, struct cm_svc_error *no)
{
    int64_t there = 0, same = 0;
    char id[37];

    CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM named WHERE kind = ?1 AND name = ?2", "tt",
                         kinds[kind].arn, name));
    CM_TRY(cm_reg_number(
        r, &same, no,
        "SELECT 1 FROM named WHERE kind = ?1 AND name = ?2 AND parent IS ?3 AND properties = ?4", "tttt",
        kinds[kind].arn, name, parent, properties));
    if (same != 0)
        return CM_OK;
    if (there != 0) {
        (void) snprintf(no->resource_id, sizeof no->resource_id, "%s", name);
        CM_ASSERT(cm_registry_arn(r, kinds[kind].arn, name, no->resource_arn, sizeof no->resource_arn));
        CM_REFUSE(no, CM_SVC_EXISTS, "%s %s already exists in current account with different properties",
                  kinds[kind].text, name);
    }
    if (parent != NULL)
        CM_TRY(check_there(r, kind, parent, no));
    CM_TRY(cm_reg_uuid(id, no));
    return cm_reg_do(r, NULL, no,
                     "INSERT INTO named(kind, name, id, parent, properties, created_ms, deprecated)"
                     " VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0)",
                     "tttt"
                     "ti",
                     kinds[kind].arn, name, id, parent, properties, cm_reg_now_ms());
}

cm_err cm_reg_named_add(struct cm_registry *r, enum cm_reg_kind kind, const char *name, const char *parent,
                        const char *properties, struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, add(r, kind, name, parent, properties, no), no);
}

cm_err cm_reg_named_deprecate(struct cm_registry *r, const char *type, bool deprecated,
                              struct cm_svc_error *no)
{
    int64_t changed = 0;

    CM_TRY(cm_reg_do(r, &changed, no,
                     "UPDATE named SET deprecated = ?1 WHERE kind = 'thingtype' AND name = ?2", "it",
                     (int64_t) deprecated, type));
    return changed > 0 ? CM_OK : not_found(CM_REG_TYPE, type, no);
}

static cm_err delete_type(struct cm_registry *r, const char *name, struct cm_svc_error *no)
{
    int64_t deprecated = 0, used = 0;

    CM_TRY(check_there(r, CM_REG_TYPE, name, no));
    CM_TRY(cm_reg_number(r, &deprecated, no,
                         "SELECT deprecated FROM named WHERE kind = 'thingtype' AND name = ?1", "t", name));
    CM_TRY(cm_reg_number(r, &used, no, "SELECT count(*) FROM thing WHERE type = ?1", "t", name));
    if (deprecated == 0)
        CM_REFUSE(no, CM_SVC_INVALID, "Can't delete %.128s: deprecate the thing type first", name);
    if (used > 0)
        CM_REFUSE(no, CM_SVC_INVALID, "Can't delete %.128s: %lld things are of this type", name,
                  (long long) used);
    return cm_reg_do(r, NULL, no, "DELETE FROM named WHERE kind = 'thingtype' AND name = ?1", "t", name);
}

static cm_err delete_group(struct cm_registry *r, enum cm_reg_kind kind, const char *name,
                           struct cm_svc_error *no)
{
    char arn[CM_SVC_ARN];
    int64_t children = 0;

    CM_ASSERT(cm_registry_arn(r, kinds[kind].arn, name, arn, sizeof arn));
    CM_TRY(cm_reg_number(r, &children, no, "SELECT count(*) FROM named WHERE kind = ?1 AND parent = ?2", "tt",
                         kinds[kind].arn, name));
    if (children > 0)
        CM_REFUSE(no, CM_SVC_INVALID,
                  "Cannot delete thing group %.128s when there are still child groups attached", name);
    if (kind == CM_REG_BILLING) {
        CM_TRY(cm_reg_do(r, NULL, no, "UPDATE thing SET billing = NULL WHERE billing = ?1", "t", name));
    } else {
        CM_TRY(cm_reg_do(r, NULL, no, "DELETE FROM member WHERE grp = ?1", "t", name));
        CM_TRY(cm_reg_do(r, NULL, no, "DELETE FROM attachment WHERE target = ?1", "t", arn));
    }
    return cm_reg_do(r, NULL, no, "DELETE FROM named WHERE kind = ?1 AND name = ?2", "tt", kinds[kind].arn,
                     name);
}

cm_err cm_reg_named_delete(struct cm_registry *r, enum cm_reg_kind kind, const char *name,
                           struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, kind == CM_REG_TYPE ? delete_type(r, name, no) : delete_group(r, kind, name, no),
                        no);
}

static cm_err member(struct cm_registry *r, enum cm_reg_kind kind, const char *group, const char *thing,
                     bool in, struct cm_svc_error *no)
{
    int64_t there = 0;

    CM_TRY(check_there(r, kind, group, no));
    CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM thing WHERE name = ?1", "t", thing));
    if (there == 0)
        CM_REFUSE(no, CM_SVC_NOT_FOUND, "Thing %.128s does not exist", thing);
    if (kind == CM_REG_BILLING && in)
        return cm_reg_do(r, NULL, no, "UPDATE thing SET billing = ?1 WHERE name = ?2", "tt", group, thing);
    if (kind == CM_REG_BILLING)
        return cm_reg_do(r, NULL, no, "UPDATE thing SET billing = NULL WHERE billing = ?1 AND name = ?2",
                         "tt", group, thing);
    if (in)
        return cm_reg_do(r, NULL, no, "INSERT OR IGNORE INTO member(grp, thing) VALUES(?1, ?2)", "tt", group,
                         thing);
    return cm_reg_do(r, NULL, no, "DELETE FROM member WHERE grp = ?1 AND thing = ?2", "tt", group, thing);
}

cm_err cm_reg_member_add(struct cm_registry *r, enum cm_reg_kind kind, const char *group, const char *thing,
                         struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, member(r, kind, group, thing, true, no), no);
}

cm_err cm_reg_member_remove(struct cm_registry *r, enum cm_reg_kind kind, const char *group,
                            const char *thing, struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, member(r, kind, group, thing, false, no), no);
}
