#include "rehearsal/function.h"

#include "engine/ident.h"
#include "engine/ossl.h"
#include "io/awslimits.h"
#include "io/jsonread.h"
#include "rehearsal/operation.h"

#include <openssl/pem.h>

enum { PATH_ROOM = 512 };

struct cm_function {
    struct cm_function_conf conf;
    struct cm_operations service;
};

struct call {
    const char *method, *front, *name, *back; /* the path: front, the name percent-encoded, back */
    const char *query, *principal, *body;     /* NULL: none */
    bool may_exist;                           /* ResourceAlreadyExistsException is no failure */
};

/* *out (NULL: not wanted): the answer, the caller's to drop. */
static cm_err call(struct cm_function *f, const struct call *c, json_t **out, struct cm_error *err)
{
    const struct cm_sigv4_header header = { "x-amzn-principal", c->principal };
    char path[PATH_ROOM];
    struct cm_writer w = cm_writer(path, sizeof path - 1);
    struct cm_op_answer a = { 0 };

    cm_put_str(&w, c->front);
    cm_put_id_name(&w, cm_span_str(c->name));
    cm_put_str(&w, c->back);
    CM_ASSERT(cm_writer_ok(&w));
    path[w.len] = '\0';
    const struct cm_sigv4_request request = { .method = c->method,
                                              .path = path,
                                              .query = c->query,
                                              .header = &header,
                                              .headers = c->principal != NULL,
                                              .body =
                                                  cm_span(c->body, c->body != NULL ? strlen(c->body) : 0) };
    CM_TRY(cm_operations_accepted(&f->service, &request, &a, err));
    cm_err rc = CM_OK;
    if (a.error != NULL && !(c->may_exist && strcmp(a.error, cm_svc_name(CM_SVC_EXISTS)) == 0))
        rc = cm_fail(err, CM_E_INPUT, CM_HERE, "%s %s: %s: %.200s", c->method, path, a.error,
                     a.failed != CM_OK ? a.why.what : a.body);
    if (rc == CM_OK && out != NULL)
        rc = cm_json_read(cm_span(a.body, a.len), out, NULL, err);
    free(a.body);
    return rc;
}

/* ---- The steps */

struct described {
    json_t *root; /* owns the texts */
    const char *status, *arn, *pem;
};

static cm_err describe(struct cm_function *f, const char *certificate_id, struct described *d,
                       struct cm_error *err)
{
    const struct call get = {
        .method = "GET", .front = "/certificates/", .name = certificate_id, .back = ""
    };

    CM_TRY(call(f, &get, &d->root, err));
    if (json_unpack(d->root, "{s:{s:s, s:s, s:s}}", "certificateDescription", "status", &d->status,
                    "certificateArn", &d->arn, "certificatePem", &d->pem) != 0)
        CM_FAIL(err, CM_E_INPUT, "DescribeCertificate %.64s: its answer has no status, ARN or PEM",
                certificate_id);
    return CM_OK;
}

static cm_err set_status(struct cm_function *f, const char *certificate_id, const char *query,
                         struct cm_error *err)
{
    const struct call put = {
        .method = "PUT", .front = "/certificates/", .name = certificate_id, .back = "", .query = query
    };

    return call(f, &put, NULL, err);
}

/* Does the thing have another certificate, of the device's before or of somebody else? */
static cm_err look_for_another(struct cm_function *f, const char *thing, const char *arn, char other[65],
                               struct cm_error *err)
{
    const struct call get = { .method = "GET", .front = "/things/", .name = thing, .back = "/principals" };
    json_t *root = NULL;
    const json_t *item = NULL;
    size_t i = 0;

    CM_TRY(call(f, &get, &root, err));
    json_array_foreach(json_object_get(root, "principals"), i, item)
    {
        const char *const text = json_string_value(item);
        const char *const slash = text != NULL ? strrchr(text, '/') : NULL;
        if (slash != NULL && strcmp(text, arn) != 0)
            (void) snprintf(other, 65, "%.64s", slash + 1);
    }
    json_decref(root);
    return CM_OK;
}

static cm_err make_thing(struct cm_function *f, const char *arn, struct cm_function_result *r,
                         struct cm_error *err)
{
    const struct call create = { .method = "POST",
                                 .front = "/things/",
                                 .name = r->device_id,
                                 .back = "",
                                 .body = "{}",
                                 .may_exist = true };
    const struct call attach = {
        .method = "PUT", .front = "/things/", .name = r->device_id, .back = "/principals", .principal = arn
    };

    if (!cm_aws_thing_name(r->device_id))
        return CM_OK; /* the certificate gets its policy only, as the kit's function does it */
    CM_TRY(call(f, &create, NULL, err));
    CM_TRY(call(f, &attach, NULL, err));
    return look_for_another(f, r->device_id, arn, r->other, err);
}

static cm_err attach_policy(struct cm_function *f, const char *arn, struct cm_error *err)
{
    char body[200];

    (void) snprintf(body, sizeof body, "{\"target\":\"%.150s\"}", arn);
    return call(
        f,
        &(struct call) {
            .method = "PUT", .front = "/target-policies/", .name = f->conf.policy, .back = "", .body = body },
        NULL, err);
}

static cm_err activate(struct cm_function *f, const char *certificate_id, const char *arn, size_t number,
                       struct cm_function_result *r, struct cm_error *err)
{
    CM_TRY(cm_allow_device(f->conf.allow, number, r->device_id, err));
    CM_TRY(make_thing(f, arn, r, err));
    CM_TRY(attach_policy(f, arn, err));
    r->done = CM_FUNCTION_ACTIVATED;
    return set_status(f, certificate_id, "newStatus=ACTIVE", err);
}

static cm_err deny(struct cm_function *f, const char *certificate_id, const char *pem,
                   struct cm_function_result *r, struct cm_error *err)
{
    CM_AUTO(BIO) bio = BIO_new_mem_buf(pem, -1);
    CM_AUTO(X509) x509 = bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;

    if (x509 == NULL)
        CM_FAIL(err, CM_E_CRYPTO, "can't read the certificate %.64s", certificate_id);
    const ASN1_INTEGER *const serial = X509_get0_serialNumber(x509);
    CM_TRY(set_status(f, certificate_id, "newStatus=INACTIVE", err));
    r->done = CM_FUNCTION_DENIED;
    return cm_allow_explain(f->conf.allow, certificate_id, cm_span(serial->data, (size_t) serial->length),
                            &r->standing, r->device_id, err);
}

cm_err cm_function_handle(struct cm_function *f, const char *certificate_id, const char *ca_id,
                          struct cm_function_result *out, struct cm_error *err)
{
    struct cm_function_result r = { 0 };
    struct described d = { 0 };
    size_t number = 0;
    cm_err rc = describe(f, certificate_id, &d, err);

    if (rc == CM_OK && strcmp(d.status, "PENDING_ACTIVATION") == 0) {
        const bool allowed =
            strcmp(ca_id, f->conf.ca_id) == 0 && cm_allow_find(f->conf.allow, certificate_id, &number);
        rc = allowed ? activate(f, certificate_id, d.arn, number, &r, err)
                     : deny(f, certificate_id, d.pem, &r, err);
    }
    json_decref(d.root);
    if (rc == CM_OK)
        *out = r;
    return rc;
}

cm_err cm_function_open(const struct cm_function_conf *conf, struct cm_function **out, struct cm_error *err)
{
    struct cm_function *f = calloc(1, sizeof *f);

    if (f == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the rule's function");
    f->conf = *conf;
    const cm_err rc = cm_registry_open(conf->registry, NULL, &f->service.registry, err);
    if (rc != CM_OK)
        cm_function_close(f);
    else
        *out = f;
    return rc;
}

void cm_function_close(struct cm_function *f)
{
    if (f == NULL)
        return;
    cm_registry_close(f->service.registry);
    free(f);
}
