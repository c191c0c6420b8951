#include "aws/rules.h"

#include <criterion/criterion.h>

/* Goal: each rule of AWS IoT refuses what it is for, and nothing else does. Method: facts that are all right,
 * changed in one place; every row of the table must have been refused, or warned of, by some case. */

enum { NOW = 1800000000, DAY = 86400 };

static struct cm_aws_cert good(enum cm_aws_role role)
{
    struct cm_aws_cert c = { .role = role,
                             .key = "P-256",
                             .signature = "ecdsa-with-SHA256",
                             .is_ca = role == CM_AWS_CA,
                             .dated = true,
                             .not_before = NOW - DAY,
                             .not_after = NOW + DAY,
                             .pem_len = 900,
                             .thing_name = role == CM_AWS_DEVICE ? "SN:0_1-a" : NULL,
                             .same_subject = role == CM_AWS_CA ? 10 : 0 };

    (void) snprintf(c.common_name, sizeof c.common_name, "%s",
                    role == CM_AWS_VERIFICATION
                        ? "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"
                        : "SN1");
    return c;
}

struct seen {
    const char *rule;
    enum cm_aws_verdict verdict;
    unsigned times;
};

static void note(void *arg, const struct cm_aws_rule *rule, enum cm_aws_verdict verdict, const char *why)
{
    struct seen *const s = arg;

    s->rule = rule->name;
    s->verdict = verdict;
    s->times++;
    cr_expect_neq(why[0], '\0', "%s says nothing", rule->name);
}

static unsigned covered; /* bits of rules that some case has met */

static void expect(const char *what, const struct cm_aws_cert *c, const char *rule,
                   enum cm_aws_verdict verdict)
{
    struct seen s = { .verdict = CM_AWS_FINE };
    struct cm_error err = { 0 };

    cr_expect_eq(cm_aws_judge(c, NOW, note, &s), verdict, "%s", what);
    cr_expect_eq(s.times, verdict != CM_AWS_FINE, "%s: %u rules", what, s.times);
    cr_expect_eq(cm_aws_check(c, NOW, "it", &err), verdict == CM_AWS_REFUSED ? CM_E_INPUT : CM_OK, "%s",
                 what);
    for (size_t i = 0; s.times > 0 && i < cm_aws_rules_count(); i++)
        if (strcmp(cm_aws_rule_at(i)->name, s.rule) == 0)
            covered |= 1u << i;
    if (rule != NULL && s.rule != NULL)
        cr_expect_str_eq(s.rule, rule, "%s: by %s", what, s.rule);
}

#define CASE(role, rule, verdict, ...)                                                                       \
    do {                                                                                                     \
        struct cm_aws_cert c = good(role);                                                                   \
        __VA_ARGS__;                                                                                         \
        expect(#role ": " #__VA_ARGS__, &c, (rule), (verdict));                                              \
    } while (0)
#define SET(field, text) (void) snprintf(c.field, sizeof c.field, "%s", (text))

static void keys_and_signatures(void)
{
    CASE(CM_AWS_DEVICE, NULL, CM_AWS_FINE, SET(key, "P-521"));
    CASE(CM_AWS_DEVICE, NULL, CM_AWS_FINE, (SET(key, "RSA-2048"), c.rsa_bits = 2048));
    CASE(CM_AWS_DEVICE, NULL, CM_AWS_FINE, (SET(key, "RSA-8192"), c.rsa_bits = 8192));
    CASE(CM_AWS_DEVICE, "key", CM_AWS_REFUSED, (SET(key, "RSA-2047"), c.rsa_bits = 2047));
    CASE(CM_AWS_CA, "key", CM_AWS_REFUSED, (SET(key, "RSA-1024"), c.rsa_bits = 1024));
    CASE(CM_AWS_DEVICE, "key", CM_AWS_REFUSED, SET(key, "Ed25519"));
    CASE(CM_AWS_CA, "key", CM_AWS_REFUSED, SET(key, "secp256k1"));
    CASE(CM_AWS_VERIFICATION, NULL, CM_AWS_FINE, SET(key, "Ed25519"));
    CASE(CM_AWS_CA, NULL, CM_AWS_FINE, SET(signature, "sha512WithRSAEncryption"));
    CASE(CM_AWS_CA, "signature", CM_AWS_REFUSED, SET(signature, "sha1WithRSAEncryption"));
    CASE(CM_AWS_DEVICE, "signature", CM_AWS_REFUSED, SET(signature, "Ed25519"));
    CASE(CM_AWS_DEVICE, "signature", CM_AWS_WARNED, SET(signature, "RSASSA-PSS-SHA256"));
    CASE(CM_AWS_CA, "signature", CM_AWS_REFUSED, SET(signature, "RSASSA-PSS-SHA1"));
}

static void validity_and_size(void)
{
    CASE(CM_AWS_CA, NULL, CM_AWS_FINE, c.not_before = NOW);
    CASE(CM_AWS_CA, "not-yet-valid", CM_AWS_REFUSED, c.not_before = NOW + 1);
    CASE(CM_AWS_DEVICE, "not-yet-valid", CM_AWS_REFUSED, c.not_before = NOW + 1);
    CASE(CM_AWS_DEVICE, NULL, CM_AWS_FINE, c.not_after = NOW);
    CASE(CM_AWS_DEVICE, "expired", CM_AWS_REFUSED, c.not_after = NOW - 1);
    CASE(CM_AWS_VERIFICATION, "expired", CM_AWS_REFUSED, c.not_after = NOW - 1);
    CASE(CM_AWS_DEVICE, NULL, CM_AWS_FINE, (c.dated = false, c.not_after = 0));
    CASE(CM_AWS_DEVICE, NULL, CM_AWS_FINE, c.pem_len = 4096);
    CASE(CM_AWS_DEVICE, "size", CM_AWS_WARNED, c.pem_len = 4097);
    CASE(CM_AWS_CA, "size", CM_AWS_WARNED, c.pem_len = 65536);
    CASE(CM_AWS_CA, "size", CM_AWS_REFUSED, c.pem_len = 65537);
    CASE(CM_AWS_VERIFICATION, NULL, CM_AWS_FINE, c.pem_len = 65536);
    CASE(CM_AWS_VERIFICATION, "size", CM_AWS_REFUSED, c.pem_len = 65537);
}

static void names(void)
{
    char long_name[130] = "";

    memset(long_name, 'a', 128);
    CASE(CM_AWS_DEVICE, NULL, CM_AWS_FINE, c.thing_name = long_name);
    long_name[128] = 'a';
    CASE(CM_AWS_DEVICE, "thing-name", CM_AWS_REFUSED, c.thing_name = long_name);
    CASE(CM_AWS_DEVICE, "thing-name", CM_AWS_REFUSED, c.thing_name = "");
    CASE(CM_AWS_DEVICE, "thing-name", CM_AWS_REFUSED, c.thing_name = "a.b");
    CASE(CM_AWS_DEVICE, "thing-name", CM_AWS_REFUSED, c.thing_name = "a b");
    CASE(CM_AWS_DEVICE, "thing-name", CM_AWS_REFUSED, c.thing_name = "\xc3\xbc");
    CASE(CM_AWS_DEVICE, NULL, CM_AWS_FINE, SET(common_name, ""));
    CASE(CM_AWS_DEVICE, "common-name", CM_AWS_WARNED, SET(common_name, "pump 1"));
    CASE(CM_AWS_CA, NULL, CM_AWS_FINE, SET(common_name, "Acme Device CA"));
    CASE(CM_AWS_VERIFICATION, "registration-code", CM_AWS_REFUSED, c.common_name[63] = '\0');
    CASE(CM_AWS_VERIFICATION, "registration-code", CM_AWS_REFUSED, c.common_name[5] = 'g');
    CASE(CM_AWS_VERIFICATION, "registration-code", CM_AWS_REFUSED,
         (c.common_name[64] = '0', c.common_name[65] = 0));
    CASE(CM_AWS_CA, "same-subject", CM_AWS_REFUSED, c.same_subject = 11);
    CASE(CM_AWS_CA, "basic-constraints", CM_AWS_REFUSED, c.is_ca = false);
    CASE(CM_AWS_DEVICE, NULL, CM_AWS_FINE, c.is_ca = true);
}

Test(aws_rules, good_and_bad)
{
    CASE(CM_AWS_CA, NULL, CM_AWS_FINE, (void) 0);
    CASE(CM_AWS_DEVICE, NULL, CM_AWS_FINE, (void) 0);
    CASE(CM_AWS_VERIFICATION, NULL, CM_AWS_FINE, (void) 0);
    keys_and_signatures();
    validity_and_size();
    names();
    for (size_t i = 0; i < cm_aws_rules_count(); i++)
        cr_expect((covered >> i & 1) != 0, "rule %s has no case", cm_aws_rule_at(i)->name);
}

Test(aws_rules, nonsense_is_no_certificate)
{
    static const char *const texts[] = { "", "nothing",
                                         "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n",
                                         "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n" };
    struct cm_aws_cert c;
    struct cm_error err = { 0 };
    uint8_t id[32], subject[32];

    for (size_t i = 0; i < CM_COUNT(texts); i++)
        cr_expect_eq(cm_aws_cert_pem(cm_span_str(texts[i]), CM_AWS_CA, &c, id, subject, &err), CM_E_INPUT,
                     "%s", texts[i]);
    cr_expect_eq(cm_aws_cert_der(cm_span("\x30\x00", 2), CM_AWS_CA, &c, &err), CM_E_INPUT);
    cr_expect_eq(cm_aws_cert_der(cm_span("", 0), CM_AWS_CA, &c, &err), CM_E_INPUT);
}
