#include "rehearsal/registry_impl.h"

#include "io/awslimits.h"

#include <stdlib.h>
#include <string.h>

#define CA_COLUMNS                                                                                           \
    "id, pem, der, active, auto_registration, sni_only, template_body, role_arn, created_ms, modified_ms"

void cm_reg_ca_done(struct cm_reg_ca *ca)
{
    free(ca->pem);
    free(ca->der);
    free(ca->template_body);
    free(ca->role_arn);
    *ca = (struct cm_reg_ca) { 0 };
}

static cm_err read_row(struct cm_registry *r, sqlite3_stmt *stmt, struct cm_reg_ca *out,
                       struct cm_svc_error *no)
{
    const void *const der = sqlite3_column_blob(stmt, 2);
    const size_t der_len = (size_t) sqlite3_column_bytes(stmt, 2);

    cm_reg_copy(stmt, 0, out->id, sizeof out->id);
    CM_ASSERT(cm_registry_arn(r, "cacert", out->id, out->arn, sizeof out->arn));
    CM_TRY(cm_reg_text(stmt, 1, &out->pem, no));
    out->der = malloc(der_len > 0 ? der_len : 1);
    if (out->der == NULL)
        CM_FAIL(&no->base, CM_E_NOMEM, "out of memory for a CA of the registry");
    if (der_len > 0)
        memcpy(out->der, der, der_len);
    out->der_len = der_len;
    out->active = sqlite3_column_int(stmt, 3) != 0;
    out->auto_registration = sqlite3_column_int(stmt, 4) != 0;
    out->sni_only = sqlite3_column_int(stmt, 5) != 0;
    CM_TRY(cm_reg_text(stmt, 6, &out->template_body, no));
    CM_TRY(cm_reg_text(stmt, 7, &out->role_arn, no));
    out->created_ms = sqlite3_column_int64(stmt, 8);
    out->modified_ms = sqlite3_column_int64(stmt, 9);
    return CM_OK;
}

/* The plugin tells by it when its own files of CAs have to be made again. */
static cm_err count_up(struct cm_registry *r, struct cm_svc_error *no)
{
    return cm_reg_do(r, NULL, no, "UPDATE setting SET value = value + 1 WHERE key = 'cas'", "");
}

cm_err cm_reg_ca_generation(struct cm_registry *r, int64_t *out, struct cm_svc_error *no)
{
    return cm_reg_number(r, out, no, "SELECT value FROM setting WHERE key = 'cas'", "");
}

static cm_err add(struct cm_registry *r, const struct cm_reg_ca_new *ca, struct cm_svc_error *no)
{
    int64_t there = 0, same = 0;
    const int64_t now = cm_reg_now_ms();

    CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM ca WHERE id = ?1", "t", ca->id));
    if (there != 0) {
        (void) snprintf(no->resource_id, sizeof no->resource_id, "%s", ca->id);
        CM_ASSERT(cm_registry_arn(r, "cacert", ca->id, no->resource_arn, sizeof no->resource_arn));
        CM_REFUSE(no, CM_SVC_EXISTS, "The CA certificate is already registered: %s", ca->id);
    }
    CM_TRY(cm_reg_number(r, &same, no, "SELECT count(*) FROM ca WHERE subject = ?1", "b", &ca->subject));
    if (same >= CM_AWS_SAME_SUBJECT_MAX)
        CM_REFUSE(no, CM_SVC_LIMIT, "An account can have at most %d CA certificates with the same subject",
                  CM_AWS_SAME_SUBJECT_MAX);
    CM_TRY(cm_reg_do(
        r, NULL, no,
        "INSERT INTO ca(id, pem, der, subject, active, auto_registration, sni_only, template_body,"
        " role_arn, created_ms, modified_ms) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)",
        "ttbbiiitti", ca->id, ca->pem, &ca->der, &ca->subject, (int64_t) ca->active,
        (int64_t) ca->auto_registration, (int64_t) ca->sni_only, ca->template_body, ca->role_arn, now));
    return count_up(r, no);
}

cm_err cm_reg_ca_add(struct cm_registry *r, const struct cm_reg_ca_new *ca, struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, add(r, ca, no), no);
}

static cm_err not_found(const char *id, struct cm_svc_error *no)
{
    CM_REFUSE(no, CM_SVC_NOT_FOUND, "The CA certificate %.64s is not registered", id);
}

cm_err cm_reg_ca_find(struct cm_registry *r, const char *id, struct cm_reg_ca *out, struct cm_svc_error *no)
{
    struct cm_reg_ca ca = { 0 };
    sqlite3_stmt *stmt = NULL;
    bool got = false;

    cm_err rc = cm_reg_first(r, &stmt, &got, no, "SELECT " CA_COLUMNS " FROM ca WHERE id = ?1", "t", id);
    if (rc == CM_OK)
        rc = got ? read_row(r, stmt, &ca, no) : not_found(id, no);
    (void) sqlite3_finalize(stmt);
    if (rc != CM_OK)
        cm_reg_ca_done(&ca);
    else
        *out = ca;
    return rc;
}

static cm_err walk(struct cm_registry *r, sqlite3_stmt *stmt, cm_reg_on_ca *on_ca, void *arg,
                   struct cm_svc_error *no)
{
    for (;;) {
        struct cm_reg_ca ca = { 0 };
        bool got = false;

        CM_TRY(cm_reg_step(r, stmt, &got, no));
        if (!got)
            return CM_OK;
        cm_err rc = read_row(r, stmt, &ca, no);
        if (rc == CM_OK)
            rc = on_ca(arg, &ca);
        cm_reg_ca_done(&ca);
        CM_TRY(rc);
    }
}

cm_err cm_reg_ca_each(struct cm_registry *r, const struct cm_span *subject, cm_reg_on_ca *on_ca, void *arg,
                      struct cm_svc_error *no)
{
    sqlite3_stmt *stmt = NULL;

    if (subject != NULL)
        CM_TRY(cm_reg_query(r, &stmt, no, "SELECT " CA_COLUMNS " FROM ca WHERE subject = ?1 ORDER BY seq",
                            "b", subject));
    else
        CM_TRY(cm_reg_query(r, &stmt, no, "SELECT " CA_COLUMNS " FROM ca ORDER BY seq", ""));
    const cm_err rc = walk(r, stmt, on_ca, arg, no);
    (void) sqlite3_finalize(stmt);
    return rc;
}

static cm_err turn(struct cm_registry *r, const char *id, const char *sql, enum cm_reg_turn to,
                   struct cm_svc_error *no)
{
    if (to == CM_REG_KEEP)
        return CM_OK;
    return cm_reg_do(r, NULL, no, sql, "it", (int64_t) (to == CM_REG_ON), id);
}

static cm_err update(struct cm_registry *r, const char *id, const struct cm_reg_ca_change *c,
                     struct cm_svc_error *no)
{
    int64_t changed = 0;

    CM_TRY(cm_reg_do(r, &changed, no, "UPDATE ca SET modified_ms = ?1 WHERE id = ?2", "it", cm_reg_now_ms(),
                     id));
    if (changed == 0)
        return not_found(id, no);
    CM_TRY(turn(r, id, "UPDATE ca SET active = ?1 WHERE id = ?2", c->active, no));
    CM_TRY(turn(r, id, "UPDATE ca SET auto_registration = ?1 WHERE id = ?2", c->auto_registration, no));
    if (c->remove_template)
        CM_TRY(cm_reg_do(r, NULL, no, "UPDATE ca SET template_body = NULL, role_arn = NULL WHERE id = ?1",
                         "t", id));
    CM_TRY(cm_reg_do(
        r, NULL, no,
        "UPDATE ca SET template_body = coalesce(?1, template_body), role_arn = coalesce(?2, role_arn)"
        " WHERE id = ?3",
        "ttt", c->template_body, c->role_arn, id));
    return count_up(r, no);
}

cm_err cm_reg_ca_update(struct cm_registry *r, const char *id, const struct cm_reg_ca_change *change,
                        struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, update(r, id, change, no), no);
}

/* The service wants an INACTIVE CA here; its certificates stay. */
static cm_err delete_it(struct cm_registry *r, const char *id, struct cm_svc_error *no)
{
    int64_t there = 0, active = 0;

    CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM ca WHERE id = ?1", "t", id));
    CM_TRY(cm_reg_number(r, &active, no, "SELECT active FROM ca WHERE id = ?1", "t", id));
    if (there == 0)
        return not_found(id, no);
    if (active != 0)
        CM_REFUSE(no, CM_SVC_STATE,
                  "The CA certificate %.64s is ACTIVE; set it INACTIVE before it is deleted", id);
    CM_TRY(cm_reg_do(r, NULL, no, "DELETE FROM ca WHERE id = ?1", "t", id));
    return count_up(r, no);
}

cm_err cm_reg_ca_delete(struct cm_registry *r, const char *id, struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, delete_it(r, id, no), no);
}
