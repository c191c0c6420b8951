/* Targets: cm_profile_open and what reads a profile; cm_name_parse and cm_pattern_parse on its subject. */
#include "engine/name.h"
#include "engine/profile.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct cm_profile *p = NULL;
    struct cm_error err = { 0 };
    struct cm_name name;
    char buf[CM_PATTERN_TEXT];
    const char *subject = NULL;

    if (cm_profile_open("fuzz", cm_span(data, len), NULL, &p, &err) != CM_OK)
        return 0;
    if (cm_profile_pattern(p, "subject", buf, sizeof buf, &subject, &err) == CM_OK && subject != NULL)
        (void) !cm_name_parse(subject, NULL, &name, &err);
    (void) cm_profile_section(p, CM_KEYFAM_EC);
    (void) !cm_profile_check_id(p, cm_span("a", 1), &err);
    cm_profile_close(p);
    return 0;
}
