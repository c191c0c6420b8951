/* Goal: an operation is let through at its documented rate, a second's worth at once, and one doesn't use up
 * another's. Method: a clock of our own. */
#include "rehearsal/limits.h"

#include <criterion/criterion.h>

static unsigned taken(struct cm_limits *l, const char *operation, unsigned tries, int64_t now_ns)
{
    struct cm_svc_error no = { 0 };
    unsigned good = 0;

    for (unsigned i = 0; i < tries; i++)
        if (cm_limits_take(l, operation, now_ns, &no) == CM_OK)
            good++;
        else
            cr_expect_eq(no.kind, CM_SVC_THROTTLED);
    return good;
}

Test(limits, rates)
{
    enum { SECOND = 1000000000 };
    const int64_t now = 7 * (int64_t) SECOND;
    struct cm_limits *l = NULL;
    struct cm_error err = { 0 };

    cr_assert_eq(cm_limits_new(&l, &err), CM_OK);
    cr_expect_eq(taken(l, "RegisterCertificate", 30, now), 10);
    cr_expect_eq(taken(l, "UpdateCertificate", 30, now), 10, "a bucket of its own");
    cr_expect_eq(taken(l, "AttachPolicy", 30, now), 15);
    cr_expect_eq(taken(l, "CreateThing", 300, now), 100);
    cr_expect_eq(taken(l, "RegisterCertificate", 30, now + SECOND / 2), 5);
    cr_expect_eq(taken(l, "RegisterCertificate", 300, now + 100 * (int64_t) SECOND), 10,
                 "no more than a second's");
    cm_limits_free(l);
}
