#include "rehearsal/policy.h"

#include "engine/ossl.h"
#include "io/jsonread.h"

#include <arpa/inet.h>

enum { IP_TEXT = 64 };

/* What the variables of one principal stand for. */
struct context {
    const struct cm_principal *who;
    const char *thing_name; /* NULL: the client id is no thing that the certificate is attached to */
    struct cm_reg_thing thing;
    json_t *attributes;
    char *serial; /* decimal; libcrypto's */
    GENERAL_NAMES *subject_names, *issuer_names;
    char ip[CM_POLICY_VALUES][IP_TEXT];
};

static const struct {
    const char *name;
    int nid;
} attributes[] = {
    { "DistinguishedNameQualifier", NID_dnQualifier },
    { "Country", NID_countryName },
    { "Organization", NID_organizationName },
    { "OrganizationalUnit", NID_organizationalUnitName },
    { "State", NID_stateOrProvinceName },
    { "CommonName", NID_commonName },
    { "SerialNumber", NID_serialNumber },
    { "Title", NID_title },
    { "Surname", NID_surname },
    { "GivenName", NID_givenName },
    { "Initials", NID_initials },
    { "Pseudonym", NID_pseudonym },
    { "GenerationQualifier", NID_generationQualifier },
};

static const struct {
    const char *name;
    int type;
} alternatives[] = {
    { "RFC822Name", GEN_EMAIL },
    { "DNSName", GEN_DNS },
    { "UniformResourceIdentifier", GEN_URI },
    { "IPAddress", GEN_IPADD },
};

/* Takes `word` off the front of *name. */
static bool take(struct cm_span *name, const char *word)
{
    const size_t len = strlen(word);

    if (name->len < len || memcmp(name->data, word, len) != 0)
        return false;
    *name = cm_span(name->data + len, name->len - len);
    return true;
}

/* Strings whose octets are their characters' UTF-8, or ASCII. */
static bool string_value(const ASN1_STRING *s, struct cm_span *out)
{
    const int type = ASN1_STRING_type(s);

    if (type != V_ASN1_UTF8STRING && type != V_ASN1_PRINTABLESTRING && type != V_ASN1_IA5STRING)
        return false;
    *out = cm_span(ASN1_STRING_get0_data(s), (size_t) ASN1_STRING_length(s));
    return true;
}

static size_t name_values(const X509_NAME *dn, int nid, struct cm_span value[CM_POLICY_VALUES])
{
    size_t count = 0;

    for (int at = X509_NAME_get_index_by_NID(dn, nid, -1); at >= 0 && count < CM_POLICY_VALUES;
         at = X509_NAME_get_index_by_NID(dn, nid, at))
        count += string_value(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(dn, at)), &value[count]);
    return count;
}

static bool ip_value(const ASN1_STRING *s, char text[IP_TEXT], struct cm_span *out)
{
    const int len = ASN1_STRING_length(s);

    if ((len != 4 && len != 16) ||
        inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(s), text, IP_TEXT) == NULL)
        return false;
    *out = cm_span_str(text);
    return true;
}

static size_t alternative_values(struct context *c, const GENERAL_NAMES *names, int type,
                                 struct cm_span value[CM_POLICY_VALUES])
{
    size_t count = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(names) && count < CM_POLICY_VALUES; i++) {
        int has = 0;
        const ASN1_STRING *const s = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &has);
        if (has == type)
            count +=
                type == GEN_IPADD ? ip_value(s, c->ip[count], &value[count]) : string_value(s, &value[count]);
    }
    return count;
}

/* "": the first value; ".N": that one; ".List": all. */
static size_t choose(struct cm_span suffix, struct cm_span value[CM_POLICY_VALUES], size_t count)
{
    if (suffix.len == 0 || count == 0)
        return count > 0;
    if (cm_span_eq(suffix, cm_span_str(".List")))
        return count;
    if (suffix.len != 2 || suffix.data[0] != '.' || suffix.data[1] < '0' ||
        (size_t) (suffix.data[1] - '0') >= count)
        return 0;
    value[0] = value[suffix.data[1] - '0'];
    return 1;
}

static bool at_word_end(struct cm_span rest)
{
    return rest.len == 0 || rest.data[0] == '.';
}

static size_t certificate_values(struct context *c, struct cm_span name,
                                 struct cm_span value[CM_POLICY_VALUES])
{
    const bool issuer = take(&name, "Issuer.");

    if (!issuer && !take(&name, "Subject.")) {
        value[0] = cm_span_str(c->serial);
        return cm_span_eq(name, cm_span_str("SerialNumber"));
    }
    if (take(&name, "AlternativeName.")) {
        for (size_t i = 0; i < CM_COUNT(alternatives); i++) {
            struct cm_span rest = name;
            if (take(&rest, alternatives[i].name) && at_word_end(rest))
                return choose(rest, value,
                              alternative_values(c, issuer ? c->issuer_names : c->subject_names,
                                                 alternatives[i].type, value));
        }
        return 0;
    }
    const X509_NAME *const dn =
        issuer ? X509_get_issuer_name(c->who->leaf) : X509_get_subject_name(c->who->leaf);
    for (size_t i = 0; i < CM_COUNT(attributes); i++) {
        struct cm_span rest = name;
        if (take(&rest, attributes[i].name) && at_word_end(rest))
            return choose(rest, value, name_values(dn, attributes[i].nid, value));
    }
    return 0;
}

static size_t attribute_value(const struct context *c, struct cm_span name, struct cm_span *value)
{
    char key[CM_REG_NAME];

    if (name.len < 2 || name.data[name.len - 1] != ']' || name.len > sizeof key)
        return 0;
    (void) snprintf(key, sizeof key, "%.*s", (int) name.len - 1, (const char *) name.data);
    const char *const text = json_string_value(json_object_get(c->attributes, key));
    if (text == NULL)
        return 0;
    *value = cm_span_str(text);
    return 1;
}

static size_t thing_values(const struct context *c, struct cm_span name, struct cm_span *value)
{
    if (cm_span_eq(name, cm_span_str("IsAttached"))) {
        *value = cm_span_str(c->thing_name != NULL ? "true" : "false");
        return 1;
    }
    if (c->thing_name == NULL)
        return 0;
    if (take(&name, "Attributes["))
        return attribute_value(c, name, value);
    if (cm_span_eq(name, cm_span_str("ThingName")))
        *value = cm_span_str(c->thing_name);
    else if (cm_span_eq(name, cm_span_str("ThingTypeName")) && c->thing.type[0] != '\0')
        *value = cm_span_str(c->thing.type);
    else
        return 0;
    return 1;
}

static size_t lookup(void *arg, struct cm_span name, struct cm_span value[CM_POLICY_VALUES])
{
    struct context *const c = arg;

    if (cm_span_eq(name, cm_span_str("iot:ClientId"))) {
        value[0] = cm_span_str(c->who->client_id);
        return 1;
    }
    if (cm_span_eq(name, cm_span_str("aws:SourceIp"))) {
        value[0] = cm_span_str(c->who->source_ip != NULL ? c->who->source_ip : "");
        return c->who->source_ip != NULL;
    }
    if (take(&name, "iot:Connection.Thing."))
        return thing_values(c, name, value);
    return take(&name, "iot:Certificate.") ? certificate_values(c, name, value) : 0;
}

/* The thing of a connection is the one that the client id names, if the certificate is attached to it. */
static cm_err find_thing(struct cm_registry *r, struct context *c, const char *arn, struct cm_svc_error *no)
{
    bool attached = false;

    CM_TRY(cm_reg_thing_attached(r, c->who->client_id, arn, &attached, no));
    if (!attached)
        return CM_OK;
    CM_TRY(cm_reg_thing_find(r, c->who->client_id, &c->thing, no));
    c->thing_name = c->thing.name;
    return cm_json_read(cm_span_str(c->thing.attributes), &c->attributes, NULL, &no->base);
}

static cm_err open_context(struct cm_registry *r, struct context *c, const char *arn, struct cm_svc_error *no)
{
    CM_AUTO(BIGNUM) serial = ASN1_INTEGER_to_BN(X509_get0_serialNumber(c->who->leaf), NULL);

    c->serial = serial != NULL ? BN_bn2dec(serial) : NULL;
    if (c->serial == NULL)
        CM_FAIL(&no->base, CM_E_NOMEM, "out of memory for a certificate's serial number");
    c->subject_names = X509_get_ext_d2i(c->who->leaf, NID_subject_alt_name, NULL, NULL);
    c->issuer_names = X509_get_ext_d2i(c->who->leaf, NID_issuer_alt_name, NULL, NULL);
    return find_thing(r, c, arn, no);
}

static void close_context(struct context *c)
{
    OPENSSL_free(c->serial);
    GENERAL_NAMES_free(c->subject_names);
    GENERAL_NAMES_free(c->issuer_names);
    cm_reg_thing_done(&c->thing);
    json_decref(c->attributes);
}

struct judging {
    struct cm_policy_request request;
    struct cm_policy_answer answer;
    struct cm_svc_error *no;
};

static cm_err on_policy(void *arg, const char *name, const char *document)
{
    struct judging *const j = arg;
    struct cm_policy *p = NULL;

    CM_TRY(cm_policy_parse(cm_span_str(document), &p, j->no));
    const enum cm_policy_effect said = cm_policy_judge(p, &j->request);
    cm_policy_free(p);
    j->answer.attached++;
    if (said > j->answer.effect) {
        j->answer.effect = said;
        (void) snprintf(j->answer.policy, sizeof j->answer.policy, "%s", name);
    }
    return CM_OK;
}

cm_err cm_policy_authorize(struct cm_registry *r, const struct cm_principal *who, const char *action,
                           const char *kind, const char *name, struct cm_policy_answer *out,
                           struct cm_svc_error *no)
{
    const size_t cap = strlen(name) + CM_SVC_ARN;
    struct context c = { .who = who };
    struct judging j = { .request = { .action = action, .lookup = lookup, .lookup_arg = &c }, .no = no };
    char arn[CM_SVC_ARN], *const resource = malloc(cap);

    if (resource == NULL)
        CM_FAIL(&no->base, CM_E_NOMEM, "out of memory to judge a request");
    CM_ASSERT(cm_registry_arn(r, kind, name, resource, cap));
    CM_ASSERT(cm_registry_arn(r, "cert", who->certificate_id, arn, sizeof arn));
    j.request.resource = resource;
    cm_err rc = open_context(r, &c, arn, no);
    if (rc == CM_OK)
        rc = cm_reg_policies_of(r, arn, c.thing_name, on_policy, &j, no);
    close_context(&c);
    free(resource);
    if (rc == CM_OK)
        *out = j.answer;
    return rc;
}
