#include "rehearsal/registry_impl.h"

#include <stdlib.h>
#include <string.h>

static const char *const status_names[CM_REG_STATUS_COUNT] = {
    [CM_REG_ACTIVE] = "ACTIVE",
    [CM_REG_INACTIVE] = "INACTIVE",
    [CM_REG_REVOKED] = "REVOKED",
    [CM_REG_PENDING_TRANSFER] = "PENDING_TRANSFER",
    [CM_REG_PENDING_ACTIVATION] = "PENDING_ACTIVATION",
};

const char *cm_reg_status_name(enum cm_reg_status status)
{
    return status_names[status];
}

bool cm_reg_status_find(const char *name, enum cm_reg_status *out)
{
    for (size_t i = 0; i < CM_COUNT(status_names); i++)
        if (strcmp(name, status_names[i]) == 0) {
            *out = (enum cm_reg_status) i;
            return true;
        }
    return false;
}

void cm_reg_cert_done(struct cm_reg_cert *cert)
{
    free(cert->pem);
    *cert = (struct cm_reg_cert) { 0 };
}

static cm_err not_found(const char *id, struct cm_svc_error *no)
{
    CM_REFUSE(no, CM_SVC_NOT_FOUND, "The certificate %.64s is not registered", id);
}

static cm_err insert(struct cm_registry *r, const struct cm_reg_cert_new *cert, enum cm_reg_status status,
                     int64_t now, struct cm_svc_error *no)
{
    return cm_reg_do(r, NULL, no,
                     "INSERT INTO certificate(id, ca_id, pem, status, sni_only, created_ms, modified_ms)"
                     " VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?6)",
                     "ttttii", cert->id, cert->ca_id, cert->pem, status_names[status],
                     (int64_t) cert->sni_only, now);
}

static cm_err add(struct cm_registry *r, const struct cm_reg_cert_new *cert, struct cm_svc_error *no)
{
    int64_t there = 0;

    CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM certificate WHERE id = ?1", "t", cert->id));
    if (there != 0) {
        (void) snprintf(no->resource_id, sizeof no->resource_id, "%s", cert->id);
        CM_ASSERT(cm_registry_arn(r, "cert", cert->id, no->resource_arn, sizeof no->resource_arn));
        CM_REFUSE(no, CM_SVC_EXISTS, "The certificate is already provisioned or registered");
    }
    return insert(r, cert, cert->status, cm_reg_now_ms(), no);
}

cm_err cm_reg_cert_add(struct cm_registry *r, const struct cm_reg_cert_new *cert, struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, add(r, cert, no), no);
}

static cm_err read_row(struct cm_registry *r, sqlite3_stmt *stmt, struct cm_reg_cert *out,
                       struct cm_svc_error *no)
{
    const char *const status = (const char *) sqlite3_column_text(stmt, 3);

    cm_reg_copy(stmt, 0, out->id, sizeof out->id);
    CM_ASSERT(cm_registry_arn(r, "cert", out->id, out->arn, sizeof out->arn));
    cm_reg_copy(stmt, 1, out->ca_id, sizeof out->ca_id);
    if (status == NULL || !cm_reg_status_find(status, &out->status))
        return cm_sqlite_damaged(&r->sqlite, "a certificate has no status that there is", &no->base);
    out->sni_only = sqlite3_column_int(stmt, 4) != 0;
    out->created_ms = sqlite3_column_int64(stmt, 5);
    out->modified_ms = sqlite3_column_int64(stmt, 6);
    return cm_reg_text(stmt, 2, &out->pem, no);
}

cm_err cm_reg_cert_find(struct cm_registry *r, const char *id, struct cm_reg_cert *out,
                        struct cm_svc_error *no)
{
    struct cm_reg_cert cert = { 0 };
    sqlite3_stmt *stmt = NULL;
    bool got = false;

    cm_err rc =
        cm_reg_first(r, &stmt, &got, no,
                     "SELECT id, ca_id, pem, status, sni_only, created_ms, modified_ms FROM certificate"
                     " WHERE id = ?1",
                     "t", id);
    if (rc == CM_OK)
        rc = got ? read_row(r, stmt, &cert, no) : not_found(id, no);
    (void) sqlite3_finalize(stmt);
    if (rc == CM_OK)
        *out = cert;
    return rc;
}

cm_err cm_reg_cert_set_status(struct cm_registry *r, const char *id, enum cm_reg_status status,
                              struct cm_svc_error *no)
{
    int64_t changed = 0;

    CM_TRY(cm_reg_do(r, &changed, no, "UPDATE certificate SET status = ?1, modified_ms = ?2 WHERE id = ?3",
                     "tit", status_names[status], cm_reg_now_ms(), id));
    return changed > 0 ? CM_OK : not_found(id, no);
}

static cm_err delete_it(struct cm_registry *r, const char *id, bool force, struct cm_svc_error *no)
{
    struct cm_reg_cert cert = { 0 };
    int64_t policies = 0, things = 0;

    CM_TRY(cm_reg_cert_find(r, id, &cert, no));
    const enum cm_reg_status status = cert.status;
    char arn[CM_SVC_ARN];
    memcpy(arn, cert.arn, sizeof arn);
    cm_reg_cert_done(&cert);
    if (status == CM_REG_ACTIVE)
        CM_REFUSE(no, CM_SVC_STATE, "Certificate must be deactivated (not ACTIVE) before deletion.");
    CM_TRY(cm_reg_number(r, &policies, no, "SELECT count(*) FROM attachment WHERE target = ?1", "t", arn));
    CM_TRY(
        cm_reg_number(r, &things, no, "SELECT count(*) FROM thing_principal WHERE principal = ?1", "t", arn));
    if (things > 0)
        CM_REFUSE(no, CM_SVC_DELETE_CONFLICT, "Things must be detached before deletion (arn: %s)", arn);
    if (policies > 0 && !force)
        CM_REFUSE(no, CM_SVC_DELETE_CONFLICT,
                  "Certificate policies must be detached before deletion (arn: %s)", arn);
    CM_TRY(cm_reg_do(r, NULL, no, "DELETE FROM attachment WHERE target = ?1", "t", arn));
    return cm_reg_do(r, NULL, no, "DELETE FROM certificate WHERE id = ?1", "t", id);
}

cm_err cm_reg_cert_delete(struct cm_registry *r, const char *id, bool force, struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, delete_it(r, id, force, no), no);
}

/* ---- Events */

static cm_err put_event(struct cm_registry *r, const struct cm_reg_cert_new *cert, int64_t registered_ms,
                        int64_t now, struct cm_svc_error *no)
{
    char topic[CM_REG_TOPIC], payload[CM_REG_PAYLOAD];

    (void) snprintf(topic, sizeof topic, "$aws/events/certificates/registered/%s", cert->ca_id);
    (void) snprintf(payload, sizeof payload,
                    "{\"certificateId\":\"%s\",\"caCertificateId\":\"%s\",\"timestamp\":%lld,"
                    "\"certificateStatus\":\"PENDING_ACTIVATION\",\"awsAccountId\":\"%s\","
                    "\"certificateRegistrationTimestamp\":\"%lld\"}",
                    cert->id, cert->ca_id, (long long) now, r->account, (long long) registered_ms);
    return cm_reg_do(r, NULL, no, "INSERT INTO event(topic, payload, certificate_id) VALUES(?1, ?2, ?3)",
                     "ttt", topic, payload, cert->id);
}

static cm_err pending(struct cm_registry *r, const struct cm_reg_cert_new *cert, bool *first,
                      struct cm_svc_error *no)
{
    const int64_t now = cm_reg_now_ms();
    int64_t registered_ms = 0, waits = 0;

    CM_TRY(cm_reg_number(r, &registered_ms, no, "SELECT created_ms FROM certificate WHERE id = ?1", "t",
                         cert->id));
    CM_TRY(cm_reg_number(r, &waits, no, "SELECT status = ?1 FROM certificate WHERE id = ?2", "tt",
                         status_names[CM_REG_PENDING_ACTIVATION], cert->id));
    if (registered_ms != 0 && waits == 0)
        CM_REFUSE(no, CM_SVC_STATE, "The certificate %.64s is not PENDING_ACTIVATION any more", cert->id);
    if (registered_ms == 0)
        CM_TRY(insert(r, cert, CM_REG_PENDING_ACTIVATION, now, no));
    CM_TRY(put_event(r, cert, registered_ms != 0 ? registered_ms : now, now, no));
    *first = registered_ms == 0;
    return CM_OK;
}

cm_err cm_reg_cert_pending(struct cm_registry *r, const struct cm_reg_cert_new *cert, bool *first,
                           struct cm_svc_error *no)
{
    CM_ASSERT(cert->ca_id != NULL);
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, pending(r, cert, first, no), no);
}

cm_err cm_reg_event_next(struct cm_registry *r, int64_t after, struct cm_reg_event *out,
                         struct cm_svc_error *no)
{
    sqlite3_stmt *stmt = NULL;
    bool got = false;

    cm_err rc = cm_reg_first(
        r, &stmt, &got, no,
        "SELECT seq, topic, payload, certificate_id FROM event WHERE sent_ms IS NULL AND seq > ?1"
        " ORDER BY seq LIMIT 1",
        "i", after);
    if (rc == CM_OK && got) {
        out->seq = sqlite3_column_int64(stmt, 0);
        cm_reg_copy(stmt, 1, out->topic, sizeof out->topic);
        cm_reg_copy(stmt, 2, out->payload, sizeof out->payload);
        cm_reg_copy(stmt, 3, out->certificate_id, sizeof out->certificate_id);
    }
    (void) sqlite3_finalize(stmt);
    return rc == CM_OK && !got ? CM_E_END : rc;
}

cm_err cm_reg_event_sent(struct cm_registry *r, int64_t seq, struct cm_svc_error *no)
{
    return cm_reg_do(r, NULL, no, "UPDATE event SET sent_ms = ?1 WHERE seq = ?2", "ii", cm_reg_now_ms(), seq);
}
