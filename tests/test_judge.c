/* Goal: a certificate that connects is treated as AWS IoT treats it, in every state of it and of its CA; what
 * is stored and what is announced agree with that. Method: a registry in a temporary directory, with the
 * rehearsal's own CA as the devices' CA and its client certificate (CN=rule) as the device; no broker. */
#include "engine/ossl.h"
#include "rehearsal/judge.h"
#include "rehearsal/ownca.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <unistd.h>

#define ALLOW_RULE                                                                                           \
    "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":\"iot:Connect\","           \
    "\"Resource\":\"arn:aws:iot:us-east-1:123456789012:client/${iot:Certificate.Subject.CommonName}\"}]}"

static char dir[] = "/tmp/test_judge.XXXXXX", path[64];
static struct cm_registry *reg;
static struct cm_ownca *own, *other;
static struct cm_svc_error no;
static char ca_id[CM_REG_ID];

static void setup(void)
{
    struct cm_error err = { 0 };

    cr_assert_not_null(mkdtemp(dir));
    (void) snprintf(path, sizeof path, "%s/registry", dir);
    cr_assert_eq(cm_registry_open(path, NULL, &reg, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_ownca_make(cm_when_now(), &own, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_ownca_make(cm_when_now(), &other, &err), CM_OK, "%s", err.what);
    cr_assert_eq(cm_judge_id(cm_ownca_x509(own), ca_id, &err), CM_OK);
}

static void teardown(void)
{
    static const char *const ends[] = { "", "-wal", "-shm" };
    char name[80];

    cm_registry_close(reg);
    cm_ownca_free(own);
    cm_ownca_free(other);
    for (size_t i = 0; i < CM_COUNT(ends); i++) {
        (void) snprintf(name, sizeof name, "%s%s", path, ends[i]);
        (void) unlink(name);
    }
    (void) rmdir(dir);
}

static void register_ca(bool active, bool auto_registration, const char *template_body)
{
    X509 *ca = cm_ownca_x509(own);
    uint8_t *der = NULL, *name = NULL;
    const int len = i2d_X509(ca, &der), name_len = i2d_X509_NAME(X509_get_subject_name(ca), &name);
    struct cm_reg_ca_new add = { .id = ca_id,
                                 .pem = "PEM",
                                 .der = cm_span(der, (size_t) len),
                                 .subject = cm_span(name, (size_t) name_len),
                                 .active = active,
                                 .auto_registration = auto_registration,
                                 .template_body = template_body,
                                 .role_arn =
                                     template_body != NULL ? "arn:aws:iam::123456789012:role/r" : NULL };

    cr_assert_eq(cm_reg_ca_add(reg, &add, &no), CM_OK, "%s", no.base.what);
    OPENSSL_free(der);
    OPENSSL_free(name);
}

static struct cm_judgement judge(const struct cm_ownca *who, const char *client_id)
{
    struct cm_judgement j = { 0 };

    no = (struct cm_svc_error) { 0 };
    cr_assert_eq(cm_judge_connect(reg, cm_ownca_watcher(who), client_id, "127.0.0.1", &j, &no), CM_OK, "%s",
                 no.base.what);
    return j;
}

static unsigned events(void)
{
    struct cm_reg_event e;
    unsigned n = 0;
    int64_t after = 0;

    while (cm_reg_event_next(reg, after, &e, &no) == CM_OK) {
        after = e.seq;
        n++;
    }
    return n;
}

#define IS(j, want)                                                                                          \
    cr_expect_eq((j).reason, (want), "%s instead of %s: %s", cm_judge_name((j).reason), cm_judge_name(want), \
                 (j).more)

TestSuite(judge, .init = setup, .fini = teardown, .timeout = 60);

Test(judge, the_first_connection_registers_and_the_next_announce_again)
{
    struct cm_reg_cert cert = { 0 };

    register_ca(true, true, NULL);
    struct cm_judgement j = judge(own, "rule");
    IS(j, CM_JUDGE_REGISTERED);
    cr_expect_str_eq(j.ca_id, ca_id);
    cr_expect(j.event);
    cr_expect_eq(events(), 1);
    cr_assert_eq(cm_reg_cert_find(reg, j.certificate_id, &cert, &no), CM_OK);
    cr_expect_eq(cert.status, CM_REG_PENDING_ACTIVATION);
    cr_expect_str_eq(cert.ca_id, ca_id);
    cr_expect_not_null(strstr(cert.pem, "BEGIN CERTIFICATE"));
    cm_reg_cert_done(&cert);
    IS(judge(own, "rule"), CM_JUDGE_PENDING);
    cr_expect_eq(events(), 2);
}

Test(judge, an_active_certificate_needs_a_policy_for_its_client_id)
{
    char arn[CM_SVC_ARN];

    register_ca(true, true, NULL);
    const struct cm_judgement j = judge(own, "rule");
    cr_assert_eq(cm_reg_cert_set_status(reg, j.certificate_id, CM_REG_ACTIVE, &no), CM_OK);
    IS(judge(own, "rule"), CM_JUDGE_POLICY);
    cr_assert_eq(cm_reg_policy_add(reg, "p", ALLOW_RULE, &no), CM_OK, "%s", no.base.what);
    cr_assert(cm_registry_arn(reg, "cert", j.certificate_id, arn, sizeof arn));
    cr_assert_eq(cm_reg_policy_attach(reg, "p", arn, &no), CM_OK, "%s", no.base.what);
    IS(judge(own, "rule"), CM_JUDGE_ACTIVE);
    IS(judge(own, "rule2"), CM_JUDGE_POLICY);
    cr_expect_eq(events(), 1, "an active certificate announces nothing");
}

Test(judge, an_inactive_or_revoked_certificate_is_refused_and_announces_nothing)
{
    register_ca(true, true, NULL);
    const struct cm_judgement j = judge(own, "rule");
    cr_assert_eq(cm_reg_cert_set_status(reg, j.certificate_id, CM_REG_INACTIVE, &no), CM_OK);
    IS(judge(own, "rule"), CM_JUDGE_INACTIVE);
    cr_assert_eq(cm_reg_cert_set_status(reg, j.certificate_id, CM_REG_REVOKED, &no), CM_OK);
    IS(judge(own, "rule"), CM_JUDGE_REVOKED);
    cr_expect_eq(events(), 1);
}

Test(judge, without_a_ca_that_takes_it_nothing_is_stored)
{
    IS(judge(own, "rule"), CM_JUDGE_NO_CA);
    register_ca(false, true, NULL);
    IS(judge(own, "rule"), CM_JUDGE_CA_INACTIVE);
    cr_assert_eq(cm_reg_ca_update(reg, ca_id,
                                  &(struct cm_reg_ca_change) { CM_REG_ON, CM_REG_OFF, false, NULL, NULL },
                                  &no),
                 CM_OK);
    IS(judge(own, "rule"), CM_JUDGE_NO_AUTO_REGISTRATION);
    cr_expect_eq(events(), 0);
    const struct cm_judgement j = judge(own, "rule");
    struct cm_reg_cert cert = { 0 };
    cr_expect_eq(cm_reg_cert_find(reg, j.certificate_id, &cert, &no), CM_E_INPUT);
}

/* The other CA has the same name, so that only its signature tells. */
Test(judge, a_ca_of_the_same_name_is_another_one)
{
    register_ca(true, true, NULL);
    IS(judge(other, "rule"), CM_JUDGE_NO_CA);
    cr_expect_eq(events(), 0);
}

Test(judge, devices_of_an_inactive_ca_go_on)
{
    char arn[CM_SVC_ARN];

    register_ca(true, true, NULL);
    const struct cm_judgement j = judge(own, "rule");
    cr_assert_eq(cm_reg_cert_set_status(reg, j.certificate_id, CM_REG_ACTIVE, &no), CM_OK);
    cr_assert_eq(cm_reg_policy_add(reg, "p", ALLOW_RULE, &no), CM_OK, "%s", no.base.what);
    cr_assert(cm_registry_arn(reg, "cert", j.certificate_id, arn, sizeof arn));
    cr_assert_eq(cm_reg_policy_attach(reg, "p", arn, &no), CM_OK);
    cr_assert_eq(cm_reg_ca_update(reg, ca_id,
                                  &(struct cm_reg_ca_change) { CM_REG_OFF, CM_REG_OFF, false, NULL, NULL },
                                  &no),
                 CM_OK);
    IS(judge(own, "rule"), CM_JUDGE_ACTIVE);
}
