#include "rehearsal/limits.h"

#include <string.h>

/* Requests a second, in an account and region. TO CORRECT A RATE: its row. */
static const struct {
    const char *operation; /* NULL: all others */
    unsigned rate;
} rates[] = {
    { "CreateThing", 100 }, { "AttachThingPrincipal", 100 }, { "DetachThingPrincipal", 100 },
    { "UpdateThing", 100 }, { "DescribeThing", 350 },        { "AttachPolicy", 15 },
    { "DetachPolicy", 15 }, { "AttachPrincipalPolicy", 15 }, { "DetachPrincipalPolicy", 15 },
    { NULL, 10 },
};

enum { NS = 1000000000 };

/* Times, not counts: `free_ns` is when the bucket will be full again. */
struct cm_limits {
    int64_t free_ns[CM_COUNT(rates)];
    struct {
        char operation[64];
        int64_t free_ns;
    } other[64];
};

cm_err cm_limits_new(struct cm_limits **out, struct cm_error *err)
{
    *out = calloc(1, sizeof **out);
    if (*out == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the limits");
    return CM_OK;
}

void cm_limits_free(struct cm_limits *l)
{
    free(l);
}

/* Each operation that the table doesn't name has a bucket of its own, too. */
static int64_t *other_bucket(struct cm_limits *l, const char *operation)
{
    size_t i = 0;

    while (l->other[i].operation[0] != '\0' && strcmp(l->other[i].operation, operation) != 0)
        CM_ASSERT(++i < CM_COUNT(l->other));
    (void) snprintf(l->other[i].operation, sizeof l->other[i].operation, "%s", operation);
    return &l->other[i].free_ns;
}

cm_err cm_limits_take(struct cm_limits *l, const char *operation, int64_t now_ns, struct cm_svc_error *no)
{
    size_t i = 0;

    while (rates[i].operation != NULL && strcmp(rates[i].operation, operation) != 0)
        i++;
    int64_t *const free_ns = rates[i].operation != NULL ? &l->free_ns[i] : other_bucket(l, operation);
    const int64_t cost = NS / rates[i].rate, from = *free_ns > now_ns ? *free_ns : now_ns;

    if (from + cost > now_ns + NS)
        CM_REFUSE(no, CM_SVC_THROTTLED, "Rate exceeded");
    *free_ns = from + cost;
    return CM_OK;
}
