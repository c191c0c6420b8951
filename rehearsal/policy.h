#ifndef CM_REHEARSAL_POLICY_H
#define CM_REHEARSAL_POLICY_H

#include "rehearsal/registry.h"

#include <openssl/types.h>

/* policy.h - AWS IoT policies: parsed strictly, evaluated, not guessed at by prefix.
 *
 * Supported: Version, Id; Statement (one or a list) with Sid, Effect, Action, Resource and Condition; "*" and
 * "?" in actions and resources; ${…} in resources and condition values. Conditions: Bool, Null, and the
 * String and Arn operators with Equals, NotEquals, Like, NotLike, EqualsIgnoreCase, NotEqualsIgnoreCase, each
 * also with ForAllValues:, ForAnyValue: or IfExists. Anything else (NotAction, NotResource, Principal, …) is
 * refused with CM_SVC_MALFORMED_POLICY and a message that says so: nothing is skipped over.
 *
 * Variables: iot:ClientId, aws:SourceIp,
 * iot:Connection.Thing.{ThingName,ThingTypeName,IsAttached,Attributes[NAME]},
 * iot:Certificate.{Subject,Issuer}.ATTRIBUTE, .ATTRIBUTE.N, …AlternativeName.KIND,
 * iot:Certificate.SerialNumber;
 * ${*} ${?} ${$} stand for the character. A value from a certificate that has one of * $ + ? # or more than
 * 1024 characters isn't put in: the text ${…} stays. A variable without a value: the same. What is put in
 * never acts as a wildcard.
 *
 *  Threads   a parsed policy is constant.
 */
enum { CM_POLICY_VALUE_MAX = 1024, CM_POLICY_VALUES = 5 };

enum cm_policy_effect {
    CM_POLICY_SILENT, /* nothing said: denied */
    CM_POLICY_ALLOW,
    CM_POLICY_DENY, /* explicitly: wins over any Allow */
};

struct cm_policy;
CM_MUST_CHECK cm_err cm_policy_parse(struct cm_span document, struct cm_policy **out,
                                     struct cm_svc_error *no);
void cm_policy_free(struct cm_policy *p); /* NULL accepted */

/* The value(s) of a variable: up to CM_POLICY_VALUES of them into value[], views that live as long as the
 * evaluation; their count. 0: it has none. */
typedef size_t cm_policy_lookup(void *arg, struct cm_span name, struct cm_span value[CM_POLICY_VALUES]);

struct cm_policy_request {
    const char *action;   /* "iot:Connect" */
    const char *resource; /* an ARN: …:client/ID, …:topic/T, …:topicfilter/F */
    cm_policy_lookup *lookup;
    void *lookup_arg;
};
enum cm_policy_effect cm_policy_judge(const struct cm_policy *p, const struct cm_policy_request *request);

/* May a connected (or connecting) certificate do this? Judged by the policies that are attached at this
 * moment: one explicit Deny denies, otherwise one Allow allows. */
struct cm_principal {
    const char *certificate_id;
    X509 *leaf;
    const char *client_id;
    const char *source_ip; /* "127.0.0.1" */
};
struct cm_policy_answer {
    enum cm_policy_effect effect;
    char policy[CM_REG_NAME]; /* which one said so; "": none */
    unsigned attached;        /* policies looked at */
};
/* kind and name make the resource: "client" "ID", "topic" "a/b", "topicfilter" "a/+". */
CM_MUST_CHECK cm_err cm_policy_authorize(struct cm_registry *r, const struct cm_principal *who,
                                         const char *action, const char *kind, const char *name,
                                         struct cm_policy_answer *out, struct cm_svc_error *no);

#endif
