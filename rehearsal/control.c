#include "rehearsal/control.h"

#include "engine/when.h"
#include "rehearsal/operation.h"
#include "rehearsal/tasks.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

enum { HEADERS_ROOM = 32768, CONNECTIONS = 256, IDLE_S = 10, REQUEST_S = 30 };

struct cm_control {
    struct MHD_Daemon *daemon;
    struct cm_operations all;
    char *access_key, *secret_key, *data_endpoint;
    uint16_t port;
    char url[40];
    void (*on_failure)(void *arg, const char *line);
    void *arg;
};

/* One request while it comes in. */
struct incoming {
    char *uri; /* as it came, with its query */
    uint8_t *body;
    size_t len, room;
    cm_when begun;
    bool headers_seen, too_large;
};

static void *on_uri(void *arg, const char *uri, struct MHD_Connection *connection)
{
    struct incoming *const in = calloc(1, sizeof *in);

    (void) arg;
    (void) connection;
    if (in == NULL)
        return NULL;
    in->begun = cm_when_now();
    in->uri = strdup(uri);
    return in;
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode why)
{
    struct incoming *const in = *con_cls;

    (void) arg;
    (void) connection;
    (void) why;
    if (in != NULL) {
        free(in->uri);
        free(in->body);
        free(in);
    }
    *con_cls = NULL;
}

/* What is more than a request may have is read and dropped, so that its sender gets to see the answer. */
static bool keep(struct incoming *in, const char *data, size_t len)
{
    if (in->too_large || len > CM_OP_BODY_MAX - in->len) {
        in->too_large = true;
        return true;
    }
    if (in->len + len > in->room) {
        const size_t room = 2 * (in->len + len);
        uint8_t *const body = realloc(in->body, room);
        if (body == NULL)
            return false;
        in->body = body;
        in->room = room;
    }
    memcpy(in->body + in->len, data, len);
    in->len += len;
    return true;
}

struct headers {
    struct cm_sigv4_header item[CM_SIGV4_HEADERS];
    size_t count;
    bool too_many;
};

static enum MHD_Result on_header(void *arg, enum MHD_ValueKind kind, const char *key, const char *value)
{
    struct headers *const h = arg;

    (void) kind;
    if (h->count == CM_COUNT(h->item)) {
        h->too_many = true;
        return MHD_NO;
    }
    h->item[h->count++] = (struct cm_sigv4_header) { .name = key, .value = value != NULL ? value : "" };
    return MHD_YES;
}

static enum MHD_Result send_answer(struct MHD_Connection *connection, struct cm_op_answer *a)
{
    struct MHD_Response *const response =
        MHD_create_response_from_buffer(a->len, a->body, MHD_RESPMEM_MUST_FREE);
    char id[37] = "";
    struct cm_svc_error no = { 0 };
    enum MHD_Result sent = MHD_NO;

    if (response == NULL) {
        free(a->body);
        return MHD_NO;
    }
    if (MHD_add_response_header(response, "Content-Type", a->is_json ? "application/json" : "text/plain") ==
            MHD_YES &&
        (a->error == NULL || MHD_add_response_header(response, "x-amzn-ErrorType", a->error) == MHD_YES) &&
        cm_reg_uuid(id, &no) == CM_OK && MHD_add_response_header(response, "x-amzn-RequestId", id) == MHD_YES)
        sent = MHD_queue_response(connection, a->status, response);
    MHD_destroy_response(response);
    return sent;
}

static cm_err refuse(enum cm_svc kind, const char *message, struct cm_op_answer *a, struct cm_error *err)
{
    *a = (struct cm_op_answer) { .status = cm_svc_status(kind), .error = cm_svc_name(kind), .is_json = true };
    const int n = asprintf(&a->body, "{\"message\":\"%s\"}", message);
    if (n < 0) {
        a->body = NULL;
        CM_FAIL(err, CM_E_NOMEM, "out of memory for an answer");
    }
    a->len = (size_t) n;
    return CM_OK;
}

static cm_err answer(struct cm_control *c, struct MHD_Connection *connection, const char *method,
                     struct incoming *in, struct cm_op_answer *a, struct cm_error *err)
{
    struct headers headers = { .count = 0 };
    char *const query = strchr(in->uri, '?');

    (void) MHD_get_connection_values(connection, MHD_HEADER_KIND, on_header, &headers);
    if (in->too_large)
        return refuse(CM_SVC_TOO_LARGE, "The request's body is too large", a, err);
    if (headers.too_many)
        return refuse(CM_SVC_INVALID, "The request has too many headers", a, err);
    if (query != NULL)
        *query = '\0';
    const struct cm_sigv4_request raw = { .method = method,
                                          .path = in->uri,
                                          .query = query != NULL ? query + 1 : NULL,
                                          .header = headers.item,
                                          .headers = headers.count,
                                          .body = cm_span(in->body, in->len) };
    CM_TRY(cm_operations_answer(&c->all, &raw, cm_when_now(), a, err));
    if (a->failed != CM_OK)
        CM_FAIL(err, a->failed, "%s %s: %s", method, in->uri, a->why.what);
    return CM_OK;
}

/* MHD_NO closes the connection. */
static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data, size_t *len,
                                  void **con_cls)
{
    struct cm_control *const c = arg;
    struct incoming *const in = *con_cls;
    struct cm_op_answer a = { 0 };
    struct cm_error err = { 0 };

    (void) url;
    (void) version;
    if (in == NULL || in->uri == NULL || cm_when_now() > in->begun + REQUEST_S)
        return MHD_NO;
    if (!in->headers_seen) { /* the first call has nothing of the body */
        in->headers_seen = true;
        return MHD_YES;
    }
    if (*len > 0) {
        const bool kept = keep(in, data, *len);
        *len = 0;
        return kept ? MHD_YES : MHD_NO;
    }
    if (answer(c, connection, method, in, &a, &err) != CM_OK && c->on_failure != NULL)
        c->on_failure(c->arg, err.what);
    return a.body != NULL ? send_answer(connection, &a) : MHD_NO;
}

/* ---- Starting and stopping */

static cm_err start_daemon(struct cm_control *c, uint16_t port, struct cm_error *err)
{
    const struct sockaddr_in here = { .sin_family = AF_INET,
                                      .sin_port = htons(port),
                                      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

    errno = 0;
    c->daemon =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, port, NULL, NULL, on_request, c, MHD_OPTION_SOCK_ADDR,
                         &here, MHD_OPTION_URI_LOG_CALLBACK, on_uri, NULL, MHD_OPTION_NOTIFY_COMPLETED,
                         on_completed, NULL, MHD_OPTION_CONNECTION_LIMIT, (unsigned) CONNECTIONS,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned) IDLE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                         (size_t) HEADERS_ROOM, MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_END);
    if (c->daemon == NULL)
        CM_FAIL(err, CM_E_IO, "can't listen on 127.0.0.1, port %u", port);
    const union MHD_DaemonInfo *const info = MHD_get_daemon_info(c->daemon, MHD_DAEMON_INFO_BIND_PORT);
    if (info == NULL)
        CM_FAIL(err, CM_E_IO, "can't find out the port of the control plane");
    c->port = info->port;
    (void) snprintf(c->url, sizeof c->url, "http://127.0.0.1:%u", c->port);
    return CM_OK;
}

static cm_err copy_conf(struct cm_control *c, const struct cm_control_conf *conf, struct cm_error *err)
{
    struct cm_writer w = cm_writer(c->all.token, sizeof c->all.token - 1);
    uint8_t random[(CM_OP_TOKEN - 1) / 2];

    c->on_failure = conf->on_failure;
    c->arg = conf->arg;
    c->access_key = strdup(conf->access_key);
    c->secret_key = strdup(conf->secret_key);
    c->data_endpoint = strdup(conf->data_endpoint != NULL ? conf->data_endpoint : "127.0.0.1");
    if (c->access_key == NULL || c->secret_key == NULL || c->data_endpoint == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the control plane");
    if (RAND_bytes(random, sizeof random) != 1)
        CM_FAIL(err, CM_E_CRYPTO, "no random octets for the links to reports");
    cm_put_hex(&w, random, sizeof random);
    return CM_OK;
}

/* The API model and the endpoints of AWS's own programs differ in what the service is called. */
static const char *const services[] = { "iot", "execute-api", NULL };

static cm_err start(struct cm_control *c, const struct cm_control_conf *conf, struct cm_error *err)
{
    CM_TRY(copy_conf(c, conf, err));
    CM_TRY(cm_registry_open(conf->registry_path, &conf->registry, &c->all.registry, err));
    if (conf->buckets_dir != NULL)
        CM_TRY(cm_tasks_open(conf->registry_path, conf->buckets_dir, &c->all.tasks, err));
    if (conf->limits_aws)
        CM_TRY(cm_limits_new(&c->all.limits, err));
    c->all.keys = (struct cm_sigv4_keys) { .access_key = c->access_key,
                                           .secret_key = c->secret_key,
                                           .region = cm_registry_region(c->all.registry),
                                           .services = services };
    c->all.data_endpoint = c->data_endpoint;
    c->all.own_url = c->url;
    return start_daemon(c, conf->port, err);
}

cm_err cm_control_start(const struct cm_control_conf *conf, struct cm_control **out, struct cm_error *err)
{
    struct cm_control *const c = calloc(1, sizeof *c);

    if (c == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the control plane");
    const cm_err rc = start(c, conf, err);
    if (rc != CM_OK)
        cm_control_stop(c);
    else
        *out = c;
    return rc;
}

uint16_t cm_control_port(const struct cm_control *c)
{
    return c->port;
}

const char *cm_control_url(const struct cm_control *c)
{
    return c->url;
}

const char *cm_control_account(const struct cm_control *c)
{
    return cm_registry_account(c->all.registry);
}

const char *cm_control_region(const struct cm_control *c)
{
    return cm_registry_region(c->all.registry);
}

void cm_control_stop(struct cm_control *c)
{
    if (c == NULL)
        return;
    if (c->daemon != NULL)
        MHD_stop_daemon(c->daemon);
    cm_tasks_close(c->all.tasks);
    cm_limits_free(c->all.limits);
    cm_registry_close(c->all.registry);
    free(c->access_key);
    free(c->secret_key);
    free(c->data_endpoint);
    free(c);
}
