/* Targets: cm_policy_parse, and cm_policy_judge with what it lets through. */
#include "rehearsal/policy.h"
#include "tests/fuzz/fuzz.h"

/* Every variable has the values that its name is long. */
static size_t lookup(void *arg, struct cm_span name, struct cm_span value[CM_POLICY_VALUES])
{
    const size_t count = name.len % (CM_POLICY_VALUES + 1);

    (void) arg;
    for (size_t i = 0; i < count; i++)
        value[i] = cm_span(name.data, name.len - i);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const char *const actions[] = { "iot:Connect", "iot:Publish", "" };
    struct cm_svc_error no = { 0 };
    struct cm_policy *p = NULL;

    if (cm_policy_parse(cm_span(data, len), &p, &no) != CM_OK)
        return 0;
    for (size_t i = 0; i < CM_COUNT(actions); i++) {
        const struct cm_policy_request request = { .action = actions[i],
                                                   .resource =
                                                       "arn:aws:iot:us-east-1:123456789012:client/dev-1",
                                                   .lookup = lookup };
        (void) cm_policy_judge(p, &request);
    }
    cm_policy_free(p);
    return 0;
}
