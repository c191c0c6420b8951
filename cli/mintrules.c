#include "cli/mintrules.h"

#include "aws/rules.h"
#include "engine/derread.h"
#include "engine/ident.h"

static cm_err check_ca(const struct cm_mint_plan *p, struct cm_error *err)
{
    struct cm_span chain = cm_ca_chain_der(p->ca), der = { 0 };
    struct cm_aws_cert facts;
    char subject[512];

    CM_TRY(cm_derread_take(&chain, CM_TAG_SEQUENCE, "certificate", NULL, &der, err));
    CM_TRY(cm_aws_cert_der(der, CM_AWS_CA, &facts, err));
    (void) snprintf(subject, sizeof subject,
                    "AWS IoT, whose rules profile %s keeps, would refuse the CA certificate",
                    p->profile->name);
    return cm_aws_check(&facts, p->clock, subject, err);
}

static cm_err check_devices(const struct cm_mint_plan *p, struct cm_error *err)
{
    const struct cm_keyalg *const key = p->pipeline.mint.key;
    struct cm_aws_cert facts = { .role = CM_AWS_DEVICE,
                                 .rsa_bits = key->family == CM_KEYFAM_RSA ? key->bits : 0,
                                 .dated = true,
                                 .not_before = p->not_before,
                                 .not_after = p->not_after };
    char subject[512];

    (void) snprintf(facts.key, sizeof facts.key, "%s", key->name);
    (void) snprintf(facts.signature, sizeof facts.signature, "%s", cm_ca_sigalg(p->ca)->name);
    (void) snprintf(subject, sizeof subject,
                    "AWS IoT, whose rules profile %s keeps, would refuse each device's certificate",
                    p->profile->name);
    /* Of a run that is taken up again: as when it began, whatever the clock says since. */
    return cm_aws_check(&facts, p->now, subject, err);
}

cm_err cm_mint_rules_check(const struct cm_mint_plan *p, struct cm_error *err)
{
    const char *const registry = cm_profile_registry(p->profile);

    if (registry == NULL)
        return CM_OK;
    if (strcmp(registry, "aws-iot") != 0)
        CM_FAIL(err, CM_E_INPUT,
                "profile %s: no rules of a registry \"%.40s\" are known; there are those of aws-iot",
                p->profile->name, registry);
    CM_TRY(check_ca(p, err));
    return check_devices(p, err);
}

cm_err cm_mint_rules_check_id(const struct cm_mint_plan *p, struct cm_span id, struct cm_error *err)
{
    char text[CM_AWS_NAME_MAX + 2], shown[80];

    if (cm_profile_registry(p->profile) == NULL)
        return CM_OK;
    (void) snprintf(text, sizeof text, "%.*s", (int) (id.len < sizeof text ? id.len : sizeof text - 1),
                    (const char *) id.data);
    if (strlen(text) != id.len || !cm_aws_thing_name(text))
        CM_FAIL(err, CM_E_INPUT,
                "device id \"%s\" is no name for a thing: AWS IoT, whose rules profile %s keeps, takes A-Z "
                "a-z 0-9 : _ "
                "-, at most %d of them",
                cm_printable(id, shown, sizeof shown), p->profile->name, CM_AWS_NAME_MAX);
    return CM_OK;
}
