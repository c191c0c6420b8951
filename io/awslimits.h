#ifndef CM_IO_AWSLIMITS_H
#define CM_IO_AWSLIMITS_H

#include "engine/err.h"

#include <stdbool.h>

/* awslimits.h - AWS IoT's sizes and names, for those who write what it reads (io/export_aws.c), judge what it
 * would take (aws/rules.h) and stand in for it. Its API reference and "AWS IoT Core endpoints and quotas"
 * state them.
 */
enum {
    CM_AWS_PEM_MAX = 65536,       /* characters of a certificate */
    CM_AWS_VALUE_MAX = 4096,      /* of a template parameter's value: certificates in bulk registrations */
    CM_AWS_LINE_MAX = 256000,     /* octets of a bulk registration's line */
    CM_AWS_TEMPLATE_MAX = 10240,  /* characters of a provisioning template */
    CM_AWS_POLICY_MAX = 2048,     /* of a policy document, without white space */
    CM_AWS_ATTRIBUTES_BARE = 3,   /* of a thing without a type */
    CM_AWS_ATTRIBUTES_TYPED = 50, /* and with one */
    CM_AWS_NAME_MAX = 128,        /* of a thing, its type, its groups, a policy */
    CM_AWS_CODE_LEN = 64,         /* hex digits of a registration code; as long as a CN may be */
    CM_AWS_RSA_BITS_MIN = 2048,
    CM_AWS_SAME_SUBJECT_MAX = 10, /* CA certificates with one subject, in an account and region */
};

/* A name for a thing, a thing type or a thing group: A-Z a-z 0-9 : _ -, 1 to 128 of them. */
bool cm_aws_thing_name(const char *name);
/* A registration code: 64 hexadecimal digits. */
bool cm_aws_registration_code(const char *code);

/* Account, region and partition of ARNs, by their options' names: the first two together or both NULL;
 * *partition: "aws" where it was NULL. CM_E_USAGE. */
CM_MUST_CHECK cm_err cm_aws_check_account(const char *account, const char *region, const char **partition,
                                          struct cm_error *err);

#endif
