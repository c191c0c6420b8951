#include "rehearsal/registry_impl.h"

#include <stdlib.h>
#include <string.h>

static const char *const states[CM_REG_TASK_STATES] = {
    [CM_REG_TASK_RUNNING] = "InProgress",    [CM_REG_TASK_COMPLETED] = "Completed",
    [CM_REG_TASK_FAILED] = "Failed",         [CM_REG_TASK_CANCELLED] = "Cancelled",
    [CM_REG_TASK_CANCELLING] = "Cancelling",
};

const char *cm_reg_task_state_name(enum cm_reg_task_state state)
{
    return states[state];
}

void cm_reg_task_done(struct cm_reg_task *task)
{
    free(task->key);
    free(task->role_arn);
    free(task->template_body);
    free(task->message);
    *task = (struct cm_reg_task) { 0 };
}

static cm_err add(struct cm_registry *r, struct cm_reg_task *task, struct cm_svc_error *no)
{
    int64_t running = 0;
    char id[37];

    CM_TRY(cm_reg_number(r, &running, no,
                         "SELECT count(*) FROM task WHERE state IN ('InProgress', 'Cancelling')", ""));
    if (running > 0)
        CM_REFUSE(no, CM_SVC_LIMIT,
                  "An account can have one running thing registration task; wait for it, or stop it");
    CM_TRY(cm_reg_uuid(id, no));
    CM_TRY(cm_reg_do(r, NULL, no,
                     "INSERT INTO task(id, bucket, key, role_arn, template_body, state, good, bad, percent,"
                     " created_ms, modified_ms) VALUES(?1, ?2, ?3, ?4, ?5, ?6, 0, 0, 0, ?7, ?7)",
                     "tttttti", id, task->bucket, task->key, task->role_arn, task->template_body,
                     states[CM_REG_TASK_RUNNING], cm_reg_now_ms()));
    memcpy(task->id, id, sizeof id);
    return CM_OK;
}

cm_err cm_reg_task_add(struct cm_registry *r, struct cm_reg_task *task, struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, add(r, task, no), no);
}

static cm_err read_row(struct cm_registry *r, sqlite3_stmt *stmt, struct cm_reg_task *out,
                       struct cm_svc_error *no)
{
    const char *const state = (const char *) sqlite3_column_text(stmt, 6);
    size_t i = 0;

    cm_reg_copy(stmt, 0, out->id, sizeof out->id);
    cm_reg_copy(stmt, 1, out->bucket, sizeof out->bucket);
    CM_TRY(cm_reg_text(stmt, 2, &out->key, no));
    CM_TRY(cm_reg_text(stmt, 3, &out->role_arn, no));
    CM_TRY(cm_reg_text(stmt, 4, &out->template_body, no));
    CM_TRY(cm_reg_text(stmt, 5, &out->message, no));
    while (i < CM_COUNT(states) && (state == NULL || strcmp(state, states[i]) != 0))
        i++;
    if (i == CM_COUNT(states))
        return cm_sqlite_damaged(&r->sqlite, "a task has no state that there is", &no->base);
    out->state = (enum cm_reg_task_state) i;
    out->good = sqlite3_column_int64(stmt, 7);
    out->bad = sqlite3_column_int64(stmt, 8);
    out->percent = sqlite3_column_int64(stmt, 9);
    out->created_ms = sqlite3_column_int64(stmt, 10);
    out->modified_ms = sqlite3_column_int64(stmt, 11);
    return CM_OK;
}

static cm_err not_found(const char *id, struct cm_svc_error *no)
{
    CM_REFUSE(no, CM_SVC_NOT_FOUND, "Task %.40s does not exist", id);
}

cm_err cm_reg_task_find(struct cm_registry *r, const char *id, struct cm_reg_task *out,
                        struct cm_svc_error *no)
{
    struct cm_reg_task task = { 0 };
    sqlite3_stmt *stmt = NULL;
    bool got = false;

    cm_err rc =
        cm_reg_first(r, &stmt, &got, no,
                     "SELECT id, bucket, key, role_arn, template_body, message, state, good, bad, percent,"
                     " created_ms, modified_ms FROM task WHERE id = ?1",
                     "t", id);
    if (rc == CM_OK)
        rc = got ? read_row(r, stmt, &task, no) : not_found(id, no);
    (void) sqlite3_finalize(stmt);
    if (rc != CM_OK)
        cm_reg_task_done(&task);
    else
        *out = task;
    return rc;
}

static cm_err cancel(struct cm_registry *r, const char *id, struct cm_svc_error *no)
{
    int64_t there = 0, changed = 0;

    CM_TRY(cm_reg_number(r, &there, no, "SELECT 1 FROM task WHERE id = ?1", "t", id));
    if (there == 0)
        return not_found(id, no);
    CM_TRY(cm_reg_do(r, &changed, no,
                     "UPDATE task SET state = ?1, modified_ms = ?2 WHERE id = ?3 AND state = ?4", "titt",
                     states[CM_REG_TASK_CANCELLING], cm_reg_now_ms(), id, states[CM_REG_TASK_RUNNING]));
    if (changed == 0)
        CM_REFUSE(no, CM_SVC_INVALID, "Task %.40s is not in progress", id);
    return CM_OK;
}

cm_err cm_reg_task_cancel(struct cm_registry *r, const char *id, struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, cancel(r, id, no), no);
}

static cm_err line(struct cm_registry *r, const char *id, bool good, const char *report, int64_t percent,
                   bool *cancelled, struct cm_svc_error *no)
{
    int64_t stopping = 0;

    CM_TRY(cm_reg_do(r, NULL, no, "INSERT INTO task_line(task, good, line) VALUES(?1, ?2, ?3)", "tit", id,
                     (int64_t) good, report));
    CM_TRY(cm_reg_do(r, NULL, no,
                     "UPDATE task SET good = good + ?1, bad = bad + 1 - ?1, percent = ?2, modified_ms = ?3"
                     " WHERE id = ?4",
                     "iiit", (int64_t) good, percent, cm_reg_now_ms(), id));
    CM_TRY(cm_reg_number(r, &stopping, no, "SELECT state = 'Cancelling' FROM task WHERE id = ?1", "t", id));
    *cancelled = stopping != 0;
    return CM_OK;
}

cm_err cm_reg_task_line(struct cm_registry *r, const char *id, bool good, const char *report, int64_t percent,
                        bool *cancelled, struct cm_svc_error *no)
{
    CM_TRY(cm_reg_enter(r, no));
    return cm_reg_leave(r, line(r, id, good, report, percent, cancelled, no), no);
}

cm_err cm_reg_task_end(struct cm_registry *r, const char *id, enum cm_reg_task_state state,
                       const char *message, struct cm_svc_error *no)
{
    return cm_reg_do(r, NULL, no,
                     "UPDATE task SET state = ?1, message = ?2, modified_ms = ?3,"
                     " percent = iif(?1 = 'Completed', 100, percent) WHERE id = ?4",
                     "ttit", states[state], message, cm_reg_now_ms(), id);
}

cm_err cm_reg_task_report(struct cm_registry *r, const char *id, bool good, cm_reg_on_line *on_line,
                          void *arg, struct cm_svc_error *no)
{
    sqlite3_stmt *stmt = NULL;
    bool got = true;

    cm_err rc = cm_reg_first(r, &stmt, &got, no,
                             "SELECT line FROM task_line WHERE task = ?1 AND good = ?2 ORDER BY seq", "ti",
                             id, (int64_t) good);
    while (rc == CM_OK && got) {
        rc = on_line(arg, (const char *) sqlite3_column_text(stmt, 0));
        if (rc == CM_OK)
            rc = cm_reg_step(r, stmt, &got, no);
    }
    (void) sqlite3_finalize(stmt);
    return rc;
}
