#include "rehearsal/operation.h"

#include "io/jsontext.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

const char *cm_op_query(const struct cm_op_request *q, const char *name)
{
    for (size_t i = 0; i < q->queries; i++)
        if (strcmp(q->query[i].name, name) == 0)
            return q->query[i].value;
    return NULL;
}

const char *cm_op_header(const struct cm_op_request *q, const char *name)
{
    for (size_t i = 0; i < q->raw->headers; i++)
        if (strcasecmp(q->raw->header[i].name, name) == 0)
            return q->raw->header[i].value;
    return NULL;
}

cm_err cm_op_query_flag(const struct cm_op_request *q, const char *name, bool *out, struct cm_svc_error *no)
{
    const char *const text = cm_op_query(q, name);

    if (text != NULL && strcasecmp(text, "true") != 0 && strcasecmp(text, "false") != 0)
        CM_REFUSE(no, CM_SVC_INVALID, "%s must be true or false", name);
    *out = text != NULL && strcasecmp(text, "true") == 0;
    return CM_OK;
}

cm_err cm_op_text(const struct cm_op_request *q, const char *name, size_t max, const char **out,
                  struct cm_svc_error *no)
{
    const json_t *const value = json_object_get(q->body, name);

    *out = NULL;
    if (value == NULL || json_is_null(value))
        return CM_OK;
    if (!json_is_string(value) || strlen(json_string_value(value)) != json_string_length(value))
        CM_REFUSE(no, CM_SVC_INVALID, "%s must be a string", name);
    if (json_string_length(value) > max)
        CM_REFUSE(no, CM_SVC_INVALID, "%s has more than %zu characters", name, max);
    *out = json_string_value(value);
    return CM_OK;
}

cm_err cm_op_needed(const struct cm_op_request *q, const char *name, size_t max, const char **out,
                    struct cm_svc_error *no)
{
    CM_TRY(cm_op_text(q, name, max, out, no));
    if (*out == NULL || (*out)[0] == '\0')
        CM_REFUSE(no, CM_SVC_INVALID, "%s is missing", name);
    return CM_OK;
}

cm_err cm_op_id(const char *text, char out[CM_REG_ID], struct cm_svc_error *no)
{
    if (strlen(text) != CM_REG_ID - 1 || strspn(text, "0123456789abcdefABCDEF") != CM_REG_ID - 1)
        CM_REFUSE(no, CM_SVC_INVALID, "%.80s is no certificate id: 64 hexadecimal digits", text);
    for (size_t i = 0; i < CM_REG_ID; i++)
        out[i] = (char) tolower((unsigned char) text[i]);
    return CM_OK;
}

cm_err cm_op_give(json_t *made, json_t **out, struct cm_svc_error *no)
{
    if (made == NULL)
        CM_FAIL(&no->base, CM_E_NOMEM, "out of memory for an answer");
    *out = made;
    return CM_OK;
}

json_t *cm_op_time(int64_t ms)
{
    return json_real((double) ms / 1000.0);
}

/* ---- Lists */

enum { PAGE_ROWS = 25, MARKER_MAX = 24 };

struct page {
    const struct cm_op_request *q;
    cm_op_render *render;
    json_t *items;
    struct cm_svc_error *no;
};

static cm_err on_item(void *arg, const struct cm_reg_item *item)
{
    struct page *const p = arg;

    if (json_array_append_new(p->items, p->render(p->q, item)) != 0)
        CM_FAIL(&p->no->base, CM_E_NOMEM, "out of memory for a list");
    return CM_OK;
}

static cm_err read_number(const char *name, const char *text, int64_t max, int64_t *out,
                          struct cm_svc_error *no)
{
    char *end = NULL;

    if (text == NULL)
        return CM_OK;
    const long long n = strtoll(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || strlen(text) > 18 || n < 1 || n > max)
        CM_REFUSE(no, CM_SVC_INVALID, "%s %.40s is not one that can be", name, text);
    *out = n;
    return CM_OK;
}

static cm_err read_page(const struct cm_op_request *q, enum cm_op_paging paging, struct cm_reg_page *page,
                        struct cm_svc_error *no)
{
    const char *const size = paging == CM_OP_MARKER ? "pageSize" : "maxResults";
    const char *const from = paging == CM_OP_MARKER ? "marker" : "nextToken";
    bool ascending = false;
    int64_t rows = PAGE_ROWS;

    CM_TRY(read_number(size, cm_op_query(q, size), CM_REG_PAGE_MAX, &rows, no));
    CM_TRY(read_number(from, cm_op_query(q, from), INT64_MAX, &page->after, no));
    CM_TRY(cm_op_query_flag(q, "isAscendingOrder", &ascending, no));
    page->rows = (unsigned) rows;
    page->descending = cm_op_query(q, "isAscendingOrder") != NULL && !ascending;
    return CM_OK;
}

cm_err cm_op_list(struct cm_op_request *q, enum cm_reg_list list, const char *of, enum cm_op_paging paging,
                  const char *member, cm_op_render *render, json_t **out, struct cm_svc_error *no)
{
    struct cm_reg_page page = { .of = of };
    struct page p = { .q = q, .render = render, .no = no };
    json_t *answer = NULL;
    char marker[MARKER_MAX];
    int64_t next = 0;

    CM_TRY(read_page(q, paging, &page, no));
    p.items = json_array();
    answer = json_object();
    cm_err rc = cm_reg_list(q->registry, list, &page, on_item, &p, &next, no);
    int bad = json_object_set_new(answer, member, p.items);
    if (rc == CM_OK && next != 0) {
        (void) snprintf(marker, sizeof marker, "%lld", (long long) next);
        bad |= json_object_set_new(answer, paging == CM_OP_MARKER ? "nextMarker" : "nextToken",
                                   json_string(marker));
    }
    if (rc == CM_OK && bad != 0)
        rc = cm_fail(&no->base, CM_E_NOMEM, CM_HERE, "out of memory for a list");
    if (rc != CM_OK)
        json_decref(answer);
    else
        *out = answer;
    return rc;
}

json_t *cm_op_render_name(const struct cm_op_request *q, const struct cm_reg_item *item)
{
    (void) q;
    return json_string(item->name);
}
