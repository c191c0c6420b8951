#ifndef CM_REHEARSAL_OPERATION_H
#define CM_REHEARSAL_OPERATION_H

#include "rehearsal/limits.h"
#include "rehearsal/registry.h"
#include "rehearsal/sigv4.h"

#include <jansson.h>

/* operation.h - the control plane's operations: a request in, an answer out, no HTTP library in between.
 *
 * TO ADD AN OPERATION: a function in the op_ file of its kind, declared below, and a row in operation.c.
 *
 *  Threads   a cm_operations belongs to one thread.
 *  Safe      for arbitrary requests.
 */
enum { CM_OP_BODY_MAX = 262144, CM_OP_PATH_ARGS = 3, CM_OP_QUERY = 16, CM_OP_TOKEN = 33 };

struct cm_tasks;

/* What all requests share. Borrowed texts. */
struct cm_operations {
    struct cm_registry *registry;
    struct cm_sigv4_keys keys;
    struct cm_limits *limits;  /* NULL: none */
    struct cm_tasks *tasks;    /* NULL: bulk registration is not to be had */
    const char *data_endpoint; /* what DescribeEndpoint answers */
    const char *own_url;       /* "http://127.0.0.1:PORT", for links to reports */
    char token[CM_OP_TOKEN];   /* in those links, instead of a signature */
};

struct cm_op_request {
    struct cm_operations *all;
    struct cm_registry *registry;
    const struct cm_sigv4_request *raw;
    char *arg[CM_OP_PATH_ARGS]; /* what stands for {} in the path, decoded */
    size_t args;
    struct {
        char *name, *value;
    } query[CM_OP_QUERY];
    size_t queries;
    json_t *body; /* an object, or NULL: no body */
    enum cm_reg_kind kind; /* of op_named.c */
};

struct cm_op_answer {
    unsigned status;
    char *body; /* malloced */
    size_t len;
    const char *error; /* the exception's name, or NULL */
    bool is_json;
    cm_err failed; /* CM_OK, or why it is an InternalFailureException: then what is in `why` */
    struct cm_error why;
};

/* Judges the signature, finds the operation, does it. raw.path has no query. Always gives an answer but when
 * memory runs out for that (CM_E_NOMEM). The body is the caller's to free. */
CM_MUST_CHECK cm_err cm_operations_answer(struct cm_operations *all, const struct cm_sigv4_request *raw,
                                          cm_when now, struct cm_op_answer *out, struct cm_error *err);

/* The same without a look at the signature, for a request that is accepted already. */
CM_MUST_CHECK cm_err cm_operations_accepted(struct cm_operations *all, const struct cm_sigv4_request *raw,
                                            struct cm_op_answer *out, struct cm_error *err);

/* ---- For the operations */

/* An operation: *out is the answer's JSON (NULL: {}), or a json string for plain text. */
typedef cm_err cm_op_run(struct cm_op_request *q, json_t **out, struct cm_svc_error *no);

const char *cm_op_query(const struct cm_op_request *q, const char *name);  /* NULL: it isn't there */
const char *cm_op_header(const struct cm_op_request *q, const char *name); /* the same */
/* "true" or "false", or CM_SVC_INVALID; without it, false. */
CM_MUST_CHECK cm_err cm_op_query_flag(const struct cm_op_request *q, const char *name, bool *out,
                                      struct cm_svc_error *no);
/* A string of the body, at most max characters; NULL: it isn't there. CM_SVC_INVALID. */
CM_MUST_CHECK cm_err cm_op_text(const struct cm_op_request *q, const char *name, size_t max, const char **out,
                                struct cm_svc_error *no);
/* The same, and it must be there. */
CM_MUST_CHECK cm_err cm_op_needed(const struct cm_op_request *q, const char *name, size_t max,
                                  const char **out, struct cm_svc_error *no);
/* An id of 64 hexadecimal digits, in lower case. CM_SVC_INVALID. */
CM_MUST_CHECK cm_err cm_op_id(const char *text, char out[CM_REG_ID], struct cm_svc_error *no);
/* The value as an answer; NULL is CM_E_NOMEM. */
CM_MUST_CHECK cm_err cm_op_give(json_t *made, json_t **out, struct cm_svc_error *no);
json_t *cm_op_time(int64_t ms); /* seconds */

/* A page of a list: {MEMBER: [ITEM…], "nextMarker": …}. of may be NULL. render gives an item's JSON (NULL: no
 * memory). */
enum cm_op_paging { CM_OP_MARKER, CM_OP_TOKENS }; /* how the operation calls its parameters */
typedef json_t *cm_op_render(const struct cm_op_request *q, const struct cm_reg_item *item);
CM_MUST_CHECK cm_err cm_op_list(struct cm_op_request *q, enum cm_reg_list list, const char *of,
                                enum cm_op_paging paging, const char *member, cm_op_render *render,
                                json_t **out, struct cm_svc_error *no);
json_t *cm_op_render_name(const struct cm_op_request *q, const struct cm_reg_item *item); /* a string */

/* op_ca.c */
cm_op_run cm_op_code_get, cm_op_code_delete, cm_op_ca_register, cm_op_ca_describe, cm_op_ca_update,
    cm_op_ca_list, cm_op_ca_delete;
/* op_certificate.c */
cm_op_run cm_op_cert_register, cm_op_cert_register_alone, cm_op_cert_describe, cm_op_cert_update,
    cm_op_cert_list, cm_op_cert_list_by_ca, cm_op_cert_delete, cm_op_endpoint;
/* op_policy.c */
cm_op_run cm_op_policy_create, cm_op_policy_get, cm_op_policy_list, cm_op_policy_delete, cm_op_policy_attach,
    cm_op_policy_detach, cm_op_policy_list_attached, cm_op_policy_targets, cm_op_policy_attach_principal,
    cm_op_policy_detach_principal;
/* op_thing.c */
cm_op_run cm_op_thing_create, cm_op_thing_describe, cm_op_thing_list, cm_op_thing_update, cm_op_thing_delete,
    cm_op_thing_attach, cm_op_thing_detach, cm_op_thing_principals, cm_op_thing_of_principal,
    cm_op_thing_groups, cm_op_thing_register;
/* op_named.c: of thing types, thing groups and billing groups */
cm_op_run cm_op_named_create, cm_op_named_describe, cm_op_named_list, cm_op_named_delete, cm_op_named_things,
    cm_op_named_add, cm_op_named_remove, cm_op_type_deprecate;
/* op_task.c */
cm_op_run cm_op_task_start, cm_op_task_describe, cm_op_task_stop, cm_op_task_list, cm_op_task_reports,
    cm_op_task_report;

#endif
