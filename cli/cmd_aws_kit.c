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

static const struct cm_arg args[] = {
    CM_ARG_TEXT(struct opts, "ca", ca, "FILE", "the CA's certificate, and the chain above it"),
    CM_ARG_TEXT(struct opts, "ca-key", ca_key, "FILE", "its private key; none, the CA signs elsewhere"),
    CM_ARG_TEXT(struct opts, "ca-passphrase-file", ca_passphrase_file, "FILE",
                "its passphrase; asked for on the terminal"),
    { "allow-insecure-ca-key", CM_ARG_FLAG, offsetof(struct opts, allow_insecure), 0, 0, NULL, NULL,
      "accept a key file that others can read" },
    CM_ARG_TEXT(
        struct opts, "registration-code", code, "CODE",
        "what aws iot get-registration-code says, 64 hexadecimal digits; the CN of --verification-csr"),
    CM_ARG_TEXT(
        struct opts, "verification-csr", csr, "FILE",
        "make the verification certificate from this request, whose CN is the code; of the code alone"),
    CM_ARG_TEXT(struct opts, "out", out, "DIR", "the directory to make"),
    CM_ARG_TEXT(struct opts, "aws-account", account, "DIGITS",
                "the account, 12 digits; settings.sh asks for it"),
    CM_ARG_TEXT(struct opts, "aws-region", region, "REGION",
                "the region, like eu-central-1; settings.sh asks for it"),
    CM_ARG_TEXT(struct opts, "aws-partition", partition, "NAME", "aws, aws-cn, aws-us-gov; aws"),
};

/* All that a kit is made of; done() takes it in any state. */
struct work {
    const struct opts *o;
    cm_when now;
    struct cm_ca *ca;        /* NULL: it signs elsewhere */
    char *text;              /* of --ca, where there is no key; malloced */
    struct cm_writer ca_pem; /* the CA's certificate alone; malloced */
    char subject[1024], certificate_id[65];
    char pem[CM_ISSUE_PEM_MAX];
    struct cm_writer verification;
    cm_when end; /* of the verification certificate; 0: it is a request */
};

static void done(struct work *w)
{
    cm_ca_close(w->ca);
    free(w->text);
    free(w->ca_pem.data);
}

static cm_err check_opts(const struct opts *o, struct cm_error *err)
{
    if (o->ca == NULL)
        CM_FAIL(err, CM_E_USAGE,
                "aws kit needs --ca FILE, the CA's certificate, and --ca-key FILE where its key is at hand");
    if (o->code == NULL && o->csr == NULL)
        CM_FAIL(err, CM_E_USAGE,
                "aws kit needs --registration-code CODE (aws iot get-registration-code says it), or "
                "--verification-csr FILE with that CN");
    if (o->out == NULL)
        CM_FAIL(err, CM_E_USAGE, "aws kit needs --out DIR: the directory to make");
    return CM_OK;
}

/* The CA's certificate: with its key a CA that can sign, without it the file's first certificate. */
static cm_err open_ca(struct work *w, struct cm_span *text, struct cm_error *err)
{
    const struct opts *const o = w->o;
    const struct cm_cafiles files = { .cert = o->ca,
                                      .key = o->ca_key,
                                      .passphrase_file = o->ca_passphrase_file,
                                      .passphrase_option = "--ca-passphrase-file",
                                      .what = "CA",
                                      .allow_insecure = o->allow_insecure };
    size_t len = 0;

    if (o->ca_key != NULL) {
        CM_TRY(cm_cafiles_open(&files, w->now, &w->ca, err));
        *text = cm_ca_chain_pem(w->ca);
        return CM_OK;
    }
    CM_TRY(cm_input_read(o->ca, "CA certificate", &w->text, &len, err));
    *text = cm_span(w->text, len);
    return CM_OK;
}

static cm_err read_ca(struct work *w, struct cm_error *err)
{
    struct cm_span text = { 0 };
    struct cm_aws_cert facts;
    uint8_t id[32], subject[32];
    char what[256];
    struct cm_error why = { 0 };

    CM_TRY(open_ca(w, &text, err));
    w->ca_pem = cm_writer(malloc(text.len + 256), text.len + 256);
    if (w->ca_pem.data == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the CA's certificate");
    cm_err rc = cm_aws_cert_pem(text, CM_AWS_CA, &facts, id, subject, &why);
    if (rc == CM_OK)
        rc = cm_aws_cert_text(text, &w->ca_pem, w->subject, sizeof w->subject, &why);
    if (rc != CM_OK)
        CM_FAIL(err, rc, "CA certificate %.160s: %.200s", w->o->ca, why.what);
    struct cm_writer hex = cm_writer(w->certificate_id, sizeof w->certificate_id - 1);
    cm_put_hex(&hex, id, sizeof id);
    (void) snprintf(what, sizeof what, "AWS IoT would refuse the CA certificate %.160s", w->o->ca);
    return cm_aws_check(&facts, w->now, what, err);
}

static cm_err make_verification(struct work *w, struct cm_error *err)
{
    struct cm_aws_cert facts;
    uint8_t id[32], subject[32];
    char *csr = NULL;
    size_t csr_len = 0;

    w->verification = cm_writer(w->pem, sizeof w->pem);
    if (w->o->csr != NULL)
        CM_TRY(cm_input_read(w->o->csr, "certificate request", &csr, &csr_len, err));
    const struct cm_aws_verification v = {
        .ca = w->ca, .code = w->o->code, .csr = cm_span(csr, csr_len), .csr_name = w->o->csr, .now = w->now
    };
    const cm_err rc = cm_aws_verification(&v, &w->verification, err);
    free(csr);
    if (rc != CM_OK || w->ca == NULL)
        return rc;
    CM_TRY(
        cm_aws_cert_pem(cm_span(w->pem, w->verification.len), CM_AWS_VERIFICATION, &facts, id, subject, err));
    w->end = facts.not_after;
    return CM_OK;
}

static cm_err write_kit(struct work *w, struct cm_error *err)
{
    struct cm_aws_kit k = { .ca_pem = cm_span(w->ca_pem.data, w->ca_pem.len),
                            .ca_certificate_id = w->certificate_id,
                            .ca_subject = w->subject,
                            .verification = cm_span(w->pem, w->verification.len),
                            .verification_end = w->end,
                            .account = w->o->account,
                            .region = w->o->region,
                            .partition = w->o->partition };
    sigset_t block, before;

    CM_TRY(cm_aws_check_account(k.account, k.region, &k.partition, err));
    /* A signal waits until all files are there, or gone again. */
    (void) sigfillset(&block);
    (void) sigprocmask(SIG_BLOCK, &block, &before);
    const cm_err rc = cm_aws_kit_write(&k, w->o->out, err);
    (void) sigprocmask(SIG_SETMASK, &before, NULL);
    return rc;
}

static cm_err report(const struct work *w, const struct cm_common *common, struct cm_error *err)
{
    const char *const out = w->o->out;
    char end[24] = "";
    struct cm_writer t = cm_writer(end, sizeof end - 1);

    if (w->end != 0)
        cm_put_rfc3339(&t, w->end);
    if (common->json)
        return cm_msg_json(json_pack("{s:s s:s s:s s:s? s:I}", "out", out, "ca_certificate_id",
                                     w->certificate_id, "verification",
                                     w->end != 0 ? "verification.pem" : "verification.csr",
                                     "verification_not_after", w->end != 0 ? end : NULL, "files",
                                     (json_int_t) cm_aws_kit_embedded_count + 2),
                           err);
    if (common->quiet)
        return CM_OK;
    (void) printf("%s  the kit of %s\n", out, w->subject);
    (void) printf("caCertificateId  %s\n", w->certificate_id);
    if (w->end != 0)
        (void) printf("%s/verification.pem  is valid until %s\n", out, end);
    else
        (void) printf("%s/verification.csr  is for the CA to sign, as verification.pem beside it\n", out);
    (void) printf("Next: read %s/README.md, then sh %s/register-ca-default.sh\n", out, out);
    return CM_OK;
}

static cm_err run(const void *opts, const struct cm_strs *operands, const struct cm_common *common,
                  struct cm_error *err)
{
    struct work w = { .o = opts, .now = cm_when_now() };

    (void) operands;
    CM_TRY(check_opts(w.o, err));
    cm_err rc = read_ca(&w, err);
    if (rc == CM_OK)
        rc = make_verification(&w, err);
    if (rc == CM_OK)
        rc = write_kit(&w, err);
    if (rc == CM_OK)
        rc = report(&w, common, err);
    done(&w);
    return rc;
}

const struct cm_cmd cm_cmd_aws_kit = {
    .name = "aws kit",
    .usage = "--ca FILE [--ca-key FILE] --registration-code CODE --out DIR",
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
        "--verification-csr, subject and key of that request. Without --ca-key, of a CA that signs "
        "elsewhere, the\n"
        "kit has verification.csr for it to sign. DIR must not exist; it is there whole or not at all.\n"
        "certmill aws check tells what AWS IoT would refuse; docs/aws-iot.md walks the whole way.",
    .args = args,
    .args_count = CM_COUNT(args),
    .opts_size = sizeof(struct opts),
    .run = run,
};
