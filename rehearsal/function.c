#include "rehearsal/function.h"

#include "engine/ossl.h"
#include "io/awslimits.h"

#include <openssl/pem.h>

struct cm_function {
    struct cm_function_conf conf;
    struct cm_caller *service;
};

struct described {
    json_t *root; /* owns the texts */
    const char *status, *arn, *pem;
};

static cm_err describe(struct cm_function *f, const char *certificate_id, struct described *d,
                       struct cm_error *err)
{
    const struct cm_call get = {
        .method = "GET", .front = "/certificates/", .name = certificate_id, .back = ""
    };

    CM_TRY(cm_caller_do(f->service, &get, &d->root, err));
    if (json_unpack(d->root, "{s:{s:s, s:s, s:s}}", "certificateDescription", "status", &d->status,
                    "certificateArn", &d->arn, "certificatePem", &d->pem) != 0)
        CM_FAIL(err, CM_E_INPUT, "DescribeCertificate %.64s: its answer has no status, ARN or PEM",
                certificate_id);
    return CM_OK;
}

static cm_err set_status(struct cm_function *f, const char *certificate_id, const char *query,
                         struct cm_error *err)
{
    const struct cm_call put = {
        .method = "PUT", .front = "/certificates/", .name = certificate_id, .back = "", .query = query
    };

    return cm_caller_do(f->service, &put, NULL, err);
}

/* Does the thing have another certificate, of the device's before or of somebody else? */
static cm_err look_for_another(struct cm_function *f, const char *thing, const char *arn, char other[65],
                               struct cm_error *err)
{
    const struct cm_call get = { .method = "GET", .front = "/things/", .name = thing, .back = "/principals" };
    json_t *root = NULL;
    const json_t *item = NULL;
    size_t i = 0;

    CM_TRY(cm_caller_do(f->service, &get, &root, err));
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
    bool exists = false; /* with attributes of its own: it stays as it is */
    const struct cm_call create = {
        .method = "POST", .front = "/things/", .name = r->device_id, .back = "", .exists = &exists
    };
    const struct cm_call attach = {
        .method = "PUT", .front = "/things/", .name = r->device_id, .back = "/principals", .principal = arn
    };

    if (!cm_aws_thing_name(r->device_id))
        return CM_OK; /* the certificate gets its policy only, as the kit's function does it */
    CM_TRY(cm_caller_do(f->service, &create, NULL, err));
    CM_TRY(cm_caller_do(f->service, &attach, NULL, err));
    return look_for_another(f, r->device_id, arn, r->other, err);
}

static cm_err attach_policy(struct cm_function *f, const char *arn, struct cm_error *err)
{
    json_t *body = json_pack("{s:s}", "target", arn);
    const struct cm_call put = {
        .method = "PUT", .front = "/target-policies/", .name = f->conf.policy, .back = "", .body = body
    };

    if (body == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for AttachPolicy");
    const cm_err rc = cm_caller_do(f->service, &put, NULL, err);
    json_decref(body);
    return rc;
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
    CM_TRY(cm_allow_explain(f->conf.allow, certificate_id, cm_span(serial->data, (size_t) serial->length),
                            &r->standing, r->device_id, err));
    r->done = CM_FUNCTION_DENIED;
    return set_status(f, certificate_id, "newStatus=INACTIVE", err); /* last: what failed comes again */
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
    const cm_err rc = cm_caller_open(conf->at, &f->service, err);
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
    cm_caller_close(f->service);
    free(f);
}
