/* Targets: cm_aws_cert_der, cm_aws_cert_pem, cm_aws_cert_text, cm_aws_common_name, the rules,
 * cm_aws_verification on a request: any octets, no crash, no leak; a certificate that is read gives the same
 * facts as DER and as PEM. */
#include "aws/rules.h"
#include "aws/verification.h"
#include "engine/pem.h"
#include "tests/fuzz/fuzz.h"

static void same_as_pem(struct cm_span der, const struct cm_aws_cert *facts)
{
    uint8_t id[32], subject[32];
    struct cm_aws_cert again;
    struct cm_error err = { 0 };
    const size_t len = cm_pem_len("CERTIFICATE", der.len);
    uint8_t *const text = malloc(len);
    struct cm_writer w = cm_writer(text, len);

    CM_ASSERT(text != NULL);
    cm_put_pem(&w, "CERTIFICATE", der.data, der.len);
    CM_ASSERT(cm_aws_cert_pem(cm_span(text, len), CM_AWS_CA, &again, id, subject, &err) == CM_OK);
    CM_ASSERT(strcmp(again.key, facts->key) == 0 && strcmp(again.signature, facts->signature) == 0 &&
              again.is_ca == facts->is_ca && again.pem_len == facts->pem_len && again.pem_len == len);
    free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    const struct cm_span in = cm_span(data, len);
    struct cm_aws_cert facts = { .role = CM_AWS_CA };
    struct cm_error err = { 0 };
    uint8_t id[32], hash[32], pem[4096];
    char subject[256];
    struct cm_writer w = cm_writer(pem, sizeof pem);
    const struct cm_aws_verification request = { .csr = in, .csr_name = "it", .now = 1800000000 };

    if (cm_aws_cert_der(in, CM_AWS_CA, &facts, &err) == CM_OK) {
        (void) cm_aws_judge(&facts, 1800000000, NULL, NULL);
        same_as_pem(in, &facts);
    }
    (void) !cm_aws_cert_pem(in, CM_AWS_VERIFICATION, &facts, id, hash, &err);
    (void) !cm_aws_cert_text(in, &w, subject, sizeof subject, &err);
    cm_aws_common_name(in, subject, sizeof subject);
    w.len = 0;
    if (len > 0)
        (void) !cm_aws_verification(&request, &w, &err);
    return 0;
}
