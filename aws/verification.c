#include "aws/verification.h"

#include "aws/rules.h"
#include "engine/name.h"
#include "engine/ossl.h"

#include <openssl/pem.h>

enum { DAY = 86400, HOUR = 3600, NAME_MAX_DER = 8192 };

static cm_err subject_of_code(const char *code, uint8_t *buf, struct cm_span *out, struct cm_error *err)
{
    const struct cm_values none = { 0 };
    struct cm_name name;
    char text[CM_AWS_CODE_LEN + 8];
    struct cm_der d = cm_der(buf, NAME_MAX_DER);

    (void) snprintf(text, sizeof text, "/CN=%s", code);
    CM_TRY(cm_name_parse(text, NULL, &name, err));
    CM_TRY(cm_name_check(&name, &none, err));
    cm_name_put_der(&name, &none, &d);
    CM_ASSERT(cm_der_ok(&d));
    *out = cm_der_span(&d);
    return CM_OK;
}

/* Everything that the CSR gives, for as long as req lives; *spki is OPENSSL_free's. */
static cm_err read_csr(const struct cm_aws_verification *v, X509_REQ *req, struct cm_span *subject,
                       uint8_t **spki, size_t *spki_len, struct cm_error *err)
{
    EVP_PKEY *const key = req != NULL ? X509_REQ_get0_pubkey(req) : NULL; /* req's */
    const uint8_t *name = NULL;
    size_t name_len = 0;

    if (req == NULL)
        CM_FAIL(err, CM_E_INPUT,
                "%.200s holds no certificate request (no \"-----BEGIN CERTIFICATE REQUEST-----\")",
                v->csr_name);
    if (key == NULL || X509_REQ_verify(req, key) != 1)
        CM_FAIL(err, CM_E_INPUT, "%.200s: its signature is not by its own key; make the request again",
                v->csr_name);
    if (X509_NAME_get0_der(X509_REQ_get_subject_name(req), &name, &name_len) != 1)
        CM_FAIL(err, CM_E_INPUT, "%.200s: its subject can't be read", v->csr_name);
    const int len = i2d_PUBKEY(key, spki);
    if (len <= 0)
        CM_FAIL(err, CM_E_CRYPTO, "%.200s: its public key can't be encoded", v->csr_name);
    *spki_len = (size_t) len;
    *subject = cm_span(name, name_len);
    return CM_OK;
}

/* Is the CN the code that was given? */
static cm_err check_code(const struct cm_aws_verification *v, const struct cm_aws_cert *facts,
                         struct cm_error *err)
{
    if (v->code != NULL && strcmp(v->code, facts->common_name) != 0)
        CM_FAIL(err, CM_E_INPUT,
                "%.200s: its CN (%s) is not the registration code (%s); make the request for this code",
                v->csr_name, facts->common_name, v->code);
    return CM_OK;
}

/* What has been made, held to the service's rules, and to the code. */
static cm_err check_made(const struct cm_aws_verification *v, struct cm_span made, struct cm_error *err)
{
    struct cm_aws_cert facts;
    uint8_t id[32], subject[32];

    CM_TRY(cm_aws_cert_pem(made, CM_AWS_VERIFICATION, &facts, id, subject, err));
    CM_TRY(cm_aws_check(&facts, v->now, v->csr.len > 0 ? v->csr_name : "the verification certificate", err));
    return check_code(v, &facts, err);
}

static cm_err issue(const struct cm_aws_verification *v, struct cm_span subject, struct cm_span spki,
                    struct cm_writer *pem, struct cm_error *err)
{
    const cm_when begin = v->now - HOUR, end = v->now + (cm_when) CM_AWS_VERIFICATION_DAYS * DAY;
    const struct cm_issue_conf conf = {
        .ca = v->ca,
        .subject = subject,
        .spki = spki,
        .not_before = begin > cm_ca_not_before(v->ca) ? begin : cm_ca_not_before(v->ca),
        .not_after = end < cm_ca_not_after(v->ca) ? end : cm_ca_not_after(v->ca),
    };
    const size_t before = pem->len;

    CM_TRY(cm_issue(&conf, pem, err));
    return check_made(v, cm_span(pem->data + before, pem->len - before), err);
}

/* ---- a CA that signs elsewhere ---- */

/* Held to the code before somebody else signs it. */
static cm_err check_request(const struct cm_aws_verification *v, struct cm_span subject, struct cm_error *err)
{
    struct cm_aws_cert facts = { .role = CM_AWS_VERIFICATION };

    cm_aws_common_name(subject, facts.common_name, sizeof facts.common_name);
    CM_TRY(cm_aws_check(&facts, v->now, v->csr_name, err));
    return check_code(v, &facts, err);
}

static cm_err put_request(X509_REQ *req, struct cm_writer *pem, struct cm_error *err)
{
    CM_AUTO(BIO) out = BIO_new(BIO_s_mem());
    char *text = NULL;

    if (out == NULL || PEM_write_bio_X509_REQ(out, req) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "can't encode the certificate request");
    const long len = BIO_get_mem_data(out, &text);
    cm_put(pem, text, len > 0 ? (size_t) len : 0);
    if (!cm_writer_ok(pem))
        CM_FAIL(err, CM_E_NOSPACE, "no room for the certificate request");
    return CM_OK;
}

static cm_err make_request(struct cm_span subject, struct cm_writer *pem, struct cm_error *err)
{
    CM_AUTO(EVP_PKEY) key = EVP_EC_gen("P-256");
    CM_AUTO(X509_REQ) req = X509_REQ_new();
    const uint8_t *in = subject.data;
    CM_AUTO(X509_NAME) name = d2i_X509_NAME(NULL, &in, (long) subject.len);

    if (key == NULL || req == NULL || name == NULL || X509_REQ_set_version(req, X509_REQ_VERSION_1) != 1 ||
        X509_REQ_set_subject_name(req, name) != 1 || X509_REQ_set_pubkey(req, key) != 1 ||
        X509_REQ_sign(req, key, EVP_sha256()) <= 0)
        CM_FAIL(err, CM_E_CRYPTO, "can't make the certificate request");
    return put_request(req, pem, err);
}

/* ---- both ---- */

static cm_err of_csr(const struct cm_aws_verification *v, struct cm_writer *pem, struct cm_error *err)
{
    CM_AUTO(BIO) in = v->csr.len <= INT32_MAX ? BIO_new_mem_buf(v->csr.data, (int) v->csr.len) : NULL;
    CM_AUTO(X509_REQ) req = in != NULL ? PEM_read_bio_X509_REQ(in, NULL, NULL, NULL) : NULL;
    uint8_t *spki = NULL;
    size_t spki_len = 0;
    struct cm_span subject;

    CM_TRY(read_csr(v, req, &subject, &spki, &spki_len, err));
    cm_err rc = CM_OK;
    if (v->ca != NULL)
        rc = issue(v, subject, cm_span(spki, spki_len), pem, err);
    else
        rc = check_request(v, subject, err);
    OPENSSL_free(spki);
    return rc == CM_OK && v->ca == NULL ? put_request(req, pem, err) : rc;
}

cm_err cm_aws_verification(const struct cm_aws_verification *v, struct cm_writer *pem, struct cm_error *err)
{
    uint8_t buf[NAME_MAX_DER];
    struct cm_span subject;

    if (v->code != NULL && !cm_aws_registration_code(v->code))
        CM_FAIL(err, CM_E_USAGE,
                "\"%.80s\" is no registration code, which is %d hexadecimal digits; ask for yours: aws iot "
                "get-registration-code",
                v->code, CM_AWS_CODE_LEN);
    if (v->csr.len > 0)
        return of_csr(v, pem, err);
    CM_ASSERT(v->code != NULL);
    CM_TRY(subject_of_code(v->code, buf, &subject, err));
    return v->ca != NULL ? issue(v, subject, cm_span(NULL, 0), pem, err) : make_request(subject, pem, err);
}
