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

cm_err cm_aws_check_account(const char *account, const char *region, const char **partition,
                            struct cm_error *err)
{
    if ((account == NULL) != (region == NULL) || (*partition != NULL && account == NULL))
        CM_FAIL(err, CM_E_USAGE, "an ARN takes both --aws-account and --aws-region");
    if (account != NULL && (strlen(account) != 12 || strspn(account, "0123456789") != 12))
        CM_FAIL(err, CM_E_USAGE, "--aws-account %.40s: an account is 12 digits", account);
    if (region != NULL && !cm_export_fits(region, "-", 5, 40))
        CM_FAIL(err, CM_E_USAGE, "--aws-region %.40s is no region, like eu-central-1", region);
    if (*partition == NULL)
        *partition = "aws";
    if (strncmp(*partition, "aws", 3) != 0 || !cm_export_fits(*partition, "-", 3, 20))
        CM_FAIL(err, CM_E_USAGE, "--aws-partition %.40s is none, like aws, aws-cn, aws-us-gov", *partition);
    return CM_OK;
}
