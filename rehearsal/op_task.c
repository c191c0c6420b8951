#include "rehearsal/operation.h"

#include "io/awslimits.h"
#include "rehearsal/tasks.h"

#include <stdlib.h>
#include <string.h>

#define ALNUM "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

enum { BUCKET_MIN = 3, BUCKET_MAX = 256, KEY_MAX = 1024, ROLE_MAX = 2048 };

static cm_err check_place(const char *bucket, const char *key, struct cm_svc_error *no)
{
    if (strlen(bucket) < BUCKET_MIN || bucket[strspn(bucket, ALNUM "._-")] != '\0' || bucket[0] == '.')
        CM_REFUSE(no, CM_SVC_INVALID, "inputFileBucket %.80s is not [a-zA-Z0-9._-]{3,256}", bucket);
    if (key[strspn(key, ALNUM "!_.*'()-/")] != '\0')
        CM_REFUSE(no, CM_SVC_INVALID, "inputFileKey %.80s has a character that it can't have", key);
    return CM_OK;
}

cm_err cm_op_task_start(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const char *bucket = NULL, *key = NULL, *role = NULL, *body = NULL;
    struct cm_reg_task task = { 0 };

    CM_TRY(cm_op_needed(q, "templateBody", CM_AWS_TEMPLATE_MAX, &body, no));
    CM_TRY(cm_op_needed(q, "inputFileBucket", BUCKET_MAX, &bucket, no));
    CM_TRY(cm_op_needed(q, "inputFileKey", KEY_MAX, &key, no));
    CM_TRY(cm_op_needed(q, "roleArn", ROLE_MAX, &role, no));
    CM_TRY(check_place(bucket, key, no));
    if (q->all->tasks == NULL)
        CM_REFUSE(no, CM_SVC_INVALID, "This rehearsal has no directory of buckets");
    (void) snprintf(task.bucket, sizeof task.bucket, "%s", bucket);
    task.key = strdup(key);
    task.role_arn = strdup(role);
    task.template_body = strdup(body);
    cm_err rc = task.key != NULL && task.role_arn != NULL && task.template_body != NULL
                    ? CM_OK
                    : cm_fail(&no->base, CM_E_NOMEM, CM_HERE, "out of memory for a task");
    if (rc == CM_OK)
        rc = cm_tasks_start(q->all->tasks, q->registry, &task, no);
    if (rc == CM_OK)
        rc = cm_op_give(json_pack("{s:s}", "taskId", task.id), out, no);
    cm_reg_task_done(&task);
    return rc;
}

cm_err cm_op_task_describe(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    struct cm_reg_task t = { 0 };

    CM_TRY(cm_reg_task_find(q->registry, q->arg[0], &t, no));
    json_t *const made = json_pack(
        "{s:s, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:s*, s:I, s:I, s:I}", "taskId", t.id, "creationDate",
        cm_op_time(t.created_ms), "lastModifiedDate", cm_op_time(t.modified_ms), "templateBody",
        t.template_body, "inputFileBucket", t.bucket, "inputFileKey", t.key, "roleArn", t.role_arn, "status",
        cm_reg_task_state_name(t.state), "message", t.message, "successCount", (json_int_t) t.good,
        "failureCount", (json_int_t) t.bad, "percentageProgress", (json_int_t) t.percent);
    cm_reg_task_done(&t);
    return cm_op_give(made, out, no);
}

cm_err cm_op_task_stop(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    (void) out;
    return cm_reg_task_cancel(q->registry, q->arg[0], no);
}

cm_err cm_op_task_list(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    const char *const status = cm_op_query(q, "status");

    return cm_op_list(q, CM_REG_LIST_TASKS, status != NULL ? status : "", CM_OP_TOKENS, "taskIds",
                      cm_op_render_name, out, no);
}

static cm_err read_kind(const char *text, bool *good, struct cm_svc_error *no)
{
    if (text == NULL || (strcmp(text, "RESULTS") != 0 && strcmp(text, "ERRORS") != 0))
        CM_REFUSE(no, CM_SVC_INVALID, "reportType must be RESULTS or ERRORS");
    *good = strcmp(text, "RESULTS") == 0;
    return CM_OK;
}

/* A link for the report, where it has lines. */
cm_err cm_op_task_reports(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    struct cm_reg_task t = { 0 };
    char link[256];
    bool good = false;

    CM_TRY(read_kind(cm_op_query(q, "reportType"), &good, no));
    CM_TRY(cm_reg_task_find(q->registry, q->arg[0], &t, no));
    const char *const type = good ? "RESULTS" : "ERRORS";
    (void) snprintf(link, sizeof link, "%s/reports/%s/%s/%s", q->all->own_url, t.id, type, q->all->token);
    const bool lines = (good ? t.good : t.bad) > 0;
    cm_reg_task_done(&t);
    return cm_op_give(lines ? json_pack("{s:[s], s:s}", "resourceLinks", link, "reportType", type)
                            : json_pack("{s:[], s:s}", "resourceLinks", "reportType", type),
                      out, no);
}

struct text {
    char *data;
    size_t len, room;
    struct cm_svc_error *no;
};

static cm_err append(void *arg, const char *line)
{
    struct text *const t = arg;
    const size_t len = strlen(line);

    if (t->len + len + 2 > t->room) {
        const size_t room = 2 * (t->len + len + 2);
        char *const data = realloc(t->data, room);
        if (data == NULL)
            CM_FAIL(&t->no->base, CM_E_NOMEM, "out of memory for a report");
        t->data = data;
        t->room = room;
    }
    memcpy(t->data + t->len, line, len);
    t->len += len;
    t->data[t->len++] = '\n';
    return CM_OK;
}

cm_err cm_op_task_report(struct cm_op_request *q, json_t **out, struct cm_svc_error *no)
{
    struct text text = { .no = no };
    bool good = false;

    CM_TRY(read_kind(q->arg[1], &good, no));
    cm_err rc = cm_reg_task_report(q->registry, q->arg[0], good, append, &text, no);
    if (rc == CM_OK)
        rc = cm_op_give(json_stringn(text.data != NULL ? text.data : "", text.len), out, no);
    free(text.data);
    return rc;
}
