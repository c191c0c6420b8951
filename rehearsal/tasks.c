#include "rehearsal/tasks.h"

#include "io/awslimits.h"
#include "io/file.h"
#include "io/jsonread.h"
#include "io/jsontext.h"
#include "rehearsal/template.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct cm_tasks {
    char *registry_path, *buckets_dir;
    pthread_t worker;
    bool started;
    atomic_bool stop, busy;
    /* of the task that runs; the worker's once it has begun */
    char id[37];
    struct cm_template *template;
    FILE *input;
    int64_t size;
};

static cm_err no_memory(struct cm_error *err)
{
    CM_FAIL(err, CM_E_NOMEM, "out of memory for bulk registration");
}

static cm_err fail_unfinished(struct cm_registry *r, struct cm_svc_error *no);

cm_err cm_tasks_open(const char *registry_path, const char *buckets_dir, struct cm_tasks **out,
                     struct cm_error *err)
{
    struct cm_tasks *const t = calloc(1, sizeof *t);
    struct cm_registry *r = NULL;
    struct cm_svc_error no = { 0 };

    if (t == NULL)
        return no_memory(err);
    t->registry_path = strdup(registry_path);
    t->buckets_dir = strdup(buckets_dir);
    cm_err rc = t->registry_path != NULL && t->buckets_dir != NULL ? CM_OK : no_memory(err);
    if (rc == CM_OK)
        rc = cm_registry_open(registry_path, NULL, &r, err);
    if (rc == CM_OK && (rc = fail_unfinished(r, &no)) != CM_OK)
        *err = no.base;
    cm_registry_close(r);
    if (rc != CM_OK)
        cm_tasks_close(t);
    else
        *out = t;
    return rc;
}

static void drop_task(struct cm_tasks *t)
{
    cm_template_free(t->template);
    t->template = NULL;
    if (t->input != NULL)
        (void) fclose(t->input);
    t->input = NULL;
}

static void join(struct cm_tasks *t)
{
    if (t->started)
        CM_ASSERT(pthread_join(t->worker, NULL) == 0);
    t->started = false;
}

void cm_tasks_close(struct cm_tasks *t)
{
    if (t == NULL)
        return;
    atomic_store(&t->stop, true);
    join(t);
    drop_task(t);
    free(t->registry_path);
    free(t->buckets_dir);
    free(t);
}

/* ---- What a process before this one left */

struct unfinished {
    char id[CM_REG_PAGE_MAX][37];
    size_t count;
};

static cm_err keep_unfinished(void *arg, const struct cm_reg_item *item)
{
    struct unfinished *const u = arg;

    if (strcmp(item->status, cm_reg_task_state_name(CM_REG_TASK_RUNNING)) == 0 ||
        strcmp(item->status, cm_reg_task_state_name(CM_REG_TASK_CANCELLING)) == 0)
        (void) snprintf(u->id[u->count++], sizeof u->id[0], "%s", item->name);
    return CM_OK;
}

static cm_err fail_unfinished(struct cm_registry *r, struct cm_svc_error *no)
{
    struct cm_reg_page page = { .of = "", .rows = CM_REG_PAGE_MAX };

    do {
        struct unfinished u = { .count = 0 };
        CM_TRY(cm_reg_list(r, CM_REG_LIST_TASKS, &page, keep_unfinished, &u, &page.after, no));
        for (size_t i = 0; i < u.count; i++)
            CM_TRY(cm_reg_task_end(r, u.id[i], CM_REG_TASK_FAILED, "The rehearsal ended before the task did",
                                   no));
    } while (page.after != 0);
    return CM_OK;
}

/* ---- The worker */

static char *report_line(int64_t line, const struct cm_registry *r, const struct cm_template_done *done,
                         const char *pem, const struct cm_svc_error *no)
{
    char thing[CM_SVC_ARN], cert[CM_SVC_ARN], policy[CM_SVC_ARN];
    json_t *made = NULL;

    if (no != NULL) {
        made = json_pack("{s:I, s:s, s:s}", "lineNumber", (json_int_t) line, "errorCode",
                         cm_svc_name(no->kind), "errorMessage", no->base.what);
    } else {
        CM_ASSERT(cm_registry_arn(r, "thing", done->thing, thing, sizeof thing));
        CM_ASSERT(cm_registry_arn(r, "cert", done->certificate_id, cert, sizeof cert));
        CM_ASSERT(cm_registry_arn(r, "policy", done->policy, policy, sizeof policy));
        made = json_pack("{s:I, s:{s:s*, s:{s:s, s:s*, s:s*}}}", "lineNumber", (json_int_t) line, "response",
                         "CertificatePem", pem, "ResourceArns", "certificate", cert, "thing",
                         done->thing[0] != '\0' ? thing : NULL, "policy",
                         done->policy[0] != '\0' ? policy : NULL);
    }
    char *const text = made != NULL ? cm_json_text(made, JSON_COMPACT, NULL) : NULL;
    json_decref(made);
    return text;
}

/* What is wrong with a line is the line's: it is reported, and the task goes on. */
static cm_err provision(struct cm_tasks *t, struct cm_registry *r, const char *line, size_t len,
                        struct cm_template_done *done, struct cm_svc_error *no)
{
    json_t *parameters = NULL;

    if (len > CM_AWS_LINE_MAX)
        CM_REFUSE(no, CM_SVC_INVALID, "The line has %zu octets, more than %d", len, CM_AWS_LINE_MAX);
    CM_TRY(cm_json_read(cm_span(line, len), &parameters, NULL, &no->base));
    const char *key;
    json_t *value;
    cm_err rc = json_is_object(parameters)
                    ? CM_OK
                    : cm_svc_fail(no, CM_SVC_INVALID, CM_HERE, "The line is no JSON object");
    json_object_foreach(parameters, key, value)
    {
        if (rc == CM_OK && (!json_is_string(value) || json_string_length(value) > CM_AWS_VALUE_MAX))
            rc = cm_svc_fail(no, CM_SVC_INVALID, CM_HERE, "%.80s is no string of at most %d characters", key,
                             CM_AWS_VALUE_MAX);
    }
    if (rc == CM_OK)
        rc = cm_template_provision(r, t->template, parameters, done, no);
    json_decref(parameters);
    return rc;
}

static cm_err do_line(struct cm_tasks *t, struct cm_registry *r, int64_t number, const char *line, size_t len,
                      bool *cancelled, struct cm_svc_error *no)
{
    struct cm_template_done done = { 0 };
    struct cm_svc_error line_no = { 0 };
    struct cm_reg_cert cert = { 0 };
    const int64_t percent = t->size > 0 ? (int64_t) ftello(t->input) * 100 / t->size : 0;

    cm_err rc = provision(t, r, line, len, &done, &line_no);
    if (rc != CM_OK && rc != CM_E_INPUT) {
        no->base = line_no.base;
        return rc;
    }
    const bool good = rc == CM_OK;
    if (good)
        CM_TRY(cm_reg_cert_find(r, done.certificate_id, &cert, no));
    char *const report = report_line(number, r, &done, cert.pem, good ? NULL : &line_no);
    cm_reg_cert_done(&cert);
    if (report == NULL)
        return no_memory(&no->base);
    rc = cm_reg_task_line(r, t->id, good, report, percent < 100 ? percent : 99, cancelled, no);
    free(report);
    return rc;
}

static cm_err do_lines(struct cm_tasks *t, struct cm_registry *r, bool *cancelled, struct cm_svc_error *no)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len = 0;
    cm_err rc = CM_OK;

    for (int64_t number = 1; rc == CM_OK && !*cancelled && !atomic_load(&t->stop); number++) {
        len = getline(&line, &room, t->input);
        if (len < 0)
            break;
        if (len > 0 && line[len - 1] == '\n')
            len--;
        if (len > 0)
            rc = do_line(t, r, number, line, (size_t) len, cancelled, no);
    }
    free(line);
    if (rc == CM_OK && ferror(t->input))
        rc = cm_fail(&no->base, CM_E_IO, CM_HERE, "can't read the input file");
    return rc;
}

static void *work(void *arg)
{
    struct cm_tasks *const t = arg;
    struct cm_registry *r = NULL;
    struct cm_svc_error no = { 0 };
    bool cancelled = false;

    cm_err rc = cm_registry_open(t->registry_path, NULL, &r, &no.base);
    if (rc == CM_OK)
        rc = do_lines(t, r, &cancelled, &no);
    enum cm_reg_task_state state = rc != CM_OK ? CM_REG_TASK_FAILED
                                   : cancelled ? CM_REG_TASK_CANCELLED
                                               : CM_REG_TASK_COMPLETED;
    if (rc == CM_OK && atomic_load(&t->stop))
        state = CM_REG_TASK_FAILED;
    /* Where even that can't be written, the next process says that the task is Failed. */
    if (r != NULL)
        (void) !cm_reg_task_end(r, t->id, state, rc != CM_OK ? no.base.what : NULL, &no);
    cm_registry_close(r);
    atomic_store(&t->busy, false);
    return NULL;
}

/* ---- Starting */

static cm_err open_input(struct cm_tasks *t, const struct cm_reg_task *task, FILE **out, int64_t *size,
                         struct cm_svc_error *no)
{
    const struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
                                  .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
    char name[512];
    struct stat st;
    int dir = -1, fd = -1;

    const int n = snprintf(name, sizeof name, "%s/%s", task->bucket, task->key);
    if (n < 0 || (size_t) n >= sizeof name)
        CM_REFUSE(no, CM_SVC_INVALID, "inputFileBucket and inputFileKey are too long for a file here");
    CM_TRY(cm_dir_open(t->buckets_dir, &dir, &no->base));
    fd = (int) syscall(SYS_openat2, dir, name, &how, sizeof how);
    cm_fd_close(&dir);
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        cm_fd_close(&fd);
        CM_REFUSE(no, CM_SVC_INVALID, "Input file can not be read: there is no file %.300s below %.100s",
                  name, t->buckets_dir);
    }
    *out = fdopen(fd, "r");
    if (*out == NULL) {
        cm_fd_close(&fd);
        return no_memory(&no->base);
    }
    *size = (int64_t) st.st_size;
    return CM_OK;
}

static cm_err prepare(struct cm_tasks *t, struct cm_registry *r, struct cm_reg_task *task,
                      struct cm_svc_error *no)
{
    CM_TRY(cm_template_parse(cm_span_str(task->template_body), &t->template, no));
    CM_TRY(open_input(t, task, &t->input, &t->size, no));
    CM_TRY(cm_reg_task_add(r, task, no));
    (void) snprintf(t->id, sizeof t->id, "%s", task->id);
    atomic_store(&t->busy, true);
    if (pthread_create(&t->worker, NULL, work, t) != 0) {
        atomic_store(&t->busy, false);
        CM_TRY(cm_reg_task_end(r, task->id, CM_REG_TASK_FAILED, "no thread for it", no));
        CM_FAIL(&no->base, CM_E_LIMIT, "can't start a thread for bulk registration");
    }
    t->started = true;
    return CM_OK;
}

cm_err cm_tasks_start(struct cm_tasks *t, struct cm_registry *r, struct cm_reg_task *task,
                      struct cm_svc_error *no)
{
    if (atomic_load(&t->busy))
        CM_REFUSE(no, CM_SVC_LIMIT,
                  "An account can have one running thing registration task; wait for it, or stop it");
    join(t);
    drop_task(t);
    const cm_err rc = prepare(t, r, task, no);
    if (rc != CM_OK)
        drop_task(t);
    return rc;
}
