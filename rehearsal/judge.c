#include "rehearsal/judge.h"

#include "engine/ossl.h"
#include "rehearsal/enroll.h"
#include "rehearsal/template.h"

#include <openssl/pem.h>

static const struct {
    const char *name, *words;
} reasons[CM_JUDGE_REASONS] = {
    [CM_JUDGE_ACTIVE] = { "active", "the certificate is ACTIVE and a policy allows the connection" },
    [CM_JUDGE_REGISTERED] = { "registered", "first connection: registered as PENDING_ACTIVATION" },
    [CM_JUDGE_PENDING] = { "pending", "the certificate is PENDING_ACTIVATION still" },
    [CM_JUDGE_PROVISIONED] = { "provisioned", "first connection: provisioned by the CA's template" },
    [CM_JUDGE_TEMPLATE] = { "template", "the CA's provisioning template can't be followed" },
    [CM_JUDGE_INACTIVE] = { "inactive", "the certificate is INACTIVE" },
    [CM_JUDGE_REVOKED] = { "revoked", "the certificate is REVOKED" },
    [CM_JUDGE_TRANSFER] = { "transfer", "the certificate is PENDING_TRANSFER" },
    [CM_JUDGE_NO_CA] = { "no-ca", "unknown certificate, and no registered CA signed it" },
    [CM_JUDGE_CA_INACTIVE] = { "ca-inactive", "unknown certificate, and its CA is INACTIVE" },
    [CM_JUDGE_NO_AUTO_REGISTRATION] = { "no-auto-registration",
                                        "unknown certificate, and its CA has auto-registration disabled" },
    [CM_JUDGE_POLICY] = { "policy", "ACTIVE, but no attached policy allows iot:Connect for the client id" },
};

const char *cm_judge_name(enum cm_judge_reason reason)
{
    return reasons[reason].name;
}

const char *cm_judge_words(enum cm_judge_reason reason)
{
    return reasons[reason].words;
}

cm_err cm_judge_id(X509 *leaf, char out[CM_REG_ID], struct cm_error *err)
{
    uint8_t digest[32];
    unsigned len = 0;
    struct cm_writer w = cm_writer(out, CM_REG_ID);

    if (X509_digest(leaf, EVP_sha256(), digest, &len) != 1 || len != sizeof digest)
        CM_FAIL(err, CM_E_CRYPTO, "can't digest a certificate");
    cm_put_hex(&w, digest, len);
    cm_put_byte(&w, '\0');
    CM_ASSERT(cm_writer_ok(&w));
    return CM_OK;
}

/* The CA that signed the leaf, copied as far as it matters here. */
struct signer {
    X509 *leaf;
    bool found, active, auto_registration, sni_only, template;
    char id[CM_REG_ID];
};

/* Of several that verify (one subject, one key), one that is ACTIVE is taken. */
static cm_err look_at_ca(void *arg, const struct cm_reg_ca *ca)
{
    struct signer *s = arg;
    const uint8_t *in = ca->der;
    CM_AUTO(X509) x = d2i_X509(NULL, &in, (long) ca->der_len);

    if (x == NULL || !cm_enroll_issued(x, s->leaf) || (s->found && (s->active || !ca->active)))
        return CM_OK;
    s->found = true;
    s->active = ca->active;
    s->auto_registration = ca->auto_registration;
    s->sni_only = ca->sni_only;
    s->template = ca->template_body != NULL;
    memcpy(s->id, ca->id, sizeof s->id);
    return CM_OK;
}

static cm_err find_signer(struct cm_registry *r, X509 *leaf, struct signer *s, struct cm_svc_error *no)
{
    uint8_t *der = NULL;
    const int len = i2d_X509_NAME(X509_get_issuer_name(leaf), &der);

    if (len <= 0)
        CM_FAIL(&no->base, CM_E_CRYPTO, "can't encode the issuer of a certificate");
    const struct cm_span subject = cm_span(der, (size_t) len);
    s->leaf = leaf;
    const cm_err rc = cm_reg_ca_each(r, &subject, look_at_ca, s, no);
    OPENSSL_free(der);
    return rc;
}

static cm_err provision(struct cm_registry *r, const struct cm_reg_cert_new *cert, X509 *leaf,
                        struct cm_judgement *out, struct cm_svc_error *no)
{
    struct cm_reg_ca ca = { 0 };

    CM_TRY(cm_reg_ca_find(r, cert->ca_id, &ca, no));
    const cm_err rc = cm_template_jitp(r, &ca, cert, leaf, NULL, no);
    cm_reg_ca_done(&ca);
    out->reason = rc == CM_OK ? CM_JUDGE_PROVISIONED : CM_JUDGE_TEMPLATE;
    if (rc == CM_E_INPUT)
        (void) snprintf(out->more, sizeof out->more, "%s: %.150s", cm_svc_name(no->kind), no->base.what);
    return rc == CM_E_INPUT ? CM_OK : rc;
}

/* A status that changed meanwhile (CM_SVC_STATE) is seen at the next connection. */
static cm_err store_pending(struct cm_registry *r, const struct cm_reg_cert_new *cert,
                            struct cm_judgement *out, struct cm_svc_error *no)
{
    bool first = false;
    const cm_err rc = cm_reg_cert_pending(r, cert, &first, no);

    out->event = rc == CM_OK;
    out->reason = first ? CM_JUDGE_REGISTERED : CM_JUDGE_PENDING;
    return rc == CM_E_INPUT && no->kind == CM_SVC_STATE ? CM_OK : rc;
}

/* A certificate that is unknown, or waits. */
static cm_err judge_new(struct cm_registry *r, X509 *leaf, struct cm_judgement *out, struct cm_svc_error *no)
{
    struct signer s = { 0 };
    CM_AUTO(BIO) bio = BIO_new(BIO_s_mem());

    CM_TRY(find_signer(r, leaf, &s, no));
    out->reason = !s.found               ? CM_JUDGE_NO_CA
                  : !s.active            ? CM_JUDGE_CA_INACTIVE
                  : !s.auto_registration ? CM_JUDGE_NO_AUTO_REGISTRATION
                                         : CM_JUDGE_PENDING;
    memcpy(out->ca_id, s.id, sizeof out->ca_id);
    if (out->reason != CM_JUDGE_PENDING)
        return CM_OK;
    if (bio == NULL || PEM_write_bio_X509(bio, leaf) != 1 || BIO_write(bio, "", 1) != 1)
        CM_FAIL(&no->base, CM_E_CRYPTO, "can't encode a certificate");
    char *pem = NULL;
    (void) BIO_get_mem_data(bio, &pem);
    const struct cm_reg_cert_new cert = { out->certificate_id, s.id, pem, CM_REG_PENDING_ACTIVATION,
                                          s.sni_only };
    return s.template ? provision(r, &cert, leaf, out, no) : store_pending(r, &cert, out, no);
}

static cm_err judge_active(struct cm_registry *r, X509 *leaf, const char *client_id, const char *source_ip,
                           struct cm_judgement *out, struct cm_svc_error *no)
{
    const struct cm_principal who = { out->certificate_id, leaf, client_id, source_ip };
    struct cm_policy_answer answer = { 0 };

    CM_TRY(cm_policy_authorize(r, &who, "iot:Connect", "client", client_id, &answer, no));
    out->reason = answer.effect == CM_POLICY_ALLOW ? CM_JUDGE_ACTIVE : CM_JUDGE_POLICY;
    if (answer.effect == CM_POLICY_DENY)
        (void) snprintf(out->more, sizeof out->more, "policy %s denies it", answer.policy);
    else if (answer.effect == CM_POLICY_SILENT)
        (void) snprintf(out->more, sizeof out->more, "attached policies: %u", answer.attached);
    return CM_OK;
}

cm_err cm_judge_connect(struct cm_registry *r, X509 *leaf, const char *client_id, const char *source_ip,
                        struct cm_judgement *out, struct cm_svc_error *no)
{
    struct cm_reg_cert known = { 0 };
    struct cm_judgement j = { .reason = CM_JUDGE_NO_CA };

    CM_TRY(cm_judge_id(leaf, j.certificate_id, &no->base));
    cm_err rc = cm_reg_cert_find(r, j.certificate_id, &known, no);
    const bool unknown = rc == CM_E_INPUT && no->kind == CM_SVC_NOT_FOUND;
    const enum cm_reg_status status = unknown ? CM_REG_PENDING_ACTIVATION : known.status;
    if (rc == CM_OK)
        memcpy(j.ca_id, known.ca_id, sizeof j.ca_id);
    cm_reg_cert_done(&known);
    if (rc != CM_OK && !unknown)
        return rc;
    rc = CM_OK;
    if (status == CM_REG_PENDING_ACTIVATION)
        rc = judge_new(r, leaf, &j, no);
    else if (status == CM_REG_ACTIVE)
        rc = judge_active(r, leaf, client_id, source_ip, &j, no);
    else
        j.reason = status == CM_REG_REVOKED            ? CM_JUDGE_REVOKED
                   : status == CM_REG_PENDING_TRANSFER ? CM_JUDGE_TRANSFER
                                                       : CM_JUDGE_INACTIVE;
    if (rc == CM_OK)
        *out = j;
    return rc;
}
