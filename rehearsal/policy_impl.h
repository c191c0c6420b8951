#ifndef CM_REHEARSAL_POLICY_IMPL_H
#define CM_REHEARSAL_POLICY_IMPL_H

#include "io/jsontext.h"
#include "rehearsal/policy.h"

/* policy_impl.h - what parses a policy and what evaluates it share: the document, checked, and its operators.
 */
struct cm_policy {
    json_t *doc;
};

enum cm_policy_compare { CM_POLICY_EQUAL, CM_POLICY_CASELESS, CM_POLICY_LIKE };

struct cm_policy_operator {
    const char *name;
    enum cm_policy_compare compares;
    bool negated;
    bool asks_absence; /* Null */
};

enum cm_policy_every { CM_POLICY_FIRST, CM_POLICY_ALL, CM_POLICY_ANY };

struct cm_policy_test {
    const struct cm_policy_operator *op;
    enum cm_policy_every every; /* of a key with several values */
    bool if_exists;
};

/* "ForAnyValue:StringLike", "BoolIfExists"; false: there is no such one. */
bool cm_policy_operator_find(const char *name, struct cm_policy_test *out);

#endif
