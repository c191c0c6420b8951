#include "rehearsal/registry_impl.h"

#include <stdlib.h>
#include <string.h>

enum { POLICIES_PER_TARGET = 10 };

void cm_reg_policy_done(struct cm_reg_policy *policy)
{
    free(policy->document);
    *policy = (struct cm_reg_policy) { 0 };
}

static cm_err not_found(const char *name, struct cm_svc_error *no)
{
    CM_REFUSE(no, CM_SVC_NOT_FOUND, "The policy %.128s does not exist", name);
}

static cm_err check_there(struct cm_registry *r, const char *name, struct cm_svc_error *no)
{
    int64_t there = 0;

    CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM policy WHERE name = ?1", "t", name));
    return there != 0 ? CM_OK : not_found(name, no);
}

static cm_err add(struct cm_registry *r, const char *name, const char *document, struct cm_svc_error *no)
{
    int64_t there = 0;

    CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM policy WHERE name = ?1", "t", name));
    if (there != 0) {
        (void) snprintf(no->resource_id, sizeof no->resource_id, "%s", name);
        CM_ASSERT(cm_registry_arn(r, "policy", name, no->resource_arn, sizeof no->resource_arn));
        CM_REFUSE(no, CM_SVC_EXISTS, "Policy cannot be created - name already exists (name=%s)", name);
    }
    return cm_reg_do(r, NULL, no, "INSERT INTO policy(name, document, created_ms) VALUES(?1, ?2, ?3)", "tti",
                     name, document, cm_reg_now_ms());
}

cm_err cm_reg_policy_add(struct cm_registry *r, const char *name, const char *document,
                         struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, add(r, name, document, no), no);
}

cm_err cm_reg_policy_find(struct cm_registry *r, const char *name, struct cm_reg_policy *out,
                          struct cm_svc_error *no)
{
    struct cm_reg_policy policy = { 0 };
    sqlite3_stmt *stmt = NULL;
    bool got = false;

    cm_err rc = cm_reg_first(r, &stmt, &got, no,
                             "SELECT name, document, created_ms FROM policy WHERE name = ?1", "t", name);
    if (rc == CM_OK && got) {
        cm_reg_copy(stmt, 0, policy.name, sizeof policy.name);
        policy.created_ms = sqlite3_column_int64(stmt, 2);
        rc = cm_reg_text(stmt, 1, &policy.document, no);
    }
    (void) sqlite3_finalize(stmt);
    if (rc == CM_OK && !got)
        return not_found(name, no);
    if (rc == CM_OK)
        *out = policy;
    return rc;
}

static cm_err delete_it(struct cm_registry *r, const char *name, struct cm_svc_error *no)
{
    int64_t attached = 0;

    CM_TRY(check_there(r, name, no));
    CM_TRY(cm_reg_number(r, &attached, no, "SELECT count(*) FROM attachment WHERE policy = ?1", "t", name));
    if (attached > 0)
        CM_REFUSE(
            no, CM_SVC_DELETE_CONFLICT,
            "The policy cannot be deleted as the policy is attached to one or more principals (name=%s)",
            name);
    return cm_reg_do(r, NULL, no, "DELETE FROM policy WHERE name = ?1", "t", name);
}

cm_err cm_reg_policy_delete(struct cm_registry *r, const char *name, struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, delete_it(r, name, no), no);
}

static cm_err check_target(struct cm_registry *r, const char *target, struct cm_svc_error *no)
{
    const char *const cert = cm_registry_arn_name(r, "cert", target);
    const char *const group = cm_registry_arn_name(r, "thinggroup", target);
    int64_t there = 0;

    if (cert == NULL && group == NULL)
        CM_REFUSE(no, CM_SVC_INVALID,
                  "Invalid target %.200s: the ARN of a certificate or thing group of this account and region "
                  "belongs "
                  "there",
                  target);
    if (cert != NULL)
        CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM certificate WHERE id = ?1", "t", cert));
    else
        CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM named WHERE kind = 'thinggroup' AND name = ?1",
                             "t", group));
    if (there == 0)
        CM_REFUSE(no, CM_SVC_NOT_FOUND, "The target %.200s does not exist", target);
    return CM_OK;
}

static cm_err attach(struct cm_registry *r, const char *name, const char *target, struct cm_svc_error *no)
{
    int64_t there = 0, count = 0;

    CM_TRY(check_there(r, name, no));
    CM_TRY(check_target(r, target, no));
    CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM attachment WHERE target = ?1 AND policy = ?2", "tt",
                         target, name));
    CM_TRY(cm_reg_number(r, &count, no, "SELECT count(*) FROM attachment WHERE target = ?1", "t", target));
    if (there != 0)
        return CM_OK;
    if (count >= POLICIES_PER_TARGET)
        CM_REFUSE(no, CM_SVC_LIMIT, "At most %d policies can be attached to %.200s", POLICIES_PER_TARGET,
                  target);
    return cm_reg_do(r, NULL, no, "INSERT INTO attachment(policy, target) VALUES(?1, ?2)", "tt", name,
                     target);
}

cm_err cm_reg_policy_attach(struct cm_registry *r, const char *name, const char *target,
                            struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, attach(r, name, target, no), no);
}

static cm_err detach(struct cm_registry *r, const char *name, const char *target, struct cm_svc_error *no)
{
    CM_TRY(check_there(r, name, no));
    return cm_reg_do(r, NULL, no, "DELETE FROM attachment WHERE target = ?1 AND policy = ?2", "tt", target,
                     name);
}

cm_err cm_reg_policy_detach(struct cm_registry *r, const char *name, const char *target,
                            struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, detach(r, name, target, no), no);
}

static cm_err walk(struct cm_registry *r, sqlite3_stmt *stmt, cm_reg_on_policy *on_policy, void *arg,
                   struct cm_svc_error *no)
{
    for (;;) {
        bool got = false;

        CM_TRY(cm_reg_step(r, stmt, &got, no));
        if (!got)
            return CM_OK;
        CM_TRY(on_policy(arg, (const char *) sqlite3_column_text(stmt, 0),
                         (const char *) sqlite3_column_text(stmt, 1)));
    }
}

cm_err cm_reg_policies_of(struct cm_registry *r, const char *principal, const char *thing_name,
                          cm_reg_on_policy *on_policy, void *arg, struct cm_svc_error *no)
{
    sqlite3_stmt *stmt = NULL;
    char groups[CM_SVC_ARN];

    CM_ASSERT(cm_registry_arn(r, "thinggroup", "", groups, sizeof groups));
    CM_TRY(cm_reg_query(r, &stmt, no,
                        "SELECT name, document FROM policy WHERE name IN"
                        " (SELECT policy FROM attachment WHERE target = ?1 OR target IN"
                        " (SELECT ?2 || grp FROM member WHERE thing = ?3)) ORDER BY seq",
                        "ttt", principal, groups, thing_name));
    const cm_err rc = walk(r, stmt, on_policy, arg, no);
    (void) sqlite3_finalize(stmt);
    return rc;
}
