#include "io/awslimits.h"
#include "io/export_impl.h"

/* AWS IoT: bulk registration (StartThingRegistrationTask) and just-in-time provisioning, and their templates.
 */
static const char certificate_parameter[] = "CertificatePem", ca_parameter[] = "CACertificatePem",
                  name_parameter[] = "ThingName", serial_parameter[] = "SerialNumber";

/* ---- options ---- */

static cm_err check_thing_word(const char *option, const char *value, struct cm_error *err)
{
    if (value != NULL && !cm_aws_thing_name(value))
        CM_FAIL(err, CM_E_USAGE, "--%s %.80s: AWS IoT takes A-Z a-z 0-9 : _ -, at most 128 of them", option,
                value);
    return CM_OK;
}

static cm_err check_policy(const char *policy, struct cm_error *err)
{
    if (policy != NULL && !cm_export_fits(policy, "_+=,.@-", 1, CM_AWS_NAME_MAX))
        CM_FAIL(
            err, CM_E_USAGE,
            "--aws-policy %.80s: the name of a policy is of A-Z a-z 0-9 _ + = , . @ -, at most 128 of them",
            policy);
    return CM_OK;
}

static cm_err check_role(const char *role, struct cm_error *err)
{
    if (role != NULL && (strncmp(role, "arn:", 4) != 0 || strstr(role, ":role/") == NULL ||
                         !cm_export_fits(role, ":/_+=,.@-", 20, 2048)))
        CM_FAIL(err, CM_E_USAGE,
                "--aws-role %.80s is no ARN of a role, like arn:aws:iam::123456789012:role/NAME", role);
    return CM_OK;
}

static cm_err check_options(const struct cm_export *x, struct cm_error *err)
{
    const struct cm_export_options *const o = x->options;

    CM_TRY(check_policy(o->policy, err));
    CM_TRY(check_role(o->role, err));
    CM_TRY(check_thing_word("aws-thing-type", o->thing_type, err));
    CM_TRY(check_thing_word("aws-billing-group", o->billing_group, err));
    for (size_t i = 0; i < o->thing_groups.count; i++)
        CM_TRY(check_thing_word("aws-thing-group", o->thing_groups.item[i], err));
    return CM_OK;
}

/* Of a certificate: the parameter, its characters, and how many it may have. */
#define LONG_VALUE                                                                                           \
    "its %s has %zu characters, AWS IoT takes %d: mint it with fewer or shorter names, or a shorter key"

/* Attributes are parameters of the template under their own names. */
static cm_err check_bulk_options(const struct cm_export *x, struct cm_error *err)
{
    static const char *const own[] = { certificate_parameter, ca_parameter, name_parameter, serial_parameter,
                                       "serialNumber" };
    const struct cm_export_options *const o = x->options;
    const size_t most = o->thing_type != NULL ? CM_AWS_ATTRIBUTES_TYPED : CM_AWS_ATTRIBUTES_BARE;

    CM_TRY(check_options(x, err));
    if (x->ca_pem.len > CM_AWS_VALUE_MAX)
        CM_FAIL(err, CM_E_INPUT,
                "the CA of %s: its %s has %zu characters, AWS IoT takes %d in a bulk registration: export to "
                "aws-jitp",
                cm_fleet_path(x->fleet), ca_parameter, x->ca_pem.len, CM_AWS_VALUE_MAX);
    if (o->thing_attributes.count + 1 > most)
        CM_FAIL(err, CM_E_USAGE,
                "a thing takes %zu attributes%s, the serial number is one of them, and --aws-attribute asks "
                "for %zu",
                most, o->thing_type != NULL ? "" : " without --aws-thing-type", o->thing_attributes.count);
    for (size_t i = 0; i < o->thing_attributes.count; i++) {
        const char *const name = o->thing_attributes.item[i];
        if (!cm_export_fits(name, "_.,@/:#-", 1, 128))
            CM_FAIL(err, CM_E_USAGE,
                    "--aws-attribute %.80s: AWS IoT takes A-Z a-z 0-9 _ . , @ / : # - in a name, at most 128 "
                    "of them",
                    name);
        for (size_t k = 0; k < CM_COUNT(own) + i; k++)
            if (strcmp(name, k < CM_COUNT(own) ? own[k] : o->thing_attributes.item[k - CM_COUNT(own)]) == 0)
                CM_FAIL(err, CM_E_USAGE,
                        "--aws-attribute %.80s: the template has a parameter of that name already", name);
    }
    return CM_OK;
}

/* ---- templates ---- */

static void put_parameter(struct cm_writer *w, const char *name)
{
    if (w->data[w->len - 1] != '{')
        cm_put_byte(w, ',');
    cm_put_json_string(w, name);
    cm_put_lit(w, ":{\"Type\":\"String\"}");
}

static void put_ref(struct cm_writer *w, const char *key, const char *parameter)
{
    if (w->data[w->len - 1] != '{')
        cm_put_byte(w, ',');
    cm_put_json_string(w, key);
    cm_put_lit(w, ":{\"Ref\":");
    cm_put_json_string(w, parameter);
    cm_put_byte(w, '}');
}

/* The thing's properties behind its name, and its policy, which must exist already. */
static void put_thing_rest(const struct cm_export *x, struct cm_writer *w)
{
    const struct cm_export_options *const o = x->options;

    if (o->thing_type != NULL)
        cm_put_member(w, "ThingTypeName", o->thing_type);
    if (o->billing_group != NULL)
        cm_put_member(w, "BillingGroup", o->billing_group);
    for (size_t i = 0; i < o->thing_groups.count; i++) {
        cm_put_str(w, i == 0 ? ",\"ThingGroups\":[" : ",");
        cm_put_json_string(w, o->thing_groups.item[i]);
    }
    cm_put_str(w, o->thing_groups.count > 0 ? "]}}" : "}}");
}

static void put_policy(const struct cm_export *x, struct cm_writer *w)
{
    if (x->options->policy == NULL)
        return;
    cm_put_lit(w, ",\"policy\":{\"Type\":\"AWS::IoT::Policy\",\"Properties\":{");
    cm_put_member(w, "PolicyName", x->options->policy);
    cm_put_lit(w, "}}");
}

static void put_bulk_template(const struct cm_export *x, struct cm_writer *w)
{
    const struct cm_export_names *const names = &x->options->thing_attributes;

    cm_put_lit(w, "{\"Parameters\":{");
    put_parameter(w, name_parameter);
    put_parameter(w, serial_parameter);
    put_parameter(w, certificate_parameter);
    put_parameter(w, ca_parameter);
    for (size_t i = 0; i < names->count; i++)
        put_parameter(w, names->item[i]);
    cm_put_lit(w, "},\"Resources\":{\"thing\":{\"Type\":\"AWS::IoT::Thing\",\"Properties\":{");
    put_ref(w, "ThingName", name_parameter);
    cm_put_lit(w, ",\"AttributePayload\":{");
    put_ref(w, "serialNumber", serial_parameter);
    for (size_t i = 0; i < names->count; i++)
        put_ref(w, names->item[i], names->item[i]);
    cm_put_byte(w, '}');
    put_thing_rest(x, w);
    cm_put_lit(w, ",\"certificate\":{\"Type\":\"AWS::IoT::Certificate\",\"Properties\":{");
    put_ref(w, "CertificatePem", certificate_parameter);
    put_ref(w, "CACertificatePem", ca_parameter);
    cm_put_lit(w, ",\"Status\":\"ACTIVE\"}}");
    put_policy(x, w);
    cm_put_lit(w, "}}");
}

/* A parameter that a certificate lacks would make its provisioning fail: only what all of them have. */
static void put_jitp_template(const struct cm_export *x, struct cm_writer *w)
{
    static const char *const name[CM_SUBJECT_TYPES] = { "AWS::IoT::Certificate::Country",
                                                        "AWS::IoT::Certificate::Organization",
                                                        "AWS::IoT::Certificate::OrganizationalUnit",
                                                        "AWS::IoT::Certificate::DistinguishedNameQualifier",
                                                        "AWS::IoT::Certificate::StateName",
                                                        "AWS::IoT::Certificate::CommonName" };
    static const char id[] = "AWS::IoT::Certificate::Id", serial[] = "AWS::IoT::Certificate::SerialNumber";

    cm_put_lit(w, "{\"Parameters\":{");
    for (size_t i = 0; i < CM_SUBJECT_TYPES; i++)
        if ((x->subject_types >> i & 1) != 0)
            put_parameter(w, name[i]);
    put_parameter(w, serial);
    put_parameter(w, id);
    cm_put_lit(w, "},\"Resources\":{\"thing\":{\"Type\":\"AWS::IoT::Thing\",\"Properties\":{");
    put_ref(w, "ThingName", name[CM_SUBJECT_CN]);
    cm_put_lit(w, ",\"AttributePayload\":{");
    put_ref(w, "serialNumber", serial);
    cm_put_byte(w, '}');
    put_thing_rest(x, w);
    cm_put_lit(w, ",\"certificate\":{\"Type\":\"AWS::IoT::Certificate\",\"Properties\":{");
    put_ref(w, "CertificateId", id);
    cm_put_lit(w, ",\"Status\":\"ACTIVE\"}}");
    put_policy(x, w);
    cm_put_lit(w, "}}");
}

static cm_err check_template(const struct cm_writer *w, struct cm_error *err)
{
    if (w->len > CM_AWS_TEMPLATE_MAX)
        CM_FAIL(err, CM_E_USAGE,
                "the template has %zu characters, AWS IoT takes %d: name fewer groups or attributes", w->len,
                CM_AWS_TEMPLATE_MAX);
    return CM_OK;
}

/* ---- aws-bulk ---- */

static bool judge_bulk(struct cm_export *x, const struct cm_row *row, char why[CM_EXPORT_WHY])
{
    const struct cm_export_names *const names = &x->options->thing_attributes;

    for (size_t i = 0; i < names->count; i++) {
        const char *const value = cm_export_value(row, names->item[i]);
        if (value != NULL && cm_export_fits(value, "_.,@/:#=[]-", 0, 800))
            continue;
        (void) snprintf(
            why, CM_EXPORT_WHY,
            value == NULL
                ? "it has no \"%.40s\", which --aws-attribute asks for"
                : "its \"%.40s\" is no value for a thing's attribute: A-Z a-z 0-9 _ . , @ / : # = [ ] "
                  "-, at most 800 of them",
            names->item[i]);
        return false;
    }
    const size_t len = cm_export_leaf_len(x, row);
    if (len > CM_AWS_VALUE_MAX) {
        (void) snprintf(why, CM_EXPORT_WHY, LONG_VALUE, certificate_parameter, len, CM_AWS_VALUE_MAX);
        return false;
    }
    return cm_export_judge_thing(row->device_id, "id", why);
}

static cm_err put_bulk_row(struct cm_export *x, const struct cm_row *row, struct cm_error *err)
{
    const struct cm_export_names *const names = &x->options->thing_attributes;
    struct cm_writer *const w = &x->text;

    if (x->leaf.len != cm_export_leaf_len(x, row))
        CM_FAIL(err, CM_E_INPUT,
                "the bundle of %.96s does not end in the chain of %s/ca.pem: run certmill verify",
                row->device_id, cm_fleet_path(x->fleet));
    cm_put_byte(w, '{');
    cm_put_member(w, name_parameter, row->device_id);
    cm_put_member(w, serial_parameter, row->serial);
    cm_put_lit(w, ",\"CertificatePem\":");
    cm_put_json_span(w, cm_span(x->leaf.data, x->leaf.len));
    cm_put_lit(w, ",\"CACertificatePem\":");
    cm_put_json_span(w, x->ca_pem);
    for (size_t i = 0; i < names->count; i++)
        cm_put_member(w, names->item[i], cm_export_value(row, names->item[i]));
    cm_put_lit(w, "}\n");
    if (w->len > CM_AWS_LINE_MAX)
        CM_FAIL(err, CM_E_INPUT, "the line of %.96s has %zu octets, and a bulk registration takes %d",
                row->device_id, w->len, CM_AWS_LINE_MAX);
    return CM_OK;
}

static cm_err put_bulk_beside(struct cm_export *x, struct cm_error *err)
{
    put_bulk_template(x, &x->text);
    CM_TRY(check_template(&x->text, err));
    cm_put_byte(&x->text, '\n');
    return CM_OK;
}

/* ---- aws-jitp ---- */

static void begin_jitp(struct cm_export *x)
{
    put_jitp_template(x, &x->text);
    cm_put_byte(&x->text, '\n');
}

static bool judge_jitp(struct cm_export *x, const struct cm_row *row, char why[CM_EXPORT_WHY])
{
    struct cm_subject subject;

    cm_subject_read(row->subject, &subject);
    x->subject_types &= subject.types;
    return cm_export_judge_cn(x, row, why);
}

static cm_err judged_jitp(struct cm_export *x, struct cm_error *err)
{
    struct cm_writer trial = x->cell;

    put_jitp_template(x, &trial);
    return check_template(&trial, err);
}

/* What register-ca-certificate --registration-config takes: the template as a string, and the role. */
static cm_err put_jitp_beside(struct cm_export *x, struct cm_error *err)
{
    struct cm_writer template = x->cell;

    (void) err;
    put_jitp_template(x, &template);
    cm_put_lit(&x->text, "{\"templateBody\":");
    cm_put_json_span(&x->text, cm_span(template.data, template.len));
    cm_put_member(&x->text, "roleArn", x->options->role);
    cm_put_lit(&x->text, "}\n");
    return CM_OK;
}

static bool has_role(const struct cm_export *x)
{
    return x->options->role != NULL;
}

const struct cm_export_format cm_export_aws_bulk = {
    .name = "aws-bulk",
    .options = check_bulk_options,
    .judge = judge_bulk,
    .row = put_bulk_row,
    .beside_suffix = ".template.json",
    .beside = put_bulk_beside,
};

const struct cm_export_format cm_export_aws_jitp = {
    .name = "aws-jitp",
    .options = check_options,
    .judge = judge_jitp,
    .unique = cm_export_cn,
    .judged = judged_jitp,
    .begin = begin_jitp,
    .beside_suffix = ".registration.json",
    .beside = put_jitp_beside,
    .beside_wanted = has_role,
};
