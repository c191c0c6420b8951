#include "rehearsal/caller.h"

#include "engine/ident.h"
#include "io/jsonread.h"
#include "io/jsontext.h"
#include "rehearsal/operation.h"

#include <stdlib.h>

enum { PATH_ROOM = 512 };

/* Within this process: the operations themselves, past HTTP and signature. */
struct cm_caller {
    struct cm_operations service;
};

cm_err cm_caller_open(const struct cm_stand_address *at, struct cm_caller **out, struct cm_error *err)
{
    struct cm_caller *c = calloc(1, sizeof *c);

    if (c == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for calls to the stand-in for AWS IoT");
    const cm_err rc = cm_registry_open(at->registry, NULL, &c->service.registry, err);
    if (rc != CM_OK)
        cm_caller_close(c);
    else
        *out = c;
    return rc;
}

void cm_caller_close(struct cm_caller *c)
{
    if (c == NULL)
        return;
    cm_registry_close(c->service.registry);
    free(c);
}

static cm_err judge(const struct cm_call *call, const char *path, const struct cm_op_answer *a, json_t **out,
                    struct cm_error *err)
{
    const bool exists = a->error != NULL && strcmp(a->error, cm_svc_name(CM_SVC_EXISTS)) == 0;

    if (call->exists != NULL)
        *call->exists = exists;
    if (exists && call->exists != NULL)
        return CM_OK;
    if (a->error != NULL)
        CM_FAIL(err, CM_E_INPUT, "%s %.200s: %s: %.200s", call->method, path, a->error,
                a->failed != CM_OK ? a->why.what : a->body);
    return out != NULL ? cm_json_read(cm_span(a->body, a->len), out, NULL, err) : CM_OK;
}

static cm_err ask(struct cm_caller *c, const struct cm_call *call, const char *body, json_t **out,
                  struct cm_error *err)
{
    const struct cm_sigv4_header header = { "x-amzn-principal", call->principal };
    char path[PATH_ROOM];
    struct cm_writer w = cm_writer(path, sizeof path - 1);
    struct cm_op_answer a = { 0 };

    cm_put_str(&w, call->front);
    cm_put_id_name(&w, cm_span_str(call->name));
    cm_put_str(&w, call->back);
    CM_ASSERT(cm_writer_ok(&w));
    path[w.len] = '\0';
    const struct cm_sigv4_request request = { .method = call->method,
                                              .path = path,
                                              .query = call->query,
                                              .header = &header,
                                              .headers = call->principal != NULL,
                                              .body = cm_span(body, body != NULL ? strlen(body) : 0) };
    CM_TRY(cm_operations_accepted(&c->service, &request, &a, err));
    const cm_err rc = judge(call, path, &a, out, err);
    free(a.body);
    return rc;
}

cm_err cm_caller_do(struct cm_caller *c, const struct cm_call *call, json_t **out, struct cm_error *err)
{
    char *body = NULL;

    if (call->body != NULL && (body = cm_json_text(call->body, JSON_COMPACT, NULL)) == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for a call to the stand-in for AWS IoT");
    const cm_err rc = ask(c, call, body, out, err);
    free(body);
    return rc;
}
