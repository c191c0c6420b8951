#include "rehearsal/enroll.h"

#include "aws/rules.h"
#include "engine/ossl.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

cm_err cm_enroll_read(const char *pem, X509 **out, struct cm_svc_error *no)
{
    CM_AUTO(BIO) bio = BIO_new_mem_buf(pem, -1);
    X509 *x509 = NULL;

    if (bio == NULL)
        CM_FAIL(&no->base, CM_E_NOMEM, "out of memory for a certificate");
    x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    ERR_clear_error();
    if (x509 == NULL)
        CM_REFUSE(no, CM_SVC_CERTIFICATE, "The certificate is not valid: no certificate in PEM");
    *out = x509;
    return CM_OK;
}

cm_err cm_enroll_id(X509 *x509, uint8_t **der, size_t *der_len, char id[CM_REG_ID], struct cm_svc_error *no)
{
    uint8_t digest[32];
    unsigned char *made = NULL;
    struct cm_writer w = cm_writer(id, CM_REG_ID - 1);
    const int len = i2d_X509(x509, &made);

    if (len <= 0 || EVP_Digest(made, (size_t) len, digest, NULL, EVP_sha256(), NULL) != 1) {
        OPENSSL_free(made);
        CM_FAIL(&no->base, CM_E_CRYPTO, "can't hash a certificate");
    }
    *der = malloc((size_t) len);
    if (*der != NULL)
        memcpy(*der, made, (size_t) len);
    OPENSSL_free(made);
    if (*der == NULL)
        CM_FAIL(&no->base, CM_E_NOMEM, "out of memory for a certificate");
    *der_len = (size_t) len;
    cm_put_hex(&w, digest, sizeof digest);
    id[CM_REG_ID - 1] = '\0';
    return CM_OK;
}

bool cm_enroll_issued(X509 *ca, X509 *x509)
{
    EVP_PKEY *const key = X509_get0_pubkey(ca);
    const bool good = key != NULL &&
                      X509_NAME_cmp(X509_get_subject_name(ca), X509_get_issuer_name(x509)) == 0 &&
                      X509_verify(x509, key) == 1;

    ERR_clear_error();
    return good;
}

struct search {
    X509 *x509;
    struct cm_reg_ca found;
    size_t count;
    struct cm_svc_error *no;
};

static cm_err copy_ca(const struct cm_reg_ca *from, struct cm_reg_ca *to, struct cm_svc_error *no)
{
    *to = *from;
    to->pem = strdup(from->pem);
    to->der = malloc(from->der_len);
    to->template_body = from->template_body != NULL ? strdup(from->template_body) : NULL;
    to->role_arn = from->role_arn != NULL ? strdup(from->role_arn) : NULL;
    if (to->pem == NULL || to->der == NULL || (from->template_body != NULL && to->template_body == NULL) ||
        (from->role_arn != NULL && to->role_arn == NULL)) {
        cm_reg_ca_done(to);
        CM_FAIL(&no->base, CM_E_NOMEM, "out of memory for a CA");
    }
    memcpy(to->der, from->der, from->der_len);
    return CM_OK;
}

static cm_err try_ca(void *arg, const struct cm_reg_ca *ca)
{
    struct search *const s = arg;
    const unsigned char *p = ca->der;
    CM_AUTO(X509) x509 = d2i_X509(NULL, &p, (long) ca->der_len);

    if (x509 == NULL)
        CM_FAIL(&s->no->base, CM_E_CRYPTO, "can't read the registered CA %s", ca->id);
    if (!cm_enroll_issued(x509, s->x509))
        return CM_OK;
    s->count++;
    return s->count == 1 ? copy_ca(ca, &s->found, s->no) : CM_OK;
}

static cm_err name_der(const X509_NAME *name, struct cm_span *out, struct cm_svc_error *no)
{
    const unsigned char *der = NULL;
    size_t len = 0;

    if (X509_NAME_get0_der(name, &der, &len) != 1)
        CM_FAIL(&no->base, CM_E_CRYPTO, "can't read a certificate's name");
    *out = cm_span(der, len);
    return CM_OK;
}

cm_err cm_enroll_find_ca(struct cm_registry *r, X509 *x509, struct cm_reg_ca *out, size_t *count,
                         struct cm_svc_error *no)
{
    struct search s = { .x509 = x509, .no = no };
    struct cm_span issuer;

    CM_TRY(name_der(X509_get_issuer_name(x509), &issuer, no));
    const cm_err rc = cm_reg_ca_each(r, &issuer, try_ca, &s, no);
    if (rc != CM_OK || s.count == 0) {
        cm_reg_ca_done(&s.found);
        return rc != CM_OK ? rc : CM_E_END;
    }
    *count = s.count;
    *out = s.found;
    return CM_OK;
}

/* ---- Judging */

struct verdict {
    const char *rule;
    char why[CM_AWS_WHY];
};

static void keep_first(void *arg, const struct cm_aws_rule *rule, enum cm_aws_verdict verdict,
                       const char *why)
{
    struct verdict *const v = arg;

    if (verdict != CM_AWS_REFUSED || v->rule != NULL)
        return;
    v->rule = rule->name;
    (void) snprintf(v->why, sizeof v->why, "%s", why);
}

static const char *role_text(enum cm_aws_role role)
{
    return role == CM_AWS_CA       ? "CA certificate"
           : role == CM_AWS_DEVICE ? "Certificate"
                                   : "Verification certificate";
}

/* Where the sentence of the service is known, it is used; else the rule's. */
static cm_err judge(const struct cm_span der, size_t pem_len, enum cm_aws_role role, struct cm_svc_error *no)
{
    struct cm_aws_cert facts;
    struct verdict v = { 0 };

    if (cm_aws_cert_der(der, role, &facts, &no->base) != CM_OK)
        CM_REFUSE(no, CM_SVC_CERTIFICATE, "%s is not valid. It can't be read", role_text(role));
    facts.pem_len = pem_len;
    (void) cm_aws_judge(&facts, cm_when_now(), keep_first, &v);
    if (v.rule == NULL)
        return CM_OK;
    if (strcmp(v.rule, "registration-code") == 0)
        CM_REFUSE(no, CM_SVC_CODE,
                  "Registration code validation failed: the CN of the verification certificate is "
                  "not the registration code");
    if (strcmp(v.rule, "basic-constraints") == 0)
        CM_REFUSE(
            no, CM_SVC_CERTIFICATE,
            "CA certificate is not valid. The CA certificate does not have the basicConstraints extension as "
            "true");
    if (strcmp(v.rule, "key") == 0)
        CM_REFUSE(no, CM_SVC_CERTIFICATE, "The key in the certificate is not valid: %s", v.why);
    CM_REFUSE(no, CM_SVC_CERTIFICATE, "%s is not valid: %s", role_text(role), v.why);
}

/* Reads and judges one; what is in *e is freed by done_one, also after a failure. */
struct one {
    X509 *x509;
    uint8_t *der;
    size_t der_len;
    char id[CM_REG_ID];
};

static cm_err read_one(struct one *e, const char *pem, enum cm_aws_role role, struct cm_svc_error *no)
{
    CM_TRY(cm_enroll_read(pem, &e->x509, no));
    CM_TRY(cm_enroll_id(e->x509, &e->der, &e->der_len, e->id, no));
    return judge(cm_span(e->der, e->der_len), strlen(pem), role, no);
}

static void done_one(struct one *e)
{
    X509_free(e->x509);
    free(e->der);
}

/* ---- CAs */

/* The CN is the code of this account, and the CA's key has signed it. */
static cm_err check_possession(struct cm_registry *r, X509 *ca, const char *verification_pem,
                               struct cm_svc_error *no)
{
    struct one v = { 0 };
    char code[CM_REG_ID], cn[CM_REG_ID + 1] = "";

    CM_TRY(cm_reg_code(r, code, no));
    cm_err rc = read_one(&v, verification_pem, CM_AWS_VERIFICATION, no);
    if (rc == CM_OK && !cm_enroll_issued(ca, v.x509))
        rc = cm_svc_fail(no, CM_SVC_CERTIFICATE, CM_HERE,
                         "Verification certificate is not valid. It is not signed by the CA certificate");
    if (rc == CM_OK) {
        (void) X509_NAME_get_text_by_NID(X509_get_subject_name(v.x509), NID_commonName, cn, sizeof cn);
        if (strcmp(cn, code) != 0)
            rc = cm_svc_fail(
                no, CM_SVC_CODE, CM_HERE,
                "Registration code validation failed: the CN of the verification certificate is not "
                "the registration code");
    }
    done_one(&v);
    return rc;
}

static cm_err enroll_ca(struct cm_registry *r, const struct cm_enroll_ca *ca, struct one *e,
                        struct cm_svc_error *no)
{
    struct cm_span subject;

    if (ca->sni_only && ca->verification_pem != NULL)
        CM_REFUSE(no, CM_SVC_INVALID,
                  "The verification certificate must be empty when the certificate mode is SNI_ONLY");
    if (!ca->sni_only && ca->verification_pem == NULL)
        CM_REFUSE(no, CM_SVC_INVALID,
                  "A verification certificate is required when the certificate mode is DEFAULT");
    CM_TRY(read_one(e, ca->pem, CM_AWS_CA, no));
    if (!ca->sni_only)
        CM_TRY(check_possession(r, e->x509, ca->verification_pem, no));
    CM_TRY(name_der(X509_get_subject_name(e->x509), &subject, no));
    return cm_reg_ca_add(r,
                         &(struct cm_reg_ca_new) { .id = e->id,
                                                   .pem = ca->pem,
                                                   .der = cm_span(e->der, e->der_len),
                                                   .subject = subject,
                                                   .active = ca->active,
                                                   .auto_registration = ca->auto_registration,
                                                   .sni_only = ca->sni_only,
                                                   .template_body = ca->template_body,
                                                   .role_arn = ca->role_arn },
                         no);
}

cm_err cm_enroll_ca(struct cm_registry *r, const struct cm_enroll_ca *ca, char id[CM_REG_ID],
                    struct cm_svc_error *no)
{
    struct one e = { 0 };
    const cm_err rc = enroll_ca(r, ca, &e, no);

    memcpy(id, e.id, sizeof e.id);
    done_one(&e);
    return rc;
}

/* ---- Devices */

/* The CA that was named has to be registered, and to have signed. */
static cm_err named_ca(struct cm_registry *r, X509 *x509, const char *ca_pem, struct cm_reg_ca *out,
                       struct cm_svc_error *no)
{
    struct one ca = { 0 };
    cm_err rc = cm_enroll_read(ca_pem, &ca.x509, no);

    if (rc == CM_OK)
        rc = cm_enroll_id(ca.x509, &ca.der, &ca.der_len, ca.id, no);
    if (rc == CM_OK && !cm_enroll_issued(ca.x509, x509))
        rc = cm_svc_fail(no, CM_SVC_CERTIFICATE, CM_HERE,
                         "The certificate is not signed by the CA certificate that was given");
    if (rc == CM_OK && cm_reg_ca_find(r, ca.id, out, no) != CM_OK)
        rc = no->kind == CM_SVC_NOT_FOUND
                 ? cm_svc_fail(no, CM_SVC_CERTIFICATE, CM_HERE, "The CA certificate is not registered")
                 : no->base.code;
    done_one(&ca);
    return rc;
}

static cm_err searched_ca(struct cm_registry *r, X509 *x509, struct cm_reg_ca *out, struct cm_svc_error *no)
{
    size_t count = 0;
    const cm_err rc = cm_enroll_find_ca(r, x509, out, &count, no);

    if (rc == CM_E_END)
        CM_REFUSE(no, CM_SVC_CERTIFICATE, "The certificate is not signed by a registered CA certificate");
    CM_TRY(rc);
    if (count > 1) {
        cm_reg_ca_done(out);
        CM_REFUSE(no, CM_SVC_CONFLICT,
                  "%zu registered CA certificates have the subject and key that signed this "
                  "certificate; say with caCertificatePem which one",
                  count);
    }
    return CM_OK;
}

static cm_err enroll_cert(struct cm_registry *r, const char *pem, const char *ca_pem,
                          enum cm_reg_status status, struct one *e, struct cm_svc_error *no)
{
    struct cm_reg_ca ca = { 0 };

    CM_TRY(read_one(e, pem, CM_AWS_DEVICE, no));
    CM_TRY(ca_pem != NULL ? named_ca(r, e->x509, ca_pem, &ca, no) : searched_ca(r, e->x509, &ca, no));
    const cm_err rc = cm_reg_cert_add(
        r,
        &(struct cm_reg_cert_new) {
            .id = e->id, .ca_id = ca.id, .pem = pem, .status = status, .sni_only = ca.sni_only },
        no);
    cm_reg_ca_done(&ca);
    return rc;
}

cm_err cm_enroll_cert(struct cm_registry *r, const char *pem, const char *ca_pem, enum cm_reg_status status,
                      char id[CM_REG_ID], struct cm_svc_error *no)
{
    struct one e = { 0 };
    const cm_err rc = enroll_cert(r, pem, ca_pem, status, &e, no);

    memcpy(id, e.id, sizeof e.id);
    done_one(&e);
    return rc;
}

cm_err cm_enroll_cert_alone(struct cm_registry *r, const char *pem, enum cm_reg_status status,
                            char id[CM_REG_ID], struct cm_svc_error *no)
{
    struct one e = { 0 };
    cm_err rc = read_one(&e, pem, CM_AWS_DEVICE, no);

    if (rc == CM_OK)
        rc = cm_reg_cert_add(
            r, &(struct cm_reg_cert_new) { .id = e.id, .pem = pem, .status = status, .sni_only = true }, no);
    memcpy(id, e.id, sizeof e.id);
    done_one(&e);
    return rc;
}
