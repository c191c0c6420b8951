#include "io/awslimits.h"

#include "io/export_impl.h"

bool cm_aws_thing_name(const char *name)
{
    return cm_export_fits(name, ":_-", 1, CM_AWS_NAME_MAX);
}

bool cm_aws_registration_code(const char *code)
{
    return strspn(code, "0123456789abcdefABCDEF") == CM_AWS_CODE_LEN && code[CM_AWS_CODE_LEN] == '\0';
}
