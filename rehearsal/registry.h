#ifndef CM_REHEARSAL_REGISTRY_H
#define CM_REHEARSAL_REGISTRY_H

#include "rehearsal/service.h"

#include <stdbool.h>

/* registry.h - what the rehearsal knows: CAs, certificates, policies, things, tasks, and the events to send.
 *
 * One SQLite file (write-ahead log). The control plane and the broker's plugin have it open at the same time,
 * from two processes: each function below is one transaction, and waits up to CM_REG_WAIT_MS for the other
 * writer.
 *
 *  Ownership  rows that are read out own their heap members; the _done function of the struct frees them and
 *             accepts a zeroed one. Outputs are untouched on failure.
 *  Threads    a cm_registry belongs to one thread at a time.
 *  Errors     service.h: CM_E_INPUT with an exception of the service, anything else for the rehearsal's log.
 *  Time       milliseconds since 1970.
 *  Crash      what a call returned CM_OK for survives the process (kill -9), though not the machine.
 */
enum {
    CM_REG_WAIT_MS = 10000,
    CM_REG_ID = 65,    /* a certificateId and its NUL */
    CM_REG_NAME = 129, /* a name (thing, policy, …) and its NUL */
    CM_REG_TOPIC = 128,
    CM_REG_PAYLOAD = 512,
    CM_REG_PAGE_MAX = 250, /* rows of a list in one answer */
};

struct cm_registry;

struct cm_registry_conf {
    const char *account; /* NULL: 123456789012. Both are kept in the file: what it has, wins. */
    const char *region;  /* NULL: us-east-1 */
};

/* Makes the file (0600) where it is missing. */
CM_MUST_CHECK cm_err cm_registry_open(const char *path, const struct cm_registry_conf *conf,
                                      struct cm_registry **out, struct cm_error *err);
void cm_registry_close(struct cm_registry *r); /* NULL accepted */
const char *cm_registry_account(const struct cm_registry *r);
const char *cm_registry_region(const struct cm_registry *r);
/* "arn:aws:iot:REGION:ACCOUNT:KIND/NAME"; kind: "cert", "cacert", "client", "topic", "thing" …
 * false: out (cap octets) is too small. */
bool cm_registry_arn(const struct cm_registry *r, const char *kind, const char *name, char *out, size_t cap);
/* The name in an ARN of this account, region and kind; NULL: it is no such one. A view into arn. */
const char *cm_registry_arn_name(const struct cm_registry *r, const char *kind, const char *arn);

/* A random UUID (version 4) and its NUL. */
CM_MUST_CHECK cm_err cm_reg_uuid(char out[37], struct cm_svc_error *no);

/* ---- The registration code: made at the first call, the same until it is deleted. */
CM_MUST_CHECK cm_err cm_reg_code(struct cm_registry *r, char out[CM_REG_ID], struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_code_delete(struct cm_registry *r, struct cm_svc_error *no);

/* ---- CAs */
struct cm_reg_ca {
    char id[CM_REG_ID];
    char arn[CM_SVC_ARN];
    char *pem;
    uint8_t *der;
    size_t der_len;
    bool active, auto_registration, sni_only;
    char *template_body; /* NULL: none. With one, the CA provisions just in time (JITP) */
    char *role_arn;      /* NULL: none */
    int64_t created_ms, modified_ms;
};
void cm_reg_ca_done(struct cm_reg_ca *ca);

struct cm_reg_ca_new {
    const char *id;
    const char *pem;
    struct cm_span der, subject; /* subject: the Name in DER */
    bool active, auto_registration, sni_only;
    const char *template_body, *role_arn; /* NULL: none */
};
/* CM_SVC_EXISTS; CM_SVC_LIMIT: ten have this subject. */
CM_MUST_CHECK cm_err cm_reg_ca_add(struct cm_registry *r, const struct cm_reg_ca_new *ca,
                                   struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_ca_find(struct cm_registry *r, const char *id, struct cm_reg_ca *out,
                                    struct cm_svc_error *no);
/* Every CA, or with subject (not NULL) those that have it. The row is on_ca's to look at only; what on_ca
 * returns other than CM_OK ends the walk and is returned. on_ca must not call the registry. */
typedef cm_err cm_reg_on_ca(void *arg, const struct cm_reg_ca *ca);
CM_MUST_CHECK cm_err cm_reg_ca_each(struct cm_registry *r, const struct cm_span *subject, cm_reg_on_ca *on_ca,
                                    void *arg, struct cm_svc_error *no);

enum cm_reg_turn { CM_REG_KEEP, CM_REG_ON, CM_REG_OFF };
struct cm_reg_ca_change {
    enum cm_reg_turn active, auto_registration;
    bool remove_template;
    const char *template_body, *role_arn; /* NULL: as they are */
};
CM_MUST_CHECK cm_err cm_reg_ca_update(struct cm_registry *r, const char *id,
                                      const struct cm_reg_ca_change *change, struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_ca_delete(struct cm_registry *r, const char *id, struct cm_svc_error *no);
/* A number that another one follows with each change to the CAs. */
CM_MUST_CHECK cm_err cm_reg_ca_generation(struct cm_registry *r, int64_t *out, struct cm_svc_error *no);

/* ---- Certificates */
enum cm_reg_status {
    CM_REG_ACTIVE,
    CM_REG_INACTIVE,
    CM_REG_REVOKED,
    CM_REG_PENDING_TRANSFER,
    CM_REG_PENDING_ACTIVATION,
    CM_REG_STATUS_COUNT,
};
const char *cm_reg_status_name(enum cm_reg_status status); /* "PENDING_ACTIVATION" */
bool cm_reg_status_find(const char *name, enum cm_reg_status *out);

struct cm_reg_cert {
    char id[CM_REG_ID];
    char arn[CM_SVC_ARN];
    char ca_id[CM_REG_ID]; /* "": registered without a CA */
    char *pem;
    enum cm_reg_status status;
    bool sni_only;
    int64_t created_ms, modified_ms;
};
void cm_reg_cert_done(struct cm_reg_cert *cert);

struct cm_reg_cert_new {
    const char *id;
    const char *ca_id; /* NULL: none */
    const char *pem;
    enum cm_reg_status status;
    bool sni_only;
};
/* CM_SVC_EXISTS with id and ARN. */
CM_MUST_CHECK cm_err cm_reg_cert_add(struct cm_registry *r, const struct cm_reg_cert_new *cert,
                                     struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_cert_find(struct cm_registry *r, const char *id, struct cm_reg_cert *out,
                                      struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_cert_set_status(struct cm_registry *r, const char *id, enum cm_reg_status status,
                                            struct cm_svc_error *no);
/* CM_SVC_STATE: it is ACTIVE; CM_SVC_DELETE_CONFLICT: policies or things are attached and force is false. */
CM_MUST_CHECK cm_err cm_reg_cert_delete(struct cm_registry *r, const char *id, bool force,
                                        struct cm_svc_error *no);

/* ---- Events: an outbox */
struct cm_reg_event {
    int64_t seq;
    char topic[CM_REG_TOPIC];
    char payload[CM_REG_PAYLOAD]; /* the documented JSON */
    char certificate_id[CM_REG_ID];
};
/* What a connecting certificate of an auto-registering CA leaves behind, in one transaction: its row where
 * there was none (status PENDING_ACTIVATION whatever cert->status says), and an event to send. *first: the
 * row is new. A row that has another status by now gets no event, and CM_SVC_STATE. */
CM_MUST_CHECK cm_err cm_reg_cert_pending(struct cm_registry *r, const struct cm_reg_cert_new *cert,
                                         bool *first, struct cm_svc_error *no);
/* The first event behind seq `after` (0: of all) that isn't marked as sent. CM_E_END: none. */
CM_MUST_CHECK cm_err cm_reg_event_next(struct cm_registry *r, int64_t after, struct cm_reg_event *out,
                                       struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_event_sent(struct cm_registry *r, int64_t seq, struct cm_svc_error *no);

/* ---- Policies. A target is the ARN of a certificate (or of a thing group). */
struct cm_reg_policy {
    char name[CM_REG_NAME];
    char *document;
    int64_t created_ms;
};
void cm_reg_policy_done(struct cm_reg_policy *policy);
/* The document was parsed by policy.h before. CM_SVC_EXISTS. */
CM_MUST_CHECK cm_err cm_reg_policy_add(struct cm_registry *r, const char *name, const char *document,
                                       struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_policy_find(struct cm_registry *r, const char *name, struct cm_reg_policy *out,
                                        struct cm_svc_error *no);
/* CM_SVC_DELETE_CONFLICT: attached. */
CM_MUST_CHECK cm_err cm_reg_policy_delete(struct cm_registry *r, const char *name, struct cm_svc_error *no);
/* Attaching what is attached is fine. CM_SVC_NOT_FOUND: the policy or the target; CM_SVC_LIMIT: ten are
 * attached. */
CM_MUST_CHECK cm_err cm_reg_policy_attach(struct cm_registry *r, const char *name, const char *target,
                                          struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_policy_detach(struct cm_registry *r, const char *name, const char *target,
                                          struct cm_svc_error *no);
/* The policies that hold for a principal (a certificate's ARN): its own, and those of the groups of the thing
 * thing_name (NULL: no thing). Rules as for cm_reg_on_ca. */
typedef cm_err cm_reg_on_policy(void *arg, const char *name, const char *document);
CM_MUST_CHECK cm_err cm_reg_policies_of(struct cm_registry *r, const char *principal, const char *thing_name,
                                        cm_reg_on_policy *on_policy, void *arg, struct cm_svc_error *no);

/* ---- Things */
struct cm_reg_thing {
    char name[CM_REG_NAME];
    char type[CM_REG_NAME];          /* "": none */
    char billing_group[CM_REG_NAME]; /* "": none */
    char id[37];                     /* a UUID */
    char *attributes;                /* a JSON object of strings */
    int64_t version;
};
void cm_reg_thing_done(struct cm_reg_thing *thing);

struct cm_reg_thing_new {
    const char *name;
    const char *type;          /* NULL: none */
    const char *billing_group; /* NULL: none */
    const char *attributes;    /* a JSON object of strings, judged by the caller; NULL: none */
};
/* One of the same attributes, type and billing group, is no error (the operation is
 * idempotent); with others CM_SVC_EXISTS. CM_SVC_NOT_FOUND: type or billing group. */
CM_MUST_CHECK cm_err cm_reg_thing_add(struct cm_registry *r, const struct cm_reg_thing_new *thing,
                                      struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_thing_find(struct cm_registry *r, const char *name, struct cm_reg_thing *out,
                                       struct cm_svc_error *no);
/* NULL members stay as they are; type "" takes it off. version (0: any): CM_SVC_VERSION_CONFLICT. */
CM_MUST_CHECK cm_err cm_reg_thing_update(struct cm_registry *r, const struct cm_reg_thing_new *thing,
                                         int64_t version, struct cm_svc_error *no);
/* CM_SVC_INVALID: principals are attached. */
CM_MUST_CHECK cm_err cm_reg_thing_delete(struct cm_registry *r, const char *name, int64_t version,
                                         struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_thing_attach(struct cm_registry *r, const char *name, const char *principal,
                                         struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_thing_detach(struct cm_registry *r, const char *name, const char *principal,
                                         struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_thing_attached(struct cm_registry *r, const char *name, const char *principal,
                                           bool *out, struct cm_svc_error *no);

/* ---- What only has a name and properties: thing types, thing groups, billing groups. */
enum cm_reg_kind { CM_REG_TYPE, CM_REG_GROUP, CM_REG_BILLING };
struct cm_reg_named {
    char name[CM_REG_NAME];
    char id[37];
    char parent[CM_REG_NAME]; /* of a group; "": none */
    char *properties;         /* JSON */
    int64_t created_ms;
    bool deprecated; /* a type that takes no new things */
};
void cm_reg_named_done(struct cm_reg_named *named);
const char *cm_reg_kind_name(enum cm_reg_kind kind); /* "thingtype", as in ARNs */
CM_MUST_CHECK cm_err cm_reg_named_add(struct cm_registry *r, enum cm_reg_kind kind, const char *name,
                                      const char *parent, const char *properties, struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_named_find(struct cm_registry *r, enum cm_reg_kind kind, const char *name,
                                       struct cm_reg_named *out, struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_named_deprecate(struct cm_registry *r, const char *type, bool deprecated,
                                            struct cm_svc_error *no);
/* A type that is in use or not deprecated: CM_SVC_INVALID. Groups that are not there are fine. */
CM_MUST_CHECK cm_err cm_reg_named_delete(struct cm_registry *r, enum cm_reg_kind kind, const char *name,
                                         struct cm_svc_error *no);
/* Puts a thing into a group or a billing group, or takes it out. Both are idempotent. */
CM_MUST_CHECK cm_err cm_reg_member_add(struct cm_registry *r, enum cm_reg_kind kind, const char *group,
                                       const char *thing, struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_member_remove(struct cm_registry *r, enum cm_reg_kind kind, const char *group,
                                          const char *thing, struct cm_svc_error *no);

/* ---- Tasks of bulk registration */
enum cm_reg_task_state {
    CM_REG_TASK_RUNNING,
    CM_REG_TASK_COMPLETED,
    CM_REG_TASK_FAILED,
    CM_REG_TASK_CANCELLED,
    CM_REG_TASK_CANCELLING,
    CM_REG_TASK_STATES,
};
const char *cm_reg_task_state_name(enum cm_reg_task_state state); /* "InProgress" */

struct cm_reg_task {
    char id[37];
    char bucket[257];
    char *key, *role_arn, *template_body, *message; /* message: NULL while nothing is wrong */
    enum cm_reg_task_state state;
    int64_t good, bad, percent;
    int64_t created_ms, modified_ms;
};
void cm_reg_task_done(struct cm_reg_task *task);
/* CM_SVC_LIMIT: one is running. task: id is filled in; the texts are borrowed. */
CM_MUST_CHECK cm_err cm_reg_task_add(struct cm_registry *r, struct cm_reg_task *task,
                                     struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_task_find(struct cm_registry *r, const char *id, struct cm_reg_task *out,
                                      struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_task_cancel(struct cm_registry *r, const char *id, struct cm_svc_error *no);
/* One line done: counted, and written to its report. *cancelled: stop. */
CM_MUST_CHECK cm_err cm_reg_task_line(struct cm_registry *r, const char *id, bool good, const char *report,
                                      int64_t percent, bool *cancelled, struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_task_end(struct cm_registry *r, const char *id, enum cm_reg_task_state state,
                                     const char *message, struct cm_svc_error *no);
typedef cm_err cm_reg_on_line(void *arg, const char *line);
CM_MUST_CHECK cm_err cm_reg_task_report(struct cm_registry *r, const char *id, bool good,
                                        cm_reg_on_line *on_line, void *arg, struct cm_svc_error *no);

/* ---- Lists, a page at a time */
enum cm_reg_list {
    CM_REG_LIST_CAS,
    CM_REG_LIST_CERTS,
    CM_REG_LIST_CERTS_BY_CA, /* of: a caCertificateId */
    CM_REG_LIST_POLICIES,
    CM_REG_LIST_POLICIES_OF, /* of: a target's ARN */
    CM_REG_LIST_TARGETS,     /* of: a policy */
    CM_REG_LIST_THINGS,
    CM_REG_LIST_PRINCIPALS, /* of: a thing */
    CM_REG_LIST_THINGS_OF,  /* of: a principal's ARN */
    CM_REG_LIST_TYPES,
    CM_REG_LIST_GROUPS,
    CM_REG_LIST_BILLINGS,
    CM_REG_LIST_GROUPS_OF,    /* of: a thing */
    CM_REG_LIST_GROUP_THINGS, /* of: a group */
    CM_REG_LIST_BILLING_THINGS,
    CM_REG_LIST_TASKS, /* of: a state's name, or "" */
    CM_REG_LIST_COUNT,
};
struct cm_reg_item {
    const char *name;   /* the name, or certificateId, or ARN */
    const char *status; /* of certificates, CAs: ACTIVE …; of types, things, groups: their JSON */
    const char *more;   /* "SNI_ONLY" of a certificate; the type of a thing; NULL otherwise */
    int64_t created_ms, version;
};
struct cm_reg_page {
    const char *of; /* NULL: the list has no such thing */
    bool descending;
    int64_t after; /* *next of the page before; 0: the first page */
    unsigned rows; /* 1 to CM_REG_PAGE_MAX */
};
typedef cm_err cm_reg_on_item(void *arg, const struct cm_reg_item *item);
/* *next: where the next page begins; 0: this was the last. The order is that of registration. */
CM_MUST_CHECK cm_err cm_reg_list(struct cm_registry *r, enum cm_reg_list list, const struct cm_reg_page *page,
                                 cm_reg_on_item *on_item, void *arg, int64_t *next, struct cm_svc_error *no);

/* ---- Several calls as one transaction. Between the two, a failed call fails the whole: end it with
 * cm_reg_rollback. */
CM_MUST_CHECK cm_err cm_reg_begin(struct cm_registry *r, struct cm_svc_error *no);
CM_MUST_CHECK cm_err cm_reg_commit(struct cm_registry *r, struct cm_svc_error *no);
void cm_reg_rollback(struct cm_registry *r);

#endif
