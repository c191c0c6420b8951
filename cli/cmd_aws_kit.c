#include "aws/kit.h"
#include "aws/rules.h"
#include "aws/verification.h"
#include "cli/cafiles.h"
#include "cli/cmd.h"
#include "cli/input.h"
#include "cli/msg.h"

#include <jansson.h>
#include <signal.h>

struct opts {
    const char *ca, *ca_key, *ca_passphrase_file, *code, *csr, *out, *account, *region, *partition;
    bool allow_insecure;
};

#define OPT_STR(name, field, metavar, help)                                                                  \
    {                                                                                                        \
        name, CM_ARG_STR, offsetof(struct opts, field), 0, 0, NULL, metavar, help                            \
    }

static const struct cm_arg args[] = {
    OPT_STR("ca", ca, "FILE", "the CA's certificate, and the chain above it"),
    OPT_STR("ca-key", ca_key, "FILE", "its private key"),
    OPT_STR("ca-passphrase-file", ca_passphrase_file, "FILE", "its passphrase; asked for on the terminal"),
    { "allow-insecure-ca-key", CM_ARG_FLAG, offsetof(struct opts, allow_insecure), 0, 0, NULL, NULL,
      "accept a key file that others can read" },
    OPT_STR("registration-code", code, "CODE",
            "what aws iot get-registration-code says, 64 hexadecimal digits; the CN of --verification-csr"),
    OPT_STR("verification-csr", csr, "FILE",
            "make the verification certificate from this request, whose CN is the code; CN only, with the "
            "CA's key"),
    OPT_STR("out", out, "DIR", "the directory to make"),
    OPT_STR("aws-account", account, "DIGITS", "the account, 12 digits; settings.sh asks for it"),
    OPT_STR("aws-region", region, "REGION", "the region, like eu-central-1; settings.sh asks for it"),
    OPT_STR("aws-partition", partition, "NAME", "aws, aws-cn, aws-us-gov; aws"),
};

static cm_err check_opts(const struct opts *o, struct cm_error *err)
{
    if (o->ca == NULL || o->ca_key == NULL)
        CM_FAIL(err, CM_E_USAGE,
                "aws kit needs --ca FILE and --ca-key FILE: the CA proves that it has its key");
    if (o->code == NULL && o->csr == NULL)
        CM_FAIL(err, CM_E_USAGE,
                "aws kit needs --registration-code CODE (aws iot get-registration-code says it), or "
                "--verification-csr FILE with that CN");
    if (o->out == NULL)
        CM_FAIL(err, CM_E_USAGE, "aws kit needs --out DIR: the directory to make");
    return CM_OK;
}

static cm_err open_ca(const struct opts *o, cm_when now, struct cm_ca **out, struct cm_error *err)
{
    const struct cm_cafiles files = { .cert = o->ca,
                                      .key = o->ca_key,
                                      .passphrase_file = o->ca_passphrase_file,
                                      .passphrase_option = "--ca-passphrase-file",
                                      .what = "CA",
                                      .allow_insecure = o->allow_insecure };

    return cm_cafiles_open(&files, now, out, err);
}

static cm_err check_ca(const struct opts *o, const struct cm_ca *ca, cm_when now, struct cm_error *err)
{
    const struct cm_span pem = cm_ca_chain_pem(ca);
    struct cm_aws_cert facts;
    uint8_t id[32], subject[32];
    char what[256];

    CM_TRY(cm_aws_cert_pem(pem, CM_AWS_CA, &facts, id, subject, err));
    (void) snprintf(what, sizeof what, "AWS IoT would refuse the CA certificate %.160s", o->ca);
    return cm_aws_check(&facts, now, what, err);
}

static cm_err make_verification(const struct opts *o, const struct cm_ca *ca, cm_when now,
                                struct cm_writer *pem, struct cm_error *err)
{
    char *csr = NULL;
    size_t csr_len = 0;

    if (o->csr != NULL)
        CM_TRY(cm_input_read(o->csr, "certificate request", &csr, &csr_len, err));
    const struct cm_aws_verification v = {
        .ca = ca, .code = o->code, .csr = cm_span(csr, csr_len), .csr_name = o->csr, .now = now
    };
    const cm_err rc = cm_aws_verification(&v, pem, err);
    free(csr);
    return rc;
}

/* The facts of what was made: its end, and the code where only the request said it. */
static cm_err write_kit(const struct opts *o, const struct cm_ca *ca, struct cm_span verification,
                        struct cm_aws_cert *facts, struct cm_error *err)
{
    struct cm_aws_kit k = { .ca = ca,
                            .verification = verification,
                            .account = o->account,
                            .region = o->region,
                            .partition = o->partition };
    uint8_t id[32], subject[32];
    sigset_t block, before;

    CM_TRY(cm_aws_check_account(k.account, k.region, &k.partition, err));
    CM_TRY(cm_aws_cert_pem(verification, CM_AWS_VERIFICATION, facts, id, subject, err));
    k.verification_end = facts->not_after;
    /* A signal waits until all files are there, or gone again. */
    (void) sigfillset(&block);
    (void) sigprocmask(SIG_BLOCK, &block, &before);
    const cm_err rc = cm_aws_kit_write(&k, o->out, err);
    (void) sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static cm_err report(const struct opts *o, const struct cm_ca *ca, const struct cm_aws_cert *verification,
                     const struct cm_common *common, struct cm_error *err)
{
    char end[24] = "";
    struct cm_writer w = cm_writer(end, sizeof end - 1);

    cm_put_rfc3339(&w, verification->not_after);
    if (common->json)
        return cm_msg_json(json_pack("{s:s s:s s:s s:s s:I}", "out", o->out, "ca_certificate_id",
                                     cm_ca_certificate_id(ca), "registration_code", verification->common_name,
                                     "verification_not_after", end, "files",
                                     (json_int_t) cm_aws_kit_embedded_count + 2),
                           err);
    if (common->quiet)
        return CM_OK;
    (void) printf("%s  the kit of %s\n", o->out, cm_ca_subject_text(ca));
    (void) printf("caCertificateId  %s\n", cm_ca_certificate_id(ca));
    (void) printf("%s/verification.pem  is valid until %s\n", o->out, end);
    (void) printf("Next: read %s/README.md, then sh %s/register-ca-default.sh\n", o->out, o->out);
    return CM_OK;
}

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    const struct opts *const o = opts;
    const cm_when now = cm_when_now();
    struct cm_ca *ca = NULL;
    struct cm_aws_cert verification;
    char pem[CM_ISSUE_PEM_MAX];
    struct cm_writer w = cm_writer(pem, sizeof pem);

    (void) operands;
    CM_TRY(check_opts(o, err));
    cm_err rc = open_ca(o, now, &ca, err);
    if (rc == CM_OK)
        rc = check_ca(o, ca, now, err);
    if (rc == CM_OK)
        rc = make_verification(o, ca, now, &w, err);
    if (rc == CM_OK)
        rc = write_kit(o, ca, cm_span(w.data, w.len), &verification, err);
    if (rc == CM_OK)
        rc = report(o, ca, &verification, common, err);
    cm_ca_close(ca);
    return rc;
}

const struct cm_cmd cm_cmd_aws_kit = {
    .name = "aws kit",
    .usage = "--ca FILE --ca-key FILE --registration-code CODE --out DIR",
    .summary = "all that registers a CA and its devices with AWS IoT, as scripts to read and run",
    .notes =
        "Writes the verification certificate, with which the CA proves that it has its key, and scripts of "
        "aws\n"
        "commands with their documents for every path: the CA in DEFAULT and in SNI_ONLY mode, just-in-time\n"
        "registration with a rule, a function and an allow-list, just-in-time provisioning by a template, "
        "bulk\n"
        "registration, several accounts without a CA; and what takes each of them back. DIR/README.md tells\n"
        "the order. No private key is written, and nothing is sent anywhere.\n"
        "\n"
        "The verification certificate is valid for a day and holds the CA's own public key, or, with\n"
        "--verification-csr, subject and key of that request. DIR must not exist; it is there whole or not "
        "at all.\n"
        "certmill aws check tells what AWS IoT would refuse; docs/aws-iot.md walks the whole way.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .run = run,
};
