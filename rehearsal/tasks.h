#ifndef CM_REHEARSAL_TASKS_H
#define CM_REHEARSAL_TASKS_H

#include "rehearsal/registry.h"

/* tasks.h - bulk registration: a thread that reads a file of parameters, a line of JSON for each device, and
 * carries out the task's template with each.
 *
 * A bucket is a directory of that name in the directory of buckets, a key a file below it; symbolic links and
 * ".." lead nowhere. Each line is a transaction, and its result a line of one of the task's two reports. A
 * task that a process left unfinished is Failed when the next one opens.
 *
 *  Threads   open, start and close: one thread's. The worker has a connection of its own to the registry.
 */
struct cm_tasks;

CM_MUST_CHECK cm_err cm_tasks_open(const char *registry_path, const char *buckets_dir, struct cm_tasks **out,
                                   struct cm_error *err);
/* Stops a running task between two lines. NULL accepted. */
void cm_tasks_close(struct cm_tasks *t);

/* task: bucket, key, role_arn and template_body are given, id comes back. CM_SVC_INVALID: there is no such
 * file, or the template is wrong. */
CM_MUST_CHECK cm_err cm_tasks_start(struct cm_tasks *t, struct cm_registry *r, struct cm_reg_task *task,
                                    struct cm_svc_error *no);

#endif
