#include "rehearsal/template.h"

#include "engine/ossl.h"
#include "io/jsonread.h"
#include "io/jsontext.h"
#include "rehearsal/attributes.h"
#include "rehearsal/enroll.h"
#include "rehearsal/policy.h"

#include <stdlib.h>
#include <string.h>

enum how { DO_NOTHING, REPLACE, MERGE, FAIL_IT };

/* Without a setting what is there stays. */
static enum how setting(const json_t *properties, const char *name)
{
    const char *const how =
        json_string_value(json_object_get(json_object_get(properties, "_override"), name));

    if (how == NULL || strcmp(how, "DO_NOTHING") == 0)
        return DO_NOTHING;
    if (strcmp(how, "REPLACE") == 0)
        return REPLACE;
    return strcmp(how, "MERGE") == 0 ? MERGE : FAIL_IT;
}

static cm_err conflict(const char *what, struct cm_svc_error *no)
{
    CM_REFUSE(no, CM_SVC_RESOURCE_CONFLICT,
              "%s exists with another value, and the template's OverrideSettings say FAIL", what);
}

static cm_err text(const json_t *properties, const char *name, const char **out, struct cm_svc_error *no)
{
    const json_t *const value = json_object_get(properties, name);

    if (value != NULL && !json_is_string(value))
        CM_REFUSE(no, CM_SVC_REGISTRATION, "%s must be a string", name);
    *out = json_string_value(value);
    return CM_OK;
}

/* ---- The certificate */

static cm_err read_status(const json_t *c, enum cm_reg_status *out, struct cm_svc_error *no)
{
    const char *status = NULL;

    CM_TRY(text(c, "Status", &status, no));
    *out = CM_REG_ACTIVE;
    if (status != NULL &&
        (!cm_reg_status_find(status, out) || (*out != CM_REG_ACTIVE && *out != CM_REG_INACTIVE)))
        CM_REFUSE(no, CM_SVC_REGISTRATION, "The certificate's Status must be ACTIVE or INACTIVE, not %.40s",
                  status);
    return CM_OK;
}

/* A certificate that waits for activation gets the status whatever the settings say: that is what JITP is
 * for. */
static cm_err put_status(struct cm_registry *r, const char *id, enum cm_reg_status want, const json_t *c,
                         struct cm_svc_error *no)
{
    struct cm_reg_cert cert = { 0 };

    CM_TRY(cm_reg_cert_find(r, id, &cert, no));
    const enum cm_reg_status has = cert.status;
    cm_reg_cert_done(&cert);
    if (has == want)
        return CM_OK;
    if (has == CM_REG_PENDING_ACTIVATION || setting(c, "Status") == REPLACE)
        return cm_reg_cert_set_status(r, id, want, no);
    return setting(c, "Status") == FAIL_IT ? conflict("The certificate's Status", no) : CM_OK;
}

static cm_err put_certificate(struct cm_registry *r, const json_t *c, char id[CM_REG_ID],
                              struct cm_svc_error *no)
{
    const char *given_id = NULL, *pem = NULL, *ca_pem = NULL;
    enum cm_reg_status status;

    CM_TRY(text(c, "CertificateId", &given_id, no));
    CM_TRY(text(c, "CertificatePem", &pem, no));
    CM_TRY(text(c, "CACertificatePem", &ca_pem, no));
    CM_TRY(read_status(c, &status, no));
    if (given_id != NULL) {
        (void) snprintf(id, CM_REG_ID, "%s", given_id);
        return put_status(r, id, status, c, no);
    }
    const cm_err rc = cm_enroll_cert(r, pem, ca_pem, status, id, no);
    if (rc == CM_E_INPUT && no->kind == CM_SVC_EXISTS)
        return put_status(r, id, status, c, no);
    return rc;
}

/* ---- The thing */

static cm_err attributes_text(const json_t *payload, const json_t *below, char **out, struct cm_svc_error *no)
{
    json_t *const merged = json_object();
    int bad = merged == NULL;

    if (!bad && below != NULL)
        bad = json_object_update(merged, cm_json_each(below));
    if (!bad && payload != NULL)
        bad = json_object_update(merged, cm_json_each(payload));
    *out = bad ? NULL : cm_json_text(merged, JSON_COMPACT | JSON_SORT_KEYS, NULL);
    json_decref(merged);
    if (*out == NULL)
        CM_FAIL(&no->base, CM_E_NOMEM, "out of memory for a thing's attributes");
    return CM_OK;
}

static cm_err add_thing(struct cm_registry *r, const json_t *t, const char *name, struct cm_svc_error *no)
{
    struct cm_reg_thing_new thing = { .name = name };
    const json_t *const payload = json_object_get(t, "AttributePayload");
    char *attributes = NULL;

    CM_TRY(text(t, "ThingTypeName", &thing.type, no));
    CM_TRY(text(t, "BillingGroup", &thing.billing_group, no));
    CM_TRY(cm_attributes_check(payload, thing.type != NULL, no));
    CM_TRY(attributes_text(payload, NULL, &attributes, no));
    thing.attributes = attributes;
    const cm_err rc = cm_reg_thing_add(r, &thing, no);
    free(attributes);
    return rc;
}

/* What of an existing thing the template changes. */
static cm_err change_attributes(const struct cm_reg_thing *has, const json_t *t, char **out,
                                struct cm_svc_error *no)
{
    const enum how how = setting(t, "AttributePayload");
    const json_t *const payload = json_object_get(t, "AttributePayload");
    json_t *below = NULL;

    if (payload == NULL || how == DO_NOTHING)
        return CM_OK;
    if (how == FAIL_IT)
        return conflict("The thing's AttributePayload", no);
    if (how == MERGE)
        CM_TRY(cm_json_read(cm_span_str(has->attributes), &below, NULL, &no->base));
    const cm_err rc = attributes_text(payload, below, out, no);
    json_decref(below);
    return rc;
}

static cm_err change_thing(struct cm_registry *r, const struct cm_reg_thing *has, const json_t *t,
                           struct cm_svc_error *no)
{
    struct cm_reg_thing_new change = { .name = has->name };
    const char *type = NULL;
    char *attributes = NULL;

    CM_TRY(text(t, "ThingTypeName", &type, no));
    if (type != NULL && strcmp(type, has->type) != 0) {
        if (setting(t, "ThingTypeName") == FAIL_IT)
            return conflict("The thing's ThingTypeName", no);
        if (setting(t, "ThingTypeName") == REPLACE)
            change.type = type;
    }
    CM_TRY(cm_attributes_check(json_object_get(t, "AttributePayload"), type != NULL || has->type[0] != '\0',
                               no));
    CM_TRY(change_attributes(has, t, &attributes, no));
    change.attributes = attributes;
    cm_err rc = CM_OK;
    if (change.type != NULL || attributes != NULL)
        rc = cm_reg_thing_update(r, &change, 0, no);
    free(attributes);
    return rc;
}

struct names {
    char name[CM_REG_PAGE_MAX][CM_REG_NAME];
    size_t count;
};

static cm_err keep_name(void *arg, const struct cm_reg_item *item)
{
    struct names *const n = arg;

    (void) snprintf(n->name[n->count++], CM_REG_NAME, "%s", item->name);
    return CM_OK;
}

static cm_err leave_groups(struct cm_registry *r, const char *thing, struct cm_svc_error *no)
{
    struct names *const groups = calloc(1, sizeof *groups);
    int64_t next = 0;

    if (groups == NULL)
        CM_FAIL(&no->base, CM_E_NOMEM, "out of memory for a thing's groups");
    cm_err rc =
        cm_reg_list(r, CM_REG_LIST_GROUPS_OF, &(struct cm_reg_page) { .of = thing, .rows = CM_REG_PAGE_MAX },
                    keep_name, groups, &next, no);
    for (size_t i = 0; i < groups->count && rc == CM_OK; i++)
        rc = cm_reg_member_remove(r, CM_REG_GROUP, groups->name[i], thing, no);
    free(groups);
    return rc;
}

static cm_err put_groups(struct cm_registry *r, const json_t *t, const char *thing, bool existed,
                         struct cm_svc_error *no)
{
    const json_t *const groups = json_object_get(t, "ThingGroups");
    const enum how how = existed ? setting(t, "ThingGroups") : MERGE;

    if (groups == NULL || how == DO_NOTHING)
        return CM_OK;
    if (!json_is_array(groups))
        CM_REFUSE(no, CM_SVC_REGISTRATION, "ThingGroups must be a list");
    if (how == FAIL_IT)
        return conflict("The thing's ThingGroups", no);
    if (how == REPLACE)
        CM_TRY(leave_groups(r, thing, no));
    for (size_t i = 0; i < json_array_size(groups); i++) {
        const char *const group = json_string_value(json_array_get(groups, i));
        if (group == NULL)
            CM_REFUSE(no, CM_SVC_REGISTRATION, "ThingGroups must be a list of strings");
        CM_TRY(cm_reg_member_add(r, CM_REG_GROUP, group, thing, no));
    }
    return CM_OK;
}

static cm_err put_thing(struct cm_registry *r, const json_t *t, const char *principal, char name[CM_REG_NAME],
                        struct cm_svc_error *no)
{
    struct cm_reg_thing has = { 0 };
    const char *given = NULL;

    CM_TRY(text(t, "ThingName", &given, no));
    CM_TRY(cm_attributes_check_name("ThingName", given, CM_SVC_REGISTRATION, no));
    (void) snprintf(name, CM_REG_NAME, "%s", given);
    cm_err rc = cm_reg_thing_find(r, name, &has, no);
    const bool existed = rc == CM_OK;
    if (existed)
        rc = change_thing(r, &has, t, no);
    else if (rc == CM_E_INPUT && no->kind == CM_SVC_NOT_FOUND)
        rc = add_thing(r, t, name, no);
    cm_reg_thing_done(&has);
    CM_TRY(rc);
    CM_TRY(put_groups(r, t, name, existed, no));
    return cm_reg_thing_attach(r, name, principal, no);
}

/* ---- Policies */

/* A policy without a name is called by the hash of its document. */
static cm_err make_policy(struct cm_registry *r, const char *document, char name[CM_REG_NAME],
                          struct cm_svc_error *no)
{
    struct cm_writer w = cm_writer(name, CM_REG_NAME - 1);
    struct cm_policy *parsed = NULL;
    uint8_t digest[32];

    CM_TRY(cm_policy_parse(cm_span_str(document), &parsed, no));
    cm_policy_free(parsed);
    if (EVP_Digest(document, strlen(document), digest, NULL, EVP_sha256(), NULL) != 1)
        CM_FAIL(&no->base, CM_E_CRYPTO, "can't hash a policy");
    cm_put_hex(&w, digest, sizeof digest);
    name[w.len] = '\0';
    const cm_err rc = cm_reg_policy_add(r, name, document, no);
    return rc == CM_E_INPUT && no->kind == CM_SVC_EXISTS ? CM_OK : rc;
}

static cm_err put_policy(struct cm_registry *r, const json_t *p, const char *principal,
                         char name[CM_REG_NAME], struct cm_svc_error *no)
{
    const char *given = NULL, *document = NULL;

    CM_TRY(text(p, "PolicyName", &given, no));
    CM_TRY(text(p, "PolicyDocument", &document, no));
    if (given != NULL)
        (void) snprintf(name, CM_REG_NAME, "%s", given);
    else
        CM_TRY(make_policy(r, document, name, no));
    return cm_reg_policy_attach(r, name, principal, no);
}

/* ---- The whole */

static cm_err carry_out(struct cm_registry *r, const json_t *all, struct cm_template_done *done,
                        struct cm_svc_error *no)
{
    const json_t *const thing = json_object_get(all, "thing"), *const policies =
                                                                   json_object_get(all, "policies");
    char principal[CM_SVC_ARN];

    CM_TRY(put_certificate(r, json_object_get(all, "certificate"), done->certificate_id, no));
    CM_ASSERT(cm_registry_arn(r, "cert", done->certificate_id, principal, sizeof principal));
    for (size_t i = 0; i < json_array_size(policies); i++)
        CM_TRY(put_policy(r, json_array_get(policies, i), principal, done->policy, no));
    return thing != NULL ? put_thing(r, thing, principal, done->thing, no) : CM_OK;
}

cm_err cm_template_provision(struct cm_registry *r, const struct cm_template *t, const json_t *parameters,
                             struct cm_template_done *done, struct cm_svc_error *no)
{
    struct cm_template_done made = { 0 };
    json_t *all = NULL;

    CM_TRY(cm_template_evaluate(t, parameters, &all, no));
    cm_err rc = cm_reg_begin(r, no);
    if (rc == CM_OK) {
        rc = carry_out(r, all, &made, no);
        if (rc == CM_OK)
            rc = cm_reg_commit(r, no);
        if (rc != CM_OK)
            cm_reg_rollback(r);
    }
    json_decref(all);
    if (rc == CM_OK && done != NULL)
        *done = made;
    return rc;
}

/* ---- Just in time */

static const struct {
    const char *name;
    int nid;
} subject[] = {
    { "Country", NID_countryName },
    { "Organization", NID_organizationName },
    { "OrganizationalUnit", NID_organizationalUnitName },
    { "DistinguishedNameQualifier", NID_dnQualifier },
    { "StateName", NID_stateOrProvinceName },
    { "CommonName", NID_commonName },
};

static bool put_subject(X509 *leaf, json_t *to)
{
    X509_NAME *const dn = X509_get_subject_name(leaf);
    char key[80];

    for (size_t i = 0; i < CM_COUNT(subject); i++) {
        const int at = X509_NAME_get_index_by_NID(dn, subject[i].nid, -1);
        unsigned char *utf8 = NULL;
        const int len =
            at >= 0 ? ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(dn, at))) : -1;
        if (len < 0)
            continue;
        (void) snprintf(key, sizeof key, "AWS::IoT::Certificate::%s", subject[i].name);
        json_t *const value = json_stringn((const char *) utf8, (size_t) len);
        OPENSSL_free(utf8);
        if (value != NULL && json_object_set_new(to, key, value) != 0)
            return false;
    }
    return true;
}

static bool put_rest(X509 *leaf, const char *id, json_t *to)
{
    CM_AUTO(BIGNUM) bn = ASN1_INTEGER_to_BN(X509_get0_serialNumber(leaf), NULL);
    char *const serial = bn != NULL ? BN_bn2dec(bn) : NULL;
    const bool good =
        serial != NULL &&
        json_object_set_new(to, "AWS::IoT::Certificate::SerialNumber", json_string(serial)) == 0 &&
        json_object_set_new(to, "AWS::IoT::Certificate::Id", json_string(id)) == 0;

    OPENSSL_free(serial);
    return good;
}

cm_err cm_template_parameters(X509 *leaf, json_t **out, struct cm_svc_error *no)
{
    json_t *const made = json_object();
    uint8_t *der = NULL;
    size_t der_len = 0;
    char id[CM_REG_ID];

    cm_err rc = cm_enroll_id(leaf, &der, &der_len, id, no);
    free(der);
    if (rc == CM_OK && (made == NULL || !put_subject(leaf, made) || !put_rest(leaf, id, made)))
        rc = cm_fail(&no->base, CM_E_NOMEM, CM_HERE, "out of memory for the parameters of a template");
    if (rc != CM_OK)
        json_decref(made);
    else
        *out = made;
    return rc;
}

/* The row comes first and stays, so that the failure of a template can be looked into, as with the service.
 */
static cm_err add_row(struct cm_registry *r, const struct cm_reg_cert_new *cert, struct cm_svc_error *no)
{
    struct cm_reg_cert_new row = *cert;

    row.status = CM_REG_PENDING_ACTIVATION;
    const cm_err rc = cm_reg_cert_add(r, &row, no);
    return rc == CM_E_INPUT && no->kind == CM_SVC_EXISTS ? CM_OK : rc;
}

cm_err cm_template_jitp(struct cm_registry *r, const struct cm_reg_ca *ca, const struct cm_reg_cert_new *cert,
                        X509 *leaf, struct cm_template_done *done, struct cm_svc_error *no)
{
    struct cm_template *t = NULL;
    json_t *parameters = NULL;

    CM_ASSERT(ca->template_body != NULL);
    CM_TRY(add_row(r, cert, no));
    CM_TRY(cm_template_parse(cm_span_str(ca->template_body), &t, no));
    cm_err rc = cm_template_parameters(leaf, &parameters, no);
    if (rc == CM_OK)
        rc = cm_template_provision(r, t, parameters, done, no);
    json_decref(parameters);
    cm_template_free(t);
    return rc;
}
