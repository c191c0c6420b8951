/* Goal: only who has the CA's key registers the CA, and only what a registered CA signed is registered below
 * it; each refusal is the service's own. Method: certificates with one thing wrong. */
#include "rehearsal/enroll.h"
#include "tests/t_registry.h"

#include <criterion/criterion.h>
#include <string.h>

static char code[CM_REG_ID], id[CM_REG_ID];

static cm_err enroll(const struct t_authority *ca, X509 *verification)
{
    const struct cm_enroll_ca request = { .pem = t_registry_pem(ca->x509),
                                          .verification_pem =
                                              verification != NULL ? t_registry_pem(verification) : NULL };

    return cm_enroll_ca(t_registry, &request, id, &t_no);
}

static void setup(void)
{
    t_registry_setup();
    T_DONE(cm_reg_code(t_registry, code, &t_no));
}

TestSuite(enroll, .init = setup, .fini = t_registry_teardown, .timeout = 60);

Test(enroll, possession_is_proved)
{
    struct t_authority ca, other;

    t_authority_init(&ca, &(struct t_spec) { .subject = "one" }, NULL);
    t_authority_init(&other, &(struct t_spec) { .subject = "one" }, NULL); /* the same name, another key */
    CM_AUTO(X509) good = t_registry_leaf(&ca, code);
    CM_AUTO(X509) foreign = t_registry_leaf(&other, code);
    CM_AUTO(X509)
    wrong = t_registry_leaf(&ca, "0123456789012345678901234567890123456789012345678901234567890123");
    CM_AUTO(X509) no_code = t_registry_leaf(&ca, "device");

    T_REFUSED(enroll(&ca, NULL), CM_SVC_INVALID);
    T_REFUSED(enroll(&ca, foreign), CM_SVC_CERTIFICATE);
    T_REFUSED(enroll(&ca, wrong), CM_SVC_CODE);
    T_REFUSED(enroll(&ca, no_code), CM_SVC_CODE);
    T_DONE(enroll(&ca, good));
    T_REFUSED(enroll(&ca, good), CM_SVC_EXISTS);
    cr_expect_str_eq(t_no.resource_id, id);
    T_REFUSED(cm_enroll_ca(t_registry,
                           &(struct cm_enroll_ca) { .pem = t_registry_pem(ca.x509),
                                                    .sni_only = true,
                                                    .verification_pem = t_registry_pem(good) },
                           id, &t_no),
              CM_SVC_INVALID);
    t_authority_done(&ca);
    t_authority_done(&other);
}

Test(enroll, a_ca_that_is_none)
{
    static const struct {
        struct t_spec spec;
        const char *says;
    } bad[] = {
        { { .basic = "critical,CA:FALSE" }, "does not have the basicConstraints extension as true" },
        { { .basic = "-" }, "does not have the basicConstraints extension as true" },
        { { .key = "RSA-1024" }, "The key in the certificate is not valid" },
        { { .begins_days = 1, .ends_days = 2 }, "not" },
        { { .begins_days = -2, .ends_days = -1 }, "not" },
    };

    for (size_t i = 0; i < CM_COUNT(bad); i++) {
        struct t_authority ca;
        t_authority_init(&ca, &bad[i].spec, NULL);
        CM_AUTO(X509) verification = t_registry_leaf(&ca, code);
        T_REFUSED(enroll(&ca, verification), CM_SVC_CERTIFICATE);
        cr_expect_not_null(strstr(t_no.base.what, bad[i].says), "%zu: %s", i, t_no.base.what);
        t_authority_done(&ca);
    }
}

Test(enroll, devices)
{
    struct t_authority ca, twin, other;
    struct cm_reg_cert cert = { 0 };
    char ca_id[CM_REG_ID], twin_id[CM_REG_ID];

    t_authority_init(&ca, &(struct t_spec) { .subject = "one" }, NULL);
    t_authority_init(&other, &(struct t_spec) { .subject = "one" }, NULL);
    CM_AUTO(X509) leaf = t_registry_leaf(&ca, "d1");
    CM_AUTO(X509) leaf2 = t_registry_leaf(&ca, "d2");
    CM_AUTO(X509) foreign = t_registry_leaf(&other, "d3");

    T_REFUSED(cm_enroll_cert(t_registry, t_registry_pem(leaf), NULL, CM_REG_ACTIVE, id, &t_no),
              CM_SVC_CERTIFICATE);
    t_registry_add_ca(&ca, ca_id);
    T_DONE(cm_enroll_cert(t_registry, t_registry_pem(leaf), NULL, CM_REG_ACTIVE, id, &t_no));
    T_DONE(cm_reg_cert_find(t_registry, id, &cert, &t_no));
    cr_expect_str_eq(cert.ca_id, ca_id);
    cr_expect(cert.sni_only, "a device has the mode of its CA");
    cm_reg_cert_done(&cert);
    T_REFUSED(cm_enroll_cert(t_registry, t_registry_pem(leaf), NULL, CM_REG_ACTIVE, id, &t_no),
              CM_SVC_EXISTS);
    T_REFUSED(cm_enroll_cert(t_registry, t_registry_pem(foreign), NULL, CM_REG_ACTIVE, id, &t_no),
              CM_SVC_CERTIFICATE);
    T_REFUSED(cm_enroll_cert(t_registry, t_registry_pem(foreign), t_registry_pem(ca.x509), CM_REG_ACTIVE, id,
                             &t_no),
              CM_SVC_CERTIFICATE);
    T_REFUSED(cm_enroll_cert(t_registry, t_registry_pem(foreign), t_registry_pem(other.x509), CM_REG_ACTIVE,
                             id, &t_no),
              CM_SVC_CERTIFICATE);
    T_DONE(cm_enroll_cert_alone(t_registry, t_registry_pem(foreign), CM_REG_INACTIVE, id, &t_no));

    /* A second certificate of the same CA: which one, has to be said. */
    twin.key = ca.key;
    twin.x509 = X509_dup(ca.x509);
    cr_assert_eq(ASN1_INTEGER_set(X509_get_serialNumber(twin.x509), 99), 1);
    cr_assert_gt(X509_sign(twin.x509, ca.key, EVP_sha256()), 0);
    t_registry_add_ca(&twin, twin_id);
    T_REFUSED(cm_enroll_cert(t_registry, t_registry_pem(leaf2), NULL, CM_REG_ACTIVE, id, &t_no),
              CM_SVC_CONFLICT);
    T_DONE(cm_enroll_cert(t_registry, t_registry_pem(leaf2), t_registry_pem(twin.x509), CM_REG_ACTIVE, id,
                          &t_no));
    T_REFUSED(cm_enroll_cert(t_registry, "no PEM", NULL, CM_REG_ACTIVE, id, &t_no), CM_SVC_CERTIFICATE);
    X509_free(twin.x509);
    t_authority_done(&ca);
    t_authority_done(&other);
}
