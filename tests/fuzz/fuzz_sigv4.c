/* Target: cm_sigv4_judge. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const services[] = { "iot", NULL };
    const struct cm_sigv4_keys keys = {
        .access_key = "AKIDEXAMPLE", .secret_key = "secret", .region = "us-east-1", .services = services
    };
    const cm_when now = 1440938160; /* 2015-08-30T12:36:00Z */
    struct cm_svc_error no = { 0 };
    struct fuzz_request f;

    if (fuzz_request_read(&f, data, len))
        (void) !cm_sigv4_judge(&f.r, &keys, now, &no);
    free(f.text);
    return 0;
}
