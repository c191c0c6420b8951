#include "rehearsal/operation.h"

#include "io/jsonread.h"
#include "io/jsontext.h"

#include <openssl/crypto.h>
#include <string.h>
#include <time.h>

struct operation {
    const char *name, *method;
    const char *path; /* {}: a part that is an argument */
    cm_op_run *run;
    bool linked;           /* reached by a link that carries a token, not by a signature */
    enum cm_reg_kind kind; /* of op_named.c: what it is about */
};

/* What the API model of AWS IoT calls them. Where two paths fit, the first does it. */
static const struct operation operations[] = {
    { "GetRegistrationCode", "GET", "/registrationcode", cm_op_code_get, false, 0 },
    { "DeleteRegistrationCode", "DELETE", "/registrationcode", cm_op_code_delete, false, 0 },
    { "RegisterCACertificate", "POST", "/cacertificate", cm_op_ca_register, false, 0 },
    { "DescribeCACertificate", "GET", "/cacertificate/{}", cm_op_ca_describe, false, 0 },
    { "UpdateCACertificate", "PUT", "/cacertificate/{}", cm_op_ca_update, false, 0 },
    { "DeleteCACertificate", "DELETE", "/cacertificate/{}", cm_op_ca_delete, false, 0 },
    { "ListCACertificates", "GET", "/cacertificates", cm_op_ca_list, false, 0 },
    { "RegisterCertificate", "POST", "/certificate/register", cm_op_cert_register, false, 0 },
    { "RegisterCertificateWithoutCA", "POST", "/certificate/register-no-ca", cm_op_cert_register_alone, false,
      0 },
    { "ListCertificates", "GET", "/certificates", cm_op_cert_list, false, 0 },
    { "DescribeCertificate", "GET", "/certificates/{}", cm_op_cert_describe, false, 0 },
    { "UpdateCertificate", "PUT", "/certificates/{}", cm_op_cert_update, false, 0 },
    { "DeleteCertificate", "DELETE", "/certificates/{}", cm_op_cert_delete, false, 0 },
    { "ListCertificatesByCA", "GET", "/certificates-by-ca/{}", cm_op_cert_list_by_ca, false, 0 },
    { "DescribeEndpoint", "GET", "/endpoint", cm_op_endpoint, false, 0 },
    { "ListPolicies", "GET", "/policies", cm_op_policy_list, false, 0 },
    { "CreatePolicy", "POST", "/policies/{}", cm_op_policy_create, false, 0 },
    { "GetPolicy", "GET", "/policies/{}", cm_op_policy_get, false, 0 },
    { "DeletePolicy", "DELETE", "/policies/{}", cm_op_policy_delete, false, 0 },
    { "AttachPolicy", "PUT", "/target-policies/{}", cm_op_policy_attach, false, 0 },
    { "DetachPolicy", "POST", "/target-policies/{}", cm_op_policy_detach, false, 0 },
    { "ListAttachedPolicies", "POST", "/attached-policies/{}", cm_op_policy_list_attached, false, 0 },
    { "ListTargetsForPolicy", "POST", "/policy-targets/{}", cm_op_policy_targets, false, 0 },
    { "AttachPrincipalPolicy", "PUT", "/principal-policies/{}", cm_op_policy_attach_principal, false, 0 },
    { "DetachPrincipalPolicy", "DELETE", "/principal-policies/{}", cm_op_policy_detach_principal, false, 0 },
    { "ListThings", "GET", "/things", cm_op_thing_list, false, 0 },
    { "RegisterThing", "POST", "/things", cm_op_thing_register, false, 0 },
    { "CreateThing", "POST", "/things/{}", cm_op_thing_create, false, 0 },
    { "DescribeThing", "GET", "/things/{}", cm_op_thing_describe, false, 0 },
    { "UpdateThing", "PATCH", "/things/{}", cm_op_thing_update, false, 0 },
    { "DeleteThing", "DELETE", "/things/{}", cm_op_thing_delete, false, 0 },
    { "AttachThingPrincipal", "PUT", "/things/{}/principals", cm_op_thing_attach, false, 0 },
    { "DetachThingPrincipal", "DELETE", "/things/{}/principals", cm_op_thing_detach, false, 0 },
    { "ListThingPrincipals", "GET", "/things/{}/principals", cm_op_thing_principals, false, 0 },
    { "ListThingGroupsForThing", "GET", "/things/{}/thing-groups", cm_op_thing_groups, false, 0 },
    { "ListPrincipalThings", "GET", "/principals/things", cm_op_thing_of_principal, false, 0 },
    { "ListThingTypes", "GET", "/thing-types", cm_op_named_list, false, CM_REG_TYPE },
    { "CreateThingType", "POST", "/thing-types/{}", cm_op_named_create, false, CM_REG_TYPE },
    { "DescribeThingType", "GET", "/thing-types/{}", cm_op_named_describe, false, CM_REG_TYPE },
    { "DeprecateThingType", "POST", "/thing-types/{}/deprecate", cm_op_type_deprecate, false, CM_REG_TYPE },
    { "DeleteThingType", "DELETE", "/thing-types/{}", cm_op_named_delete, false, CM_REG_TYPE },
    { "ListThingGroups", "GET", "/thing-groups", cm_op_named_list, false, CM_REG_GROUP },
    { "AddThingToThingGroup", "PUT", "/thing-groups/addThingToThingGroup", cm_op_named_add, false,
      CM_REG_GROUP },
    { "RemoveThingFromThingGroup", "PUT", "/thing-groups/removeThingFromThingGroup", cm_op_named_remove,
      false, CM_REG_GROUP },
    { "CreateThingGroup", "POST", "/thing-groups/{}", cm_op_named_create, false, CM_REG_GROUP },
    { "DescribeThingGroup", "GET", "/thing-groups/{}", cm_op_named_describe, false, CM_REG_GROUP },
    { "DeleteThingGroup", "DELETE", "/thing-groups/{}", cm_op_named_delete, false, CM_REG_GROUP },
    { "ListThingsInThingGroup", "GET", "/thing-groups/{}/things", cm_op_named_things, false, CM_REG_GROUP },
    { "ListBillingGroups", "GET", "/billing-groups", cm_op_named_list, false, CM_REG_BILLING },
    { "AddThingToBillingGroup", "PUT", "/billing-groups/addThingToBillingGroup", cm_op_named_add, false,
      CM_REG_BILLING },
    { "RemoveThingFromBillingGroup", "PUT", "/billing-groups/removeThingFromBillingGroup", cm_op_named_remove,
      false, CM_REG_BILLING },
    { "CreateBillingGroup", "POST", "/billing-groups/{}", cm_op_named_create, false, CM_REG_BILLING },
    { "DescribeBillingGroup", "GET", "/billing-groups/{}", cm_op_named_describe, false, CM_REG_BILLING },
    { "DeleteBillingGroup", "DELETE", "/billing-groups/{}", cm_op_named_delete, false, CM_REG_BILLING },
    { "ListThingsInBillingGroup", "GET", "/billing-groups/{}/things", cm_op_named_things, false,
      CM_REG_BILLING },
    { "ListThingRegistrationTasks", "GET", "/thing-registration-tasks", cm_op_task_list, false, 0 },
    { "StartThingRegistrationTask", "POST", "/thing-registration-tasks", cm_op_task_start, false, 0 },
    { "DescribeThingRegistrationTask", "GET", "/thing-registration-tasks/{}", cm_op_task_describe, false, 0 },
    { "StopThingRegistrationTask", "PUT", "/thing-registration-tasks/{}/cancel", cm_op_task_stop, false, 0 },
    { "ListThingRegistrationTaskReports", "GET", "/thing-registration-tasks/{}/reports", cm_op_task_reports,
      false, 0 },
    { "report", "GET", "/reports/{}/{}/{}", cm_op_task_report, true, 0 },
};

/* ---- Taking a request apart */

static cm_err no_memory(struct cm_svc_error *no)
{
    CM_FAIL(&no->base, CM_E_NOMEM, "out of memory for a request");
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Percent-decoded, malloced. A NUL, or what is no encoding, is refused. */
static cm_err decode(const char *text, size_t len, char **out, struct cm_svc_error *no)
{
    char *const made = malloc(len + 1);
    size_t used = 0;

    if (made == NULL)
        return no_memory(no);
    for (size_t i = 0; i < len; i++) {
        int c = (unsigned char) text[i];
        if (c == '%') {
            const int high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
            const int low = i + 2 < len ? hex_digit(text[i + 2]) : -1;
            c = high < 0 || low < 0 ? 0 : high * 16 + low;
            i += 2;
        }
        if (c == 0) {
            free(made);
            CM_REFUSE(no, CM_SVC_INVALID, "The path or query has a %% that encodes no character");
        }
        made[used++] = (char) c;
    }
    made[used] = '\0';
    *out = made;
    return CM_OK;
}

static cm_err read_query(struct cm_op_request *q, struct cm_svc_error *no)
{
    const char *at = q->raw->query;

    while (at != NULL && *at != '\0') {
        const size_t len = strcspn(at, "&"), name = strcspn(at, "=&");
        if (q->queries == CM_OP_QUERY)
            CM_REFUSE(no, CM_SVC_INVALID, "The query has more than %d parameters", CM_OP_QUERY);
        CM_TRY(decode(at, name, &q->query[q->queries].name, no));
        q->queries++;
        CM_TRY(
            decode(at + name + (name < len), len - name - (name < len), &q->query[q->queries - 1].value, no));
        at += len + (at[len] == '&');
    }
    return CM_OK;
}

static cm_err read_body(struct cm_op_request *q, struct cm_svc_error *no)
{
    json_t *body = NULL;

    if (q->raw->body.len == 0)
        return CM_OK;
    CM_TRY(cm_json_read(q->raw->body, &body, NULL, &no->base));
    if (!json_is_object(body)) {
        json_decref(body);
        CM_REFUSE(no, CM_SVC_INVALID, "The body is no JSON object");
    }
    q->body = body;
    return CM_OK;
}

static void done_request(struct cm_op_request *q)
{
    for (size_t i = 0; i < q->args; i++)
        free(q->arg[i]);
    for (size_t i = 0; i < q->queries; i++) {
        free(q->query[i].name);
        free(q->query[i].value);
    }
    json_decref(q->body);
}

/* Does the path fit the pattern? The parts that are arguments: where they begin. */
static bool fits(const char *pattern, const char *path, const char *part[CM_OP_PATH_ARGS], size_t *parts)
{
    *parts = 0;
    while (*pattern != '\0') {
        if (strncmp(pattern, "{}", 2) == 0) {
            const size_t len = strcspn(path, "/");
            if (len == 0)
                return false;
            part[(*parts)++] = path;
            pattern += 2;
            path += len;
        } else if (*pattern++ != *path++) {
            return false;
        }
    }
    return *path == '\0';
}

static cm_err find(struct cm_op_request *q, const struct operation **out, struct cm_svc_error *no)
{
    const char *part[CM_OP_PATH_ARGS];
    size_t parts = 0;

    for (size_t i = 0; i < CM_COUNT(operations); i++) {
        if (strcmp(operations[i].method, q->raw->method) != 0 ||
            !fits(operations[i].path, q->raw->path, part, &parts))
            continue;
        for (size_t k = 0; k < parts; k++) {
            CM_TRY(decode(part[k], strcspn(part[k], "/"), &q->arg[k], no));
            q->args++;
        }
        *out = &operations[i];
        return CM_OK;
    }
    CM_REFUSE(no, CM_SVC_UNKNOWN_OPERATION, "The rehearsal has no operation for %.10s %.100s", q->raw->method,
              q->raw->path);
}

/* ---- Answering */

static int64_t monotonic_ns(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

static cm_err perform(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const struct operation *op = NULL;

    CM_TRY(find(q, &op, no));
    if (op->linked && (strlen(q->arg[2]) != CM_OP_TOKEN - 1 ||
                       CRYPTO_memcmp(q->arg[2], q->all->token, CM_OP_TOKEN - 1) != 0))
        CM_REFUSE(no, CM_SVC_BAD_SIGNATURE, "The link is not one that was given out");
    if (q->all->limits != NULL && !op->linked)
        CM_TRY(cm_limits_take(q->all->limits, op->name, monotonic_ns(), no));
    CM_TRY(read_query(q, no));
    CM_TRY(read_body(q, no));
    q->kind = op->kind;
    return op->run(q, out, no);
}

/* What a request brought along may be no UTF-8, or be cut in a character. */
static void make_ascii(char *text)
{
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

static json_t *error_json(struct cm_svc_error *no)
{
    make_ascii(no->base.what);
    if (no->kind == CM_SVC_EXISTS && no->resource_id[0] != '\0')
        return json_pack("{s:s, s:s, s:s}", "message", no->base.what, "resourceId", no->resource_id,
                         "resourceArn", no->resource_arn);
    return json_pack("{s:s}", "message", no->kind == CM_SVC_INTERNAL ? "Internal failure" : no->base.what);
}

static cm_err write_answer(json_t *json, struct cm_op_answer *a, struct cm_error *err)
{
    a->is_json = !json_is_string(json);
    if (json_is_string(json)) {
        a->len = json_string_length(json);
        a->body = strdup(json_string_value(json));
    } else if (json != NULL) {
        a->body = cm_json_text(json, JSON_COMPACT, &a->len);
    }
    json_decref(json);
    if (a->body == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for an answer");
    return CM_OK;
}

/* rc, no: of what was judged before. */
static cm_err finish(struct cm_operations *all, const struct cm_sigv4_request *raw, cm_err rc,
                     struct cm_svc_error *no, struct cm_op_answer *out, struct cm_error *err)
{
    struct cm_op_request q = { .all = all, .registry = all->registry, .raw = raw };
    struct cm_op_answer a = { .status = 200 };
    json_t *json = NULL;

    if (rc == CM_OK)
        rc = perform(&q, &json, no);
    if (rc != CM_OK) {
        /* A refusal that was dealt with on the way may have left its kind. */
        if (rc != CM_E_INPUT)
            no->kind = CM_SVC_INTERNAL;
        a.status = cm_svc_status(no->kind);
        a.error = cm_svc_name(no->kind);
        a.failed = no->kind == CM_SVC_INTERNAL ? rc : CM_OK;
        a.why = no->base;
        json = error_json(no);
    } else if (json == NULL) {
        json = json_object();
    }
    done_request(&q);
    CM_TRY(write_answer(json, &a, err));
    *out = a;
    return CM_OK;
}

cm_err cm_operations_accepted(struct cm_operations *all, const struct cm_sigv4_request *raw,
                              struct cm_op_answer *out, struct cm_error *err)
{
    struct cm_svc_error no = { 0 };

    return finish(all, raw, CM_OK, &no, out, err);
}

/* Who is asking comes before what is asked. */
cm_err cm_operations_answer(struct cm_operations *all, const struct cm_sigv4_request *raw, cm_when now,
                            struct cm_op_answer *out, struct cm_error *err)
{
    static const char links[] = "/reports/";
    struct cm_svc_error no = { 0 };
    const bool linked = strncmp(raw->path, links, strlen(links)) == 0;
    const cm_err rc = linked ? CM_OK : cm_sigv4_judge(raw, &all->keys, now, &no);

    return finish(all, raw, rc, &no, out, err);
}
