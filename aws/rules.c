#include "aws/rules.h"

#include <stdarg.h>
#include <strings.h>

/* rules.c - the table, and one function for each of its rows. */

static enum cm_aws_verdict say(enum cm_aws_verdict verdict, char *why, size_t why_len, const char *fmt, ...)
    CM_PRINTF(4, 5);
static enum cm_aws_verdict say(enum cm_aws_verdict verdict, char *why, size_t why_len, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void) vsnprintf(why, why_len, fmt, ap);
    va_end(ap);
    return verdict;
}
#define REFUSE(...) say(CM_AWS_REFUSED, why, why_len, __VA_ARGS__)
#define WARN(...) say(CM_AWS_WARNED, why, why_len, __VA_ARGS__)

static bool is_one_of(const char *word, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(word, list[i]) == 0)
            return true;
    return false;
}

static enum cm_aws_verdict judge_key(const struct cm_aws_cert *c, cm_when now, char *why, size_t why_len)
{
    static const char *const curves[] = { "P-256", "P-384", "P-521" };

    (void) now;
    if (c->key[0] == '\0' || is_one_of(c->key, curves, CM_COUNT(curves)) ||
        c->rsa_bits >= CM_AWS_RSA_BITS_MIN)
        return CM_AWS_FINE;
    return REFUSE("its key is %s; AWS IoT takes RSA of %d bits or more, P-256, P-384 and P-521", c->key,
                  CM_AWS_RSA_BITS_MIN);
}

static enum cm_aws_verdict judge_signature(const struct cm_aws_cert *c, cm_when now, char *why,
                                           size_t why_len)
{
    static const char *const listed[] = { "ecdsa-with-SHA256",       "ecdsa-with-SHA384",
                                          "ecdsa-with-SHA512",       "sha256WithRSAEncryption",
                                          "sha384WithRSAEncryption", "sha512WithRSAEncryption",
                                          "dsa_with_SHA256" };
    static const char *const doubtful[] = { "RSASSA-PSS-SHA256", "RSASSA-PSS-SHA384", "RSASSA-PSS-SHA512" };

    (void) now;
    if (c->signature[0] == '\0' || is_one_of(c->signature, listed, CM_COUNT(listed)))
        return CM_AWS_FINE;
    if (is_one_of(c->signature, doubtful, CM_COUNT(doubtful)))
        return WARN(
            "it is signed with %s, which only some of AWS's own lists name; register one to try, or sign "
            "with PKCS #1 v1.5",
            c->signature);
    return REFUSE("it is signed with %s; AWS IoT takes ECDSA and RSA with SHA-256, SHA-384 or SHA-512",
                  c->signature);
}

static enum cm_aws_verdict judge_constraints(const struct cm_aws_cert *c, cm_when now, char *why,
                                             size_t why_len)
{
    (void) now;
    return c->is_ca
               ? CM_AWS_FINE
               : REFUSE(
                     "it does not have the basicConstraints extension with CA:TRUE, which AWS IoT wants of a "
                     "CA; have the CA's certificate issued anew");
}

static enum cm_aws_verdict judge_begin(const struct cm_aws_cert *c, cm_when now, char *why, size_t why_len)
{
    char text[24] = "";
    struct cm_writer w = cm_writer(text, sizeof text - 1);

    if (!c->dated || c->not_before <= now)
        return CM_AWS_FINE;
    cm_put_rfc3339(&w, c->not_before);
    return REFUSE("it is not valid before %s; register it then, or have it issued with an earlier notBefore",
                  text);
}

static enum cm_aws_verdict judge_end(const struct cm_aws_cert *c, cm_when now, char *why, size_t why_len)
{
    char text[24] = "";
    struct cm_writer w = cm_writer(text, sizeof text - 1);

    if (!c->dated || c->not_after >= now)
        return CM_AWS_FINE;
    cm_put_rfc3339(&w, c->not_after);
    return REFUSE("it expired at %s", text);
}

static enum cm_aws_verdict judge_size(const struct cm_aws_cert *c, cm_when now, char *why, size_t why_len)
{
    (void) now;
    if (c->pem_len > CM_AWS_PEM_MAX)
        return REFUSE("it has %zu characters as PEM; AWS IoT takes %d", c->pem_len, CM_AWS_PEM_MAX);
    if (c->pem_len > CM_AWS_VALUE_MAX && c->role != CM_AWS_VERIFICATION)
        return WARN("it has %zu characters as PEM, and a bulk registration takes %d; the other paths take it",
                    c->pem_len, CM_AWS_VALUE_MAX);
    return CM_AWS_FINE;
}

static enum cm_aws_verdict judge_thing_name(const struct cm_aws_cert *c, cm_when now, char *why,
                                            size_t why_len)
{
    (void) now;
    return c->thing_name == NULL || cm_aws_thing_name(c->thing_name)
               ? CM_AWS_FINE
               : REFUSE("its id is no name for a thing: AWS IoT takes A-Z a-z 0-9 : _ -, at most %d of them",
                        CM_AWS_NAME_MAX);
}

/* Provisioning templates, ours among them, name the thing by it; policies name the client by it. */
static enum cm_aws_verdict judge_common_name(const struct cm_aws_cert *c, cm_when now, char *why,
                                             size_t why_len)
{
    (void) now;
    return c->common_name[0] == '\0' || cm_aws_thing_name(c->common_name)
               ? CM_AWS_FINE
               : WARN("its CN is no name for a thing (A-Z a-z 0-9 : _ -, at most %d of them), so a "
                      "provisioning "
                      "template must take the name from elsewhere",
                      CM_AWS_NAME_MAX);
}

static enum cm_aws_verdict judge_code(const struct cm_aws_cert *c, cm_when now, char *why, size_t why_len)
{
    (void) now;
    return cm_aws_registration_code(c->common_name)
               ? CM_AWS_FINE
               : REFUSE(
                     "its CN is no registration code, which is %d hexadecimal digits; ask for yours: aws iot "
                     "get-registration-code",
                     CM_AWS_CODE_LEN);
}

static enum cm_aws_verdict judge_same_subject(const struct cm_aws_cert *c, cm_when now, char *why,
                                              size_t why_len)
{
    (void) now;
    return c->same_subject <= CM_AWS_SAME_SUBJECT_MAX
               ? CM_AWS_FINE
               : REFUSE("%zu CA certificates have its subject; AWS IoT takes %d of them in an account and "
                        "region",
                        c->same_subject, CM_AWS_SAME_SUBJECT_MAX);
}

static const struct cm_aws_rule rules[] = {
    { "key", CM_AWS_CA | CM_AWS_DEVICE, judge_key },
    { "signature", CM_AWS_CA | CM_AWS_DEVICE, judge_signature },
    { "basic-constraints", CM_AWS_CA, judge_constraints },
    { "not-yet-valid", CM_AWS_CA | CM_AWS_DEVICE | CM_AWS_VERIFICATION, judge_begin },
    { "expired", CM_AWS_CA | CM_AWS_DEVICE | CM_AWS_VERIFICATION, judge_end },
    { "size", CM_AWS_CA | CM_AWS_DEVICE | CM_AWS_VERIFICATION, judge_size },
    { "thing-name", CM_AWS_DEVICE, judge_thing_name },
    { "common-name", CM_AWS_DEVICE, judge_common_name },
    { "registration-code", CM_AWS_VERIFICATION, judge_code },
    { "same-subject", CM_AWS_CA, judge_same_subject },
};

size_t cm_aws_rules_count(void)
{
    return CM_COUNT(rules);
}

const struct cm_aws_rule *cm_aws_rule_at(size_t i)
{
    return i < CM_COUNT(rules) ? &rules[i] : NULL;
}

enum cm_aws_verdict cm_aws_judge(const struct cm_aws_cert *c, cm_when now, cm_aws_on_rule *on_rule, void *arg)
{
    enum cm_aws_verdict worst = CM_AWS_FINE;

    for (size_t i = 0; i < CM_COUNT(rules); i++) {
        char why[CM_AWS_WHY] = "";
        if ((rules[i].roles & (unsigned) c->role) == 0)
            continue;
        const enum cm_aws_verdict verdict = rules[i].judge(c, now, why, sizeof why);
        if (verdict != CM_AWS_FINE && on_rule != NULL)
            on_rule(arg, &rules[i], verdict, why);
        worst = verdict > worst ? verdict : worst;
    }
    return worst;
}

struct first {
    bool found;
    char why[CM_AWS_WHY];
};

static void keep_first(void *arg, const struct cm_aws_rule *rule, enum cm_aws_verdict verdict,
                       const char *why)
{
    struct first *const f = arg;

    (void) rule;
    if (verdict != CM_AWS_REFUSED || f->found)
        return;
    f->found = true;
    (void) snprintf(f->why, sizeof f->why, "%s", why);
}

cm_err cm_aws_check(const struct cm_aws_cert *c, cm_when now, const char *subject, struct cm_error *err)
{
    struct first f = { .found = false };

    if (cm_aws_judge(c, now, keep_first, &f) == CM_AWS_REFUSED)
        CM_FAIL(err, CM_E_INPUT, "%.160s: %s", subject, f.why);
    return CM_OK;
}
