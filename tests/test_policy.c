/* Goal: a policy allows what AWS IoT's documentation says that it allows, and what can't be judged here is
 * refused when the policy is made. Method: tables of documents and requests; a certificate with every trap in
 * its subject. */
#include "rehearsal/policy.h"
#include "tests/t_registry.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <unistd.h>

#define ARN "arn:aws:iot:us-east-1:123456789012:"

static cm_err parse(const char *document, struct cm_policy **p)
{
    t_no = (struct cm_svc_error) { 0 };
    return cm_policy_parse(cm_span_str(document), p, &t_no);
}

/* ---- What is refused */

#define ONE(members) "{\"Version\":\"2012-10-17\",\"Statement\":[{" members "}]}"
#define STATEMENT(effect, action, resource)                                                                  \
    "{\"Effect\":\"" effect "\",\"Action\":\"" action "\",\"Resource\":\"" resource "\"}"
#define POLICY(statements) "{\"Version\":\"2012-10-17\",\"Statement\":[" statements "]}"
#define ALLOW(action, resource) POLICY(STATEMENT("Allow", action, resource))
#define WITH(condition)                                                                                      \
    ONE("\"Effect\":\"Allow\",\"Action\":\"iot:Connect\",\"Resource\":\"*\",\"Condition\":" condition)

static const struct {
    const char *document, *says;
} malformed[] = {
    { "", "no JSON" },
    { "[]", "object" },
    { "{\"Version\":\"2012-10-17\"}", "no Statement" },
    { "{\"Version\":\"2012-10-17\",\"Statement\":[]}", "no Statement" },
    { "{\"Statement\":[" STATEMENT("Allow", "*", "*") "]}", "Version" },
    { "{\"Version\":\"2008-10-17\",\"Statement\":[" STATEMENT("Allow", "*", "*") "]}", "Version" },
    { ONE("\"Effect\":\"Allow\",\"NotAction\":\"iot:Connect\",\"Resource\":\"*\""), "NotAction" },
    { ONE("\"Effect\":\"Allow\",\"Action\":\"iot:Connect\",\"NotResource\":\"*\""), "NotResource" },
    { ONE("\"Effect\":\"Allow\",\"Principal\":\"*\",\"Action\":\"*\",\"Resource\":\"*\""), "Principal" },
    { ONE("\"Effect\":\"allow\",\"Action\":\"*\",\"Resource\":\"*\""), "Effect" },
    { ONE("\"Effect\":\"Allow\",\"Action\":\"*\""), "Resource" },
    { ONE("\"Effect\":\"Allow\",\"Action\":[],\"Resource\":\"*\""), "empty" },
    { ONE("\"Effect\":\"Allow\",\"Action\":[1],\"Resource\":\"*\""), "string" },
    { ALLOW("Connect", "*"), "Action" },
    { ALLOW("iot:", "*"), "Action" },
    { ALLOW("iot:Con nect", "*"), "Action" },
    { ALLOW("iot:Connect", "client/x"), "Resource" },
    { ALLOW("iot:Connect", ARN "client/${iot:ClientId"), "without its }" },
    { WITH("{\"NumericEquals\":{\"a\":\"1\"}}"), "NumericEquals" },
    { WITH("{\"StringEqualsIf\":{\"a\":\"1\"}}"), "StringEqualsIf" },
    { WITH("{\"NullIfExists\":{\"a\":\"true\"}}"), "NullIfExists" },
    { WITH("{\"StringEquals\":\"a\"}"), "object" },
    { WITH("{\"StringEquals\":{\"a\":[]}}"), "empty" },
    { "{\"Version\":\"2012-10-17\",\"Version\":\"2012-10-17\",\"Statement\":[" STATEMENT("Allow", "*",
                                                                                         "*") "]}",
      "no JSON" },
};

Test(policy, what_is_not_evaluated_is_refused)
{
    for (size_t i = 0; i < CM_COUNT(malformed); i++) {
        struct cm_policy *p = NULL;
        cr_expect_eq(parse(malformed[i].document, &p), CM_E_INPUT, "%s", malformed[i].document);
        cr_expect_eq(t_no.kind, CM_SVC_MALFORMED_POLICY);
        cr_expect_not_null(strstr(t_no.base.what, malformed[i].says), "%s: %s", malformed[i].document,
                           t_no.base.what);
    }
}

Test(policy, the_size_counts_no_white_space)
{
    static char text[8000];
    struct cm_policy *p = NULL;
    const char *const doc = ALLOW("iot:Connect", "*");
    size_t at = 0;

    (void) memset(text, ' ', 4000);
    (void) snprintf(text + 4000, sizeof text - 4000, "%s", doc);
    cr_expect_eq(parse(text, &p), CM_OK, "%s", t_no.base.what);
    cm_policy_free(p);
    at = (size_t) snprintf(text, sizeof text, "{\"Version\":\"2012-10-17\",\"Id\":\"");
    (void) memset(text + at, 'x', 2048);
    (void) snprintf(text + at + 2048, sizeof text - at - 2048, "\"%s", doc + 1);
    cr_expect_eq(parse(text, &p), CM_E_INPUT);
    cr_expect_not_null(strstr(t_no.base.what, "2048"));
}

/* ---- What is evaluated */

static size_t lookup(void *arg, struct cm_span name, struct cm_span value[CM_POLICY_VALUES])
{
    static const struct {
        const char *name, *value[3];
    } has[] = {
        { "iot:ClientId", { "dev-1" } },
        { "iot:Connection.Thing.ThingName", { "dev-1" } },
        { "iot:Connection.Thing.IsAttached", { "true" } },
        { "iot:Certificate.Subject.CommonName", { "dev-1" } },
        { "iot:Certificate.Subject.Organization", { "a*b" } },
        { "iot:Certificate.Subject.Country.List", { "DE", "FR" } },
        { "iot:Certificate.Subject.Country", { "DE" } },
        { "iot:Certificate.Subject.Title", { "" } },
    };

    (void) arg;
    for (size_t i = 0; i < CM_COUNT(has); i++) {
        size_t n = 0;
        if (!cm_span_eq(name, cm_span_str(has[i].name)))
            continue;
        for (; n < 3 && has[i].value[n] != NULL; n++)
            value[n] = cm_span_str(has[i].value[n]);
        return n;
    }
    return 0;
}

static const struct {
    const char *document, *action, *resource;
    enum cm_policy_effect want;
} cases[] = {
    /* Actions and resources */
    { ALLOW("*", "*"), "iot:Connect", ARN "client/x", CM_POLICY_ALLOW },
    { ALLOW("iot:*", "*"), "iot:Publish", ARN "topic/x", CM_POLICY_ALLOW },
    { ALLOW("iot:Connect", "*"), "iot:Publish", ARN "topic/x", CM_POLICY_SILENT },
    { ALLOW("iot:connect", "*"), "iot:Connect", ARN "client/x", CM_POLICY_SILENT },
    { ALLOW("iot:Connect", ARN "client/dev-1"), "iot:Connect", ARN "client/dev-1", CM_POLICY_ALLOW },
    { ALLOW("iot:Connect", ARN "client/dev-1"), "iot:Connect", ARN "client/dev-10", CM_POLICY_SILENT },
    { ALLOW("iot:Connect", ARN "client/dev-1"), "iot:Connect", ARN "client/dev-", CM_POLICY_SILENT },
    { ALLOW("iot:Connect", ARN "client/dev-*"), "iot:Connect", ARN "client/dev-", CM_POLICY_ALLOW },
    { ALLOW("iot:Connect", ARN "client/dev-?"), "iot:Connect", ARN "client/dev-", CM_POLICY_SILENT },
    { ALLOW("iot:Connect", ARN "client/dev-?"), "iot:Connect", ARN "client/dev-\xc3\xa4", CM_POLICY_ALLOW },
    { ALLOW("iot:Connect", ARN "client/*1*3"), "iot:Connect", ARN "client/112233", CM_POLICY_ALLOW },
    { ALLOW("iot:Connect", ARN "client/*1*3"), "iot:Connect", ARN "client/1122334", CM_POLICY_SILENT },
    { ALLOW("iot:Connect", ARN "client/**"), "iot:Connect", ARN "client/", CM_POLICY_ALLOW },
    { ALLOW("iot:Connect", ARN "client/*"), "iot:Connect", "arn:aws:iot:eu-west-1:123456789012:client/x",
      CM_POLICY_SILENT },
    /* MQTT's own wildcards are characters like others */
    { ALLOW("iot:Subscribe", ARN "topicfilter/a/+/b"), "iot:Subscribe", ARN "topicfilter/a/+/b",
      CM_POLICY_ALLOW },
    { ALLOW("iot:Subscribe", ARN "topicfilter/a/+/b"), "iot:Subscribe", ARN "topicfilter/a/x/b",
      CM_POLICY_SILENT },
    { ALLOW("iot:Subscribe", ARN "topicfilter/a/#"), "iot:Subscribe", ARN "topicfilter/a/b",
      CM_POLICY_SILENT },
    { ALLOW("iot:Receive", ARN "topic/a/*"), "iot:Receive", ARN "topic/a/b/c", CM_POLICY_ALLOW },
    /* An explicit Deny wins, wherever it stands */
    { POLICY(STATEMENT("Allow", "*", "*") "," STATEMENT("Deny", "iot:Publish", ARN "topic/secret*")),
      "iot:Publish", ARN "topic/secret/1", CM_POLICY_DENY },
    { POLICY(STATEMENT("Deny", "iot:Publish", ARN "topic/secret*") "," STATEMENT("Allow", "*", "*")),
      "iot:Publish", ARN "topic/secret/1", CM_POLICY_DENY },
    { POLICY(STATEMENT("Deny", "iot:Publish", ARN "topic/secret*") "," STATEMENT("Allow", "*", "*")),
      "iot:Publish", ARN "topic/open", CM_POLICY_ALLOW },
    { "{\"Version\":\"2012-10-17\",\"Statement\":" STATEMENT("Allow", "*", "*") "}", "iot:Connect",
      ARN "client/x", CM_POLICY_ALLOW },
    { ONE("\"Effect\":\"Allow\",\"Action\":[\"iot:Publish\",\"iot:Connect\"],\"Resource\":[\"arn:x\",\"*\"]"),
      "iot:Connect", ARN "client/x", CM_POLICY_ALLOW },
    /* Variables */
    { ALLOW("iot:Connect", ARN "client/${iot:ClientId}"), "iot:Connect", ARN "client/dev-1",
      CM_POLICY_ALLOW },
    { ALLOW("iot:Connect", ARN "client/${iot:ClientId}"), "iot:Connect", ARN "client/dev-2",
      CM_POLICY_SILENT },
    { ALLOW("iot:Publish", ARN "topic/${iot:Connection.Thing.ThingName}/*"), "iot:Publish",
      ARN "topic/dev-1/t", CM_POLICY_ALLOW },
    { ALLOW("iot:Publish", ARN "topic/*${iot:Certificate.Subject.CommonName}*"), "iot:Publish",
      ARN "topic/dev-dev-1-x", CM_POLICY_ALLOW },
    { ALLOW("iot:Publish", ARN "topic/${iot:Certificate.Subject.Title}x"), "iot:Publish", ARN "topic/x",
      CM_POLICY_ALLOW },
    /* A value with a wildcard character stays out: neither it nor what it would match is allowed */
    { ALLOW("iot:Publish", ARN "topic/${iot:Certificate.Subject.Organization}"), "iot:Publish",
      ARN "topic/a*b", CM_POLICY_SILENT },
    { ALLOW("iot:Publish", ARN "topic/${iot:Certificate.Subject.Organization}"), "iot:Publish",
      ARN "topic/axb", CM_POLICY_SILENT },
    { ALLOW("iot:Publish", ARN "topic/${iot:Certificate.Subject.Organization}"), "iot:Publish",
      ARN "topic/${iot:Certificate.Subject.Organization}", CM_POLICY_ALLOW },
    { ALLOW("iot:Publish", ARN "topic/${iot:Unknown}"), "iot:Publish", ARN "topic/", CM_POLICY_SILENT },
    { ALLOW("iot:Publish", ARN "topic/${*}"), "iot:Publish", ARN "topic/*", CM_POLICY_ALLOW },
    { ALLOW("iot:Publish", ARN "topic/${*}"), "iot:Publish", ARN "topic/x", CM_POLICY_SILENT },
    { ALLOW("iot:Publish", ARN "topic/${$}{x}"), "iot:Publish", ARN "topic/${x}", CM_POLICY_ALLOW },
    /* Conditions */
    { WITH("{\"Bool\":{\"iot:Connection.Thing.IsAttached\":[\"true\"]}}"), "iot:Connect", "arn:c",
      CM_POLICY_ALLOW },
    { WITH("{\"Bool\":{\"iot:Connection.Thing.IsAttached\":true}}"), "iot:Connect", "arn:c",
      CM_POLICY_ALLOW },
    { WITH("{\"Bool\":{\"iot:Connection.Thing.IsAttached\":\"false\"}}"), "iot:Connect", "arn:c",
      CM_POLICY_SILENT },
    { WITH("{\"StringEquals\":{\"iot:ClientId\":[\"x\",\"dev-1\"]}}"), "iot:Connect", "arn:c",
      CM_POLICY_ALLOW },
    { WITH("{\"StringEquals\":{\"iot:ClientId\":\"dev-*\"}}"), "iot:Connect", "arn:c", CM_POLICY_SILENT },
    { WITH("{\"StringLike\":{\"iot:ClientId\":\"dev-*\"}}"), "iot:Connect", "arn:c", CM_POLICY_ALLOW },
    { WITH("{\"StringNotLike\":{\"iot:ClientId\":\"dev-*\"}}"), "iot:Connect", "arn:c", CM_POLICY_SILENT },
    { WITH("{\"StringNotEquals\":{\"iot:ClientId\":[\"a\",\"dev-1\"]}}"), "iot:Connect", "arn:c",
      CM_POLICY_SILENT },
    { WITH("{\"StringNotEquals\":{\"iot:Absent\":\"a\"}}"), "iot:Connect", "arn:c", CM_POLICY_ALLOW },
    { WITH("{\"StringEquals\":{\"iot:Absent\":\"a\"}}"), "iot:Connect", "arn:c", CM_POLICY_SILENT },
    { WITH("{\"StringEqualsIfExists\":{\"iot:Absent\":\"a\"}}"), "iot:Connect", "arn:c", CM_POLICY_ALLOW },
    { WITH("{\"StringEqualsIgnoreCase\":{\"iot:ClientId\":\"DEV-1\"}}"), "iot:Connect", "arn:c",
      CM_POLICY_ALLOW },
    { WITH("{\"StringEquals\":{\"iot:ClientId\":\"${iot:Connection.Thing.ThingName}\"}}"), "iot:Connect",
      "arn:c", CM_POLICY_ALLOW },
    { WITH("{\"Null\":{\"iot:Absent\":\"true\"}}"), "iot:Connect", "arn:c", CM_POLICY_ALLOW },
    { WITH("{\"Null\":{\"iot:ClientId\":\"true\"}}"), "iot:Connect", "arn:c", CM_POLICY_SILENT },
    { WITH("{\"ForAllValues:StringEquals\":{\"iot:Certificate.Subject.Country.List\":[\"DE\",\"FR\"]}}"),
      "iot:Connect", "arn:c", CM_POLICY_ALLOW },
    { WITH("{\"ForAllValues:StringEquals\":{\"iot:Certificate.Subject.Country.List\":[\"DE\"]}}"),
      "iot:Connect", "arn:c", CM_POLICY_SILENT },
    { WITH("{\"ForAnyValue:StringEquals\":{\"iot:Certificate.Subject.Country.List\":[\"FR\"]}}"),
      "iot:Connect", "arn:c", CM_POLICY_ALLOW },
    { WITH("{\"StringEquals\":{\"iot:ClientId\":\"dev-1\",\"iot:Absent\":\"x\"}}"), "iot:Connect", "arn:c",
      CM_POLICY_SILENT },
};

Test(policy, cases)
{
    for (size_t i = 0; i < CM_COUNT(cases); i++) {
        const struct cm_policy_request request = { .action = cases[i].action,
                                                   .resource = cases[i].resource,
                                                   .lookup = lookup };
        struct cm_policy *p = NULL;
        cr_assert_eq(parse(cases[i].document, &p), CM_OK, "%s: %s", cases[i].document, t_no.base.what);
        cr_expect_eq(cm_policy_judge(p, &request), cases[i].want, "%s: %s on %s", cases[i].document,
                     cases[i].action, cases[i].resource);
        cm_policy_free(p);
    }
}

/* ---- A certificate's own values */

static X509 *leaf;

#define ID "2222222222222222222222222222222222222222222222222222222222222222"
static void setup(void)
{
    t_registry_setup();
    T_DONE(cm_reg_cert_add(t_registry, &(struct cm_reg_cert_new) { .id = ID, .pem = "PEM" }, &t_no));
}

static void add_entry(X509_NAME *n, int nid, const char *text)
{
    cr_assert_eq(X509_NAME_add_entry_by_NID(n, nid, MBSTRING_UTF8, (const unsigned char *) text, -1, -1, 0),
                 1);
}

static void make_leaf(void)
{
    X509_EXTENSION *san = NULL;

    leaf = X509_new();
    X509_NAME *const n = X509_get_subject_name(leaf);
    add_entry(n, NID_commonName, "dev-1");
    add_entry(n, NID_countryName, "DE");
    add_entry(n, NID_organizationName, "one");
    add_entry(n, NID_organizationName, "two");
    add_entry(n, NID_organizationalUnitName, "evil#");
    cr_assert_eq(ASN1_INTEGER_set(X509_get_serialNumber(leaf), 4711), 1);
    san = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, "DNS:d.example,IP:10.0.0.1");
    cr_assert_not_null(san);
    cr_assert_eq(X509_add_ext(leaf, san, -1), 1);
    X509_EXTENSION_free(san);
}

static void teardown(void)
{
    X509_free(leaf);
    t_registry_teardown();
}

static enum cm_policy_effect ask(const char *action, const char *kind, const char *name)
{
    const struct cm_principal who = {
        .certificate_id = ID, .leaf = leaf, .client_id = "dev-1", .source_ip = "127.0.0.1"
    };
    struct cm_policy_answer answer = { 0 };

    T_DONE(cm_policy_authorize(t_registry, &who, action, kind, name, &answer, &t_no));
    return answer.effect;
}

static const struct {
    const char *variable, *value;
} values[] = {
    { "iot:Certificate.Subject.CommonName", "dev-1" },
    { "iot:Certificate.Subject.CommonName.0", "dev-1" },
    { "iot:Certificate.Subject.CommonName.1", NULL },
    { "iot:Certificate.Subject.CommonNames", NULL },
    { "iot:Certificate.Subject.Organization", "one" },
    { "iot:Certificate.Subject.Organization.1", "two" },
    { "iot:Certificate.Subject.OrganizationalUnit", NULL }, /* it has a # */
    { "iot:Certificate.Subject.State", NULL },
    { "iot:Certificate.Issuer.CommonName", NULL },
    { "iot:Certificate.Subject.AlternativeName.DNSName", "d.example" },
    { "iot:Certificate.Subject.AlternativeName.IPAddress", "10.0.0.1" },
    { "iot:Certificate.SerialNumber", "4711" },
    { "iot:ClientId", "dev-1" },
    { "aws:SourceIp", "127.0.0.1" },
    { "iot:Connection.Thing.ThingName", "dev-1" },
    { "iot:Connection.Thing.ThingTypeName", NULL },
    { "iot:Connection.Thing.Attributes[site]", "north" },
    { "iot:Connection.Thing.Attributes[none]", NULL },
};

Test(policy, values_of_a_certificate_and_its_thing, .init = setup, .fini = teardown)
{
    char arn[CM_SVC_ARN], document[512], topic[128];

    make_leaf();
    cr_assert(cm_registry_arn(t_registry, "cert", ID, arn, sizeof arn));
    T_DONE(cm_reg_thing_add(
        t_registry, &(struct cm_reg_thing_new) { .name = "dev-1", .attributes = "{\"site\":\"north\"}" },
        &t_no));
    T_DONE(cm_reg_thing_attach(t_registry, "dev-1", arn, &t_no));
    for (size_t i = 0; i < CM_COUNT(values); i++) {
        (void) snprintf(document, sizeof document, ALLOW("iot:Publish", ARN "topic/${%s}"),
                        values[i].variable);
        T_DONE(cm_reg_policy_add(t_registry, "P", document, &t_no));
        T_DONE(cm_reg_policy_attach(t_registry, "P", arn, &t_no));
        (void) snprintf(topic, sizeof topic, "${%s}", values[i].variable);
        cr_expect_eq(ask("iot:Publish", "topic", values[i].value != NULL ? values[i].value : topic),
                     CM_POLICY_ALLOW, "%s", values[i].variable);
        if (values[i].value != NULL)
            cr_expect_eq(ask("iot:Publish", "topic", topic), CM_POLICY_SILENT, "%s", values[i].variable);
        T_DONE(cm_reg_policy_detach(t_registry, "P", arn, &t_no));
        T_DONE(cm_reg_policy_delete(t_registry, "P", &t_no));
    }
}

Test(policy, every_attached_policy_counts, .init = setup, .fini = teardown)
{
    char arn[CM_SVC_ARN];

    make_leaf();
    cr_assert(cm_registry_arn(t_registry, "cert", ID, arn, sizeof arn));
    cr_expect_eq(ask("iot:Connect", "client", "dev-1"), CM_POLICY_SILENT);
    T_DONE(cm_reg_policy_add(t_registry, "A", ALLOW("*", "*"), &t_no));
    T_DONE(cm_reg_policy_add(t_registry, "D", POLICY(STATEMENT("Deny", "iot:Connect", "*")), &t_no));
    T_DONE(cm_reg_policy_attach(t_registry, "A", arn, &t_no));
    cr_expect_eq(ask("iot:Connect", "client", "dev-1"), CM_POLICY_ALLOW);
    T_DONE(cm_reg_policy_attach(t_registry, "D", arn, &t_no));
    cr_expect_eq(ask("iot:Connect", "client", "dev-1"), CM_POLICY_DENY);
    cr_expect_eq(ask("iot:Publish", "topic", "t"), CM_POLICY_ALLOW);
}
