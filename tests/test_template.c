/* Goal: a template does what AWS IoT's documentation says, all of it or nothing. Method: tables of what is
 * refused; JITP with a certificate that lacks an attribute; existing things under each setting. */
#include "rehearsal/policy.h"
#include "rehearsal/template.h"
#include "tests/t_registry.h"

#include <criterion/criterion.h>
#include <string.h>

#define CERT(properties) "\"c\":{\"Type\":\"AWS::IoT::Certificate\",\"Properties\":{" properties "}}"
#define BODY(parameters, resources) "{\"Parameters\":{" parameters "},\"Resources\":{" resources "}}"
#define P(name) "\"" name "\":{\"Type\":\"String\"}"
#define JITP_ID P("AWS::IoT::Certificate::Id")
#define REF(name) "{\"Ref\":\"" name "\"}"
#define BY_ID CERT("\"CertificateId\":" REF("AWS::IoT::Certificate::Id"))

static cm_err parse(const char *body, struct cm_template **t)
{
    t_no = (struct cm_svc_error) { 0 };
    return cm_template_parse(cm_span_str(body), t, &t_no);
}

static const struct {
    const char *body, *says;
} wrong[] = {
    { "", "no JSON" },
    { "{}", "no Resources" },
    { BODY("", ""), "no AWS::IoT::Certificate" },
    { BODY("\"a\":{\"Type\":\"Number\"}", BY_ID), "String" },
    { BODY("", CERT("")), "either CertificateId or CertificatePem" },
    { BODY("", CERT("\"CertificateId\":\"a\",\"CertificatePem\":\"b\"")), "either" },
    { BODY("", CERT("\"CertificateId\":\"a\",\"CACertificatePem\":\"b\"")), "goes with" },
    { BODY("", CERT("\"CertificateSigningRequest\":\"a\"")), "not rehearsed" },
    { BODY("", CERT("\"CertificateId\":{\"Fn::Join\":[\"\",[\"a\"]]}")), "fleet provisioning" },
    { BODY("", CERT("\"CertificateId\":1")), "strings" },
    { BODY("", BY_ID ",\"d\":{\"Type\":\"AWS::IoT::Certificate\",\"Properties\":{\"CertificateId\":\"a\"}}"),
      "twice" },
    { BODY("", BY_ID ",\"p\":{\"Type\":\"AWS::IoT::Policy\",\"Properties\":{}}"),
      "PolicyName or PolicyDocument" },
    { BODY("", BY_ID ",\"t\":{\"Type\":\"AWS::IoT::Thing\",\"Properties\":{}}"), "ThingName" },
    { BODY("", BY_ID ",\"t\":{\"Type\":\"AWS::IoT::Rule\",\"Properties\":{}}"), "Type" },
    { BODY("", BY_ID ",\"t\":{\"Type\":\"AWS::IoT::Thing\",\"Properties\":{\"ThingName\":\"a\"},"
                     "\"OverrideSettings\":{\"ThingTypeName\":\"MERGE\"}}"),
      "merged" },
    { "{\"Mappings\":{},\"Resources\":{" BY_ID "}}", "Mappings" },
};

Test(template, what_is_wrong)
{
    for (size_t i = 0; i < CM_COUNT(wrong); i++) {
        struct cm_template *t = NULL;
        cr_expect_eq(parse(wrong[i].body, &t), CM_E_INPUT, "%s", wrong[i].body);
        cr_expect_eq(t_no.kind, CM_SVC_INVALID);
        cr_expect_not_null(strstr(t_no.base.what, wrong[i].says), "%s: %s", wrong[i].body, t_no.base.what);
    }
}

/* ---- Just in time */

static struct t_authority ca;
static char ca_id[CM_REG_ID];
static X509 *leaf;
static struct cm_template_done done;

#define THING(more, settings)                                                                                \
    "\"t\":{\"Type\":\"AWS::IoT::Thing\",\"Properties\":{\"ThingName\":" REF(                                \
        "AWS::IoT::Certificate::CommonName") more "}" settings "}"
#define POLICY_NAMED "\"p\":{\"Type\":\"AWS::IoT::Policy\",\"Properties\":{\"PolicyName\":\"P\"}}"
#define CN P("AWS::IoT::Certificate::CommonName")

static void setup(void)
{
    t_registry_setup();
    t_authority_init(&ca, &(struct t_spec) { 0 }, NULL);
    t_registry_add_ca(&ca, ca_id);
    leaf = t_registry_leaf(&ca, "dev-1");
    T_DONE(cm_reg_policy_add(t_registry, "P", "{}", &t_no));
}

static void teardown(void)
{
    X509_free(leaf);
    t_authority_done(&ca);
    t_registry_teardown();
}

static const char *leaf_id(void)
{
    static char id[CM_REG_ID];
    unsigned char digest[32];
    struct cm_writer w = cm_writer(id, 64);

    cr_assert_eq(X509_digest(leaf, EVP_sha256(), digest, NULL), 1);
    cm_put_hex(&w, digest, sizeof digest);
    return id;
}

static cm_err provision(const char *body)
{
    struct cm_reg_ca row = { 0 };

    T_DONE(cm_reg_ca_update(t_registry, ca_id,
                            &(struct cm_reg_ca_change) { .template_body = body, .role_arn = "role" }, &t_no));
    T_DONE(cm_reg_ca_find(t_registry, ca_id, &row, &t_no));
    const struct cm_reg_cert_new cert = { .id = leaf_id(), .ca_id = ca_id, .pem = t_registry_pem(leaf) };
    t_no = (struct cm_svc_error) { 0 };
    const cm_err rc = cm_template_jitp(t_registry, &row, &cert, leaf, &done, &t_no);
    cm_reg_ca_done(&row);
    return rc;
}

static enum cm_reg_status status(void)
{
    struct cm_reg_cert cert = { 0 };

    T_DONE(cm_reg_cert_find(t_registry, leaf_id(), &cert, &t_no));
    const enum cm_reg_status has = cert.status;
    cm_reg_cert_done(&cert);
    return has;
}

Test(template, just_in_time, .init = setup, .fini = teardown)
{
    struct cm_reg_thing thing = { 0 };
    char arn[CM_SVC_ARN];
    bool attached = false;

    T_DONE(provision(BODY(
        CN "," JITP_ID "," P("AWS::IoT::Certificate::SerialNumber"), BY_ID
        "," POLICY_NAMED
        "," THING(",\"AttributePayload\":{\"serial\":" REF("AWS::IoT::Certificate::SerialNumber") "}", ""))));
    cr_expect_eq(status(), CM_REG_ACTIVE);
    cr_expect_str_eq(done.thing, "dev-1");
    cr_expect_str_eq(done.policy, "P");
    T_DONE(cm_reg_thing_find(t_registry, "dev-1", &thing, &t_no));
    cr_expect_str_eq(thing.attributes, "{\"serial\":\"4711\"}");
    cm_reg_thing_done(&thing);
    cr_assert(cm_registry_arn(t_registry, "cert", leaf_id(), arn, sizeof arn));
    T_DONE(cm_reg_thing_attached(t_registry, "dev-1", arn, &attached, &t_no));
    cr_expect(attached);
}

Test(template, a_missing_parameter_is_the_services_error, .init = setup, .fini = teardown)
{
    struct cm_reg_thing thing = { 0 };

    T_REFUSED(
        provision(BODY(CN "," JITP_ID "," P("AWS::IoT::Certificate::Country"), BY_ID "," THING("", ""))),
        CM_SVC_REGISTRATION);
    cr_expect_str_eq(t_no.base.what, "Cannot resolve reference value: {Ref=AWS::IoT::Certificate::Country}");
    cr_expect_eq(status(), CM_REG_PENDING_ACTIVATION, "the row stays, as it was registered");
    T_REFUSED(cm_reg_thing_find(t_registry, "dev-1", &thing, &t_no), CM_SVC_NOT_FOUND);
    T_REFUSED(provision(BODY(JITP_ID, BY_ID "," THING("", ""))), CM_SVC_REGISTRATION); /* not declared */
    T_DONE(provision(BODY(
        CN "," JITP_ID ",\"AWS::IoT::Certificate::Country\":{\"Type\":\"String\",\"Default\":\"DE\"}",
        BY_ID "," THING(",\"AttributePayload\":{\"c\":" REF("AWS::IoT::Certificate::Country") "}", ""))));
    T_DONE(cm_reg_thing_find(t_registry, "dev-1", &thing, &t_no));
    cr_expect_str_eq(thing.attributes, "{\"c\":\"DE\"}");
    cm_reg_thing_done(&thing);
}

Test(template, nothing_stays_of_what_fails, .init = setup, .fini = teardown)
{
    struct cm_reg_thing thing = { 0 };

    T_REFUSED(provision(BODY(CN "," JITP_ID,
                             BY_ID "," POLICY_NAMED "," THING(",\"ThingGroups\":[\"nowhere\"]", ""))),
              CM_SVC_NOT_FOUND);
    cr_expect_eq(status(), CM_REG_PENDING_ACTIVATION);
    T_REFUSED(cm_reg_thing_find(t_registry, "dev-1", &thing, &t_no), CM_SVC_NOT_FOUND);
    T_REFUSED(provision(BODY(CN "," JITP_ID, BY_ID ",\"p\":{\"Type\":\"AWS::IoT::Policy\",\"Properties\":"
                                                   "{\"PolicyName\":\"nowhere\"}}")),
              CM_SVC_NOT_FOUND);
}

static const char *attributes_now(void)
{
    static char text[128];
    struct cm_reg_thing thing = { 0 };

    T_DONE(cm_reg_thing_find(t_registry, "dev-1", &thing, &t_no));
    (void) snprintf(text, sizeof text, "%s", thing.attributes);
    cm_reg_thing_done(&thing);
    return text;
}

#define WITH_B(settings)                                                                                     \
    BODY(CN "," JITP_ID, BY_ID "," THING(",\"AttributePayload\":{\"b\":\"2\"}", settings))
#define SETTING(how) ",\"OverrideSettings\":{\"AttributePayload\":\"" how "\"}"

Test(template, what_exists_is_treated_as_the_settings_say, .init = setup, .fini = teardown)
{
    T_DONE(cm_reg_thing_add(
        t_registry, &(struct cm_reg_thing_new) { .name = "dev-1", .attributes = "{\"a\":\"1\"}" }, &t_no));
    T_DONE(provision(WITH_B("")));
    cr_expect_str_eq(attributes_now(), "{\"a\":\"1\"}");
    T_REFUSED(provision(WITH_B(SETTING("FAIL"))), CM_SVC_RESOURCE_CONFLICT);
    T_DONE(provision(WITH_B(SETTING("MERGE"))));
    cr_expect_str_eq(attributes_now(), "{\"a\":\"1\",\"b\":\"2\"}");
    T_DONE(provision(WITH_B(SETTING("REPLACE"))));
    cr_expect_str_eq(attributes_now(), "{\"b\":\"2\"}");
    T_DONE(cm_reg_cert_set_status(t_registry, leaf_id(), CM_REG_INACTIVE, &t_no));
    T_DONE(provision(WITH_B("")));
    cr_expect_eq(status(), CM_REG_INACTIVE, "only what waits is activated without being told to replace");
}
