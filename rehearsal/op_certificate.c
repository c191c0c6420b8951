#include "rehearsal/op_validity.h"
#include "rehearsal/operation.h"

#include "engine/ossl.h"
#include "io/awslimits.h"
#include "rehearsal/enroll.h"

#include <string.h>
#include <time.h>

static json_t *time_json(const ASN1_TIME *t)
{
    struct tm tm;

    return ASN1_TIME_to_tm(t, &tm) == 1 ? json_integer((json_int_t) timegm(&tm)) : NULL;
}

json_t *cm_op_validity(const char *pem)
{
    CM_AUTO(X509) x509 = NULL;
    struct cm_svc_error no = { 0 };

    if (cm_enroll_read(pem, &x509, &no) != CM_OK)
        return NULL;
    return json_pack("{s:o, s:o}", "notBefore", time_json(X509_get0_notBefore(x509)), "notAfter",
                     time_json(X509_get0_notAfter(x509)));
}

/* ACTIVE and INACTIVE are what one may register with; REVOKED the model allows too. */
static cm_err read_status(const struct cm_op_request *q, enum cm_reg_status none, enum cm_reg_status *out,
                          struct cm_svc_error *no)
{
    const char *text = NULL;

    CM_TRY(cm_op_text(q, "status", 32, &text, no));
    *out = none;
    if (text == NULL)
        return CM_OK;
    if (!cm_reg_status_find(text, out))
        CM_REFUSE(no, CM_SVC_INVALID, "status %.40s is none that there is", text);
    if (*out != CM_REG_ACTIVE && *out != CM_REG_INACTIVE && *out != CM_REG_REVOKED)
        CM_REFUSE(no, CM_SVC_STATE, "A certificate can't be registered with status %s", text);
    return CM_OK;
}

static cm_err give_id(struct cm_op_request *q, const char *id, json_t **out, struct cm_svc_error *no)
{
    char arn[CM_SVC_ARN];

    CM_ASSERT(cm_registry_arn(q->registry, "cert", id, arn, sizeof arn));
    return cm_op_give(json_pack("{s:s, s:s}", "certificateArn", arn, "certificateId", id), out, no);
}

cm_err cm_op_cert_register(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const char *pem = NULL, *ca_pem = NULL;
    enum cm_reg_status status;
    char id[CM_REG_ID];
    bool active = false;

    CM_TRY(cm_op_needed(q, "certificatePem", CM_AWS_PEM_MAX, &pem, no));
    CM_TRY(cm_op_text(q, "caCertificatePem", CM_AWS_PEM_MAX, &ca_pem, no));
    CM_TRY(cm_op_query_flag(q, "setAsActive", &active, no));
    CM_TRY(read_status(q, active ? CM_REG_ACTIVE : CM_REG_INACTIVE, &status, no));
    CM_TRY(cm_enroll_cert(q->registry, pem, ca_pem, status, id, no));
    return give_id(q, id, out, no);
}

cm_err cm_op_cert_register_alone(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    enum cm_reg_status status;
    const char *pem = NULL;
    char id[CM_REG_ID];

    CM_TRY(cm_op_needed(q, "certificatePem", CM_AWS_PEM_MAX, &pem, no));
    CM_TRY(read_status(q, CM_REG_INACTIVE, &status, no));
    CM_TRY(cm_enroll_cert_alone(q->registry, pem, status, id, no));
    return give_id(q, id, out, no);
}

static json_t *cert_json(const struct cm_reg_cert *c, const char *account)
{
    return json_pack("{s:{s:s, s:s, s:s*, s:s, s:s, s:s, s:o, s:o, s:i, s:s, s:o, s:s}}",
                     "certificateDescription", "certificateArn", c->arn, "certificateId", c->id,
                     "caCertificateId", c->ca_id[0] != '\0' ? c->ca_id : NULL, "status",
                     cm_reg_status_name(c->status), "certificatePem", c->pem, "ownedBy", account,
                     "creationDate", cm_op_time(c->created_ms), "lastModifiedDate",
                     cm_op_time(c->modified_ms), "customerVersion", 1, "generationId", c->id, "validity",
                     cm_op_validity(c->pem), "certificateMode", c->sni_only ? "SNI_ONLY" : "DEFAULT");
}

cm_err cm_op_cert_describe(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    struct cm_reg_cert cert = { 0 };
    char id[CM_REG_ID];

    CM_TRY(cm_op_id(q->arg[0], id, no));
    CM_TRY(cm_reg_cert_find(q->registry, id, &cert, no));
    json_t *const made = cert_json(&cert, cm_registry_account(q->registry));
    cm_reg_cert_done(&cert);
    return cm_op_give(made, out, no);
}

cm_err cm_op_cert_update(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const char *const text = cm_op_query(q, "newStatus");
    enum cm_reg_status status;
    char id[CM_REG_ID];

    (void) out;
    CM_TRY(cm_op_id(q->arg[0], id, no));
    if (text == NULL || !cm_reg_status_find(text, &status))
        CM_REFUSE(no, CM_SVC_INVALID, "newStatus must be ACTIVE, INACTIVE or REVOKED");
    if (status == CM_REG_PENDING_ACTIVATION || status == CM_REG_PENDING_TRANSFER)
        CM_REFUSE(no, CM_SVC_INVALID, "newStatus %s is one that only AWS IoT itself sets", text);
    return cm_reg_cert_set_status(q->registry, id, status, no);
}

static json_t *render(const struct cm_op_request *q, const struct cm_reg_item *item)
{
    char arn[CM_SVC_ARN];

    CM_ASSERT(cm_registry_arn(q->registry, "cert", item->name, arn, sizeof arn));
    return json_pack("{s:s, s:s, s:s, s:s, s:o}", "certificateArn", arn, "certificateId", item->name,
                     "status", item->status, "certificateMode", item->more, "creationDate",
                     cm_op_time(item->created_ms));
}

cm_err cm_op_cert_list(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    return cm_op_list(q, CM_REG_LIST_CERTS, NULL, CM_OP_MARKER, "certificates", render, out, no);
}

cm_err cm_op_cert_list_by_ca(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    char id[CM_REG_ID];

    CM_TRY(cm_op_id(q->arg[0], id, no));
    return cm_op_list(q, CM_REG_LIST_CERTS_BY_CA, id, CM_OP_MARKER, "certificates", render, out, no);
}

cm_err cm_op_cert_delete(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    char id[CM_REG_ID];
    bool force = false;

    (void) out;
    CM_TRY(cm_op_id(q->arg[0], id, no));
    CM_TRY(cm_op_query_flag(q, "forceDelete", &force, no));
    return cm_reg_cert_delete(q->registry, id, force, no);
}

cm_err cm_op_endpoint(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const char *const type = cm_op_query(q, "endpointType");

    if (type != NULL && strcmp(type, "iot:Data-ATS") != 0)
        CM_REFUSE(no, CM_SVC_INVALID, "The rehearsal has an endpoint of type iot:Data-ATS, not %.60s", type);
    return cm_op_give(json_pack("{s:s}", "endpointAddress", q->all->data_endpoint), out, no);
}
