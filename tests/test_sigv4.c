/* Goal: the signature of AWS's own documentation is taken, and nothing that differs from it. Method: its
 * example for "ListUsers" (General Reference, "Create a signed AWS API request"); Debian's signer is the
 * judge of more in e2e_aws_control.py. */
#include "rehearsal/sigv4.h"

#include <criterion/criterion.h>

#define CREDENTIAL "Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request"
#define HEADERS "SignedHeaders=content-type;host;x-amz-date"
#define SIGNATURE "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"

static const char *const services[] = { "iot", "iam", NULL };
static const struct cm_sigv4_keys keys = { .access_key = "AKIDEXAMPLE",
                                           .secret_key = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                                           .region = "us-east-1",
                                           .services = services };
enum { NOW = 1440938160 }; /* 2015-08-30T12:36:00Z */

static enum cm_svc judge(const char *query, const char *authorization, const char *type, cm_when now)
{
    const struct cm_sigv4_header header[] = { { "Host", "iam.amazonaws.com" },
                                              { "Content-Type", type },
                                              { "X-Amz-Date", "20150830T123600Z" },
                                              { "authorization", authorization } };
    const struct cm_sigv4_request request = {
        .method = "GET", .path = "/", .query = query, .header = header, .headers = CM_COUNT(header)
    };
    struct cm_svc_error no = { 0 };

    return cm_sigv4_judge(&request, &keys, now, &no) == CM_OK ? CM_SVC_COUNT : no.kind;
}

#define QUERY "Action=ListUsers&Version=2010-05-08"
#define TYPE "application/x-www-form-urlencoded; charset=utf-8"
#define GOOD "AWS4-HMAC-SHA256 " CREDENTIAL ", " HEADERS ", Signature=" SIGNATURE

Test(sigv4, the_documented_example)
{
    cr_expect_eq(judge(QUERY, GOOD, TYPE, NOW), CM_SVC_COUNT);
    cr_expect_eq(judge("Version=2010-05-08&Action=ListUsers", GOOD, TYPE, NOW), CM_SVC_COUNT,
                 "the order is canonical");
    cr_expect_eq(judge(QUERY, GOOD, "  application/x-www-form-urlencoded;   charset=utf-8 ", NOW),
                 CM_SVC_COUNT);
    cr_expect_eq(judge(QUERY, "AWS4-HMAC-SHA256 " CREDENTIAL "," HEADERS ",Signature=" SIGNATURE, TYPE, NOW),
                 CM_SVC_COUNT);
    cr_expect_eq(judge(QUERY, GOOD, TYPE, NOW + CM_SIGV4_SKEW_S), CM_SVC_COUNT);
}

Test(sigv4, anything_else)
{
    cr_expect_eq(judge("Action=ListUser&Version=2010-05-08", GOOD, TYPE, NOW), CM_SVC_BAD_SIGNATURE);
    cr_expect_eq(judge(QUERY, GOOD, "text/plain", NOW), CM_SVC_BAD_SIGNATURE);
    cr_expect_eq(judge(QUERY, GOOD "0", TYPE, NOW), CM_SVC_BAD_SIGNATURE);
    cr_expect_eq(judge(QUERY, GOOD, TYPE, NOW + CM_SIGV4_SKEW_S + 1), CM_SVC_BAD_SIGNATURE);
    cr_expect_eq(judge(QUERY, GOOD, TYPE, NOW - CM_SIGV4_SKEW_S - 1), CM_SVC_BAD_SIGNATURE);
    cr_expect_eq(judge(QUERY,
                       "AWS4-HMAC-SHA256 " CREDENTIAL ", SignedHeaders=x-amz-date, Signature=" SIGNATURE,
                       TYPE, NOW),
                 CM_SVC_BAD_SIGNATURE, "without the host");
    cr_expect_eq(judge(QUERY,
                       "AWS4-HMAC-SHA256 " CREDENTIAL ", SignedHeaders=x-amz-date;host, Signature=" SIGNATURE,
                       TYPE, NOW),
                 CM_SVC_INCOMPLETE_SIGNATURE, "out of order");
    cr_expect_eq(judge(QUERY, "AWS4-HMAC-SHA256 " CREDENTIAL ", " HEADERS, TYPE, NOW),
                 CM_SVC_INCOMPLETE_SIGNATURE);
    cr_expect_eq(judge(QUERY, "AWS4-HMAC-SHA256", TYPE, NOW), CM_SVC_INCOMPLETE_SIGNATURE);
    cr_expect_eq(judge(QUERY, "", TYPE, NOW), CM_SVC_INCOMPLETE_SIGNATURE);
}
