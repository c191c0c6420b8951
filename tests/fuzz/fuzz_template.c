/* Targets: cm_template_parse, and cm_template_evaluate with what it lets through. */
#include "rehearsal/template.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    json_t *const parameters = json_pack("{s:s, s:s, s:s}", "ThingName", "t", "AWS::IoT::Certificate::Id",
                                         "0", "AWS::IoT::Certificate::CommonName", "c");
    struct cm_svc_error no = { 0 };
    struct cm_template *t = NULL;
    json_t *out = NULL;

    if (cm_template_parse(cm_span(data, len), &t, &no) == CM_OK &&
        cm_template_evaluate(t, parameters, &out, &no) == CM_OK)
        json_decref(out);
    cm_template_free(t);
    json_decref(parameters);
    return 0;
}
