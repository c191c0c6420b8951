#include "rehearsal/rehearsal.h"

#include "aws/kit.h"
#include "io/file.h"
#include "rehearsal/broker.h"
#include "rehearsal/enroll.h"

#include <limits.h>
#include <time.h>
#include <unistd.h>

enum { RESTARTS_MAX = 3 };

static const char policy_name[] = "certmill-device";
struct stage {
    const struct cm_rehearsal_conf *conf;
    struct cm_rehearsal_report *report;
    char dir[PATH_MAX], registry_path[PATH_MAX], plugin[PATH_MAX];
    struct cm_registry *registry; /* this thread's */
    struct cm_registry *rule;     /* the worker's */
    struct cm_ownca *own;
    struct cm_allow *allow;
    struct cm_broker_conf broker_conf;
    struct cm_broker *broker;
    struct cm_activator *activator;
};

static uint64_t now_ms(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
}

static cm_err make_dir(struct stage *s, struct cm_error *err)
{
    const char *tmp = getenv("TMPDIR");

    (void) snprintf(s->dir, sizeof s->dir, "%.3000s/certmill-rehearsal.XXXXXX",
                    tmp != NULL && tmp[0] == '/' ? tmp : "/tmp");
    if (mkdtemp(s->dir) == NULL) {
        s->dir[0] = '\0';
        CM_FAIL(err, CM_E_IO, "can't make a directory for the rehearsal in %.200s (TMPDIR)",
                tmp != NULL && tmp[0] == '/' ? tmp : "/tmp");
    }
    (void) snprintf(s->registry_path, sizeof s->registry_path, "%.3500s/registry", s->dir);
    return CM_OK;
}

static cm_err remove_dir(const struct stage *s, struct cm_error *err)
{
    const char *name = strrchr(s->dir, '/');
    char parent[PATH_MAX];
    int fd = -1, top = -1;

    if (s->dir[0] == '\0')
        return CM_OK;
    (void) snprintf(parent, sizeof parent, "%.*s", (int) (name - s->dir), s->dir);
    cm_err rc = cm_dir_open(s->dir, &fd, err);
    if (rc == CM_OK)
        rc = cm_dir_discard(fd, s->dir, "capath", false, err);
    cm_fd_close(&fd);
    if (rc == CM_OK)
        rc = cm_dir_open(parent, &top, err);
    if (rc == CM_OK)
        rc = cm_dir_discard(top, parent, name + 1, false, err);
    cm_fd_close(&top);
    return rc;
}

/* A failure of the service here is one of the rehearsal: the words of both. */
static cm_err told(cm_err rc, const struct cm_svc_error *no, const char *what, struct cm_error *err)
{
    if (rc == CM_OK)
        return CM_OK;
    if (rc == CM_E_INPUT)
        CM_FAIL(err, CM_E_INPUT, "%s: %s: %.300s", what, cm_svc_name(no->kind), no->base.what);
    if (err != NULL)
        *err = no->base;
    return rc;
}

/* The kit's own: what is rehearsed is what will be used. */
static cm_err make_policy(struct stage *s, struct cm_error *err)
{
    const struct cm_aws_kit kit = { .account = cm_registry_account(s->registry),
                                    .region = cm_registry_region(s->registry),
                                    .partition = "aws" };
    struct cm_svc_error no = { 0 };
    char text[4096];
    struct cm_writer w = cm_writer(text, sizeof text - 1);

    CM_TRY(cm_aws_kit_text(&kit, "device-policy.json", &w, err));
    text[w.len] = '\0';
    const cm_err rc = cm_reg_policy_add(s->registry, policy_name, text, &no);
    return told(rc, &no, "create-policy", err);
}

static cm_err register_ca(struct stage *s, struct cm_error *err)
{
    const struct cm_span pem = cm_fleet_ca_pem(s->conf->fleet);
    struct cm_svc_error no = { 0 };
    char *text = strndup((const char *) pem.data, pem.len);

    if (text == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the CA");
    const struct cm_enroll_ca ca = {
        .pem = text, .sni_only = true, .active = true, .auto_registration = true
    };
    const cm_err rc = cm_enroll_ca(s->registry, &ca, s->report->ca_id, &no);
    free(text);
    return told(rc, &no, "register-ca-certificate", err);
}

/* attach-policy, update-certificate --new-status ACTIVE. */
static cm_err activate(void *arg, const char *certificate_id, struct cm_error *err)
{
    struct stage *s = arg;
    struct cm_svc_error no = { 0 };
    char arn[CM_SVC_ARN];

    if (!cm_registry_arn(s->rule, "cert", certificate_id, arn, sizeof arn))
        CM_FAIL(err, CM_E_INPUT, "no ARN for the certificate %.64s", certificate_id);
    CM_TRY(told(cm_reg_policy_attach(s->rule, policy_name, arn, &no), &no, "attach-policy", err));
    return told(cm_reg_cert_set_status(s->rule, certificate_id, CM_REG_ACTIVE, &no), &no,
                "update-certificate", err);
}

static cm_err set_up(struct stage *s, struct cm_error *err)
{
    const struct cm_activator_conf rule = { NULL, activate, s, s->conf->fault_seed };
    struct cm_activator_conf with_list = rule;

    if (realpath(s->conf->plugin, s->plugin) == NULL)
        CM_FAIL(err, CM_E_IO, "can't find the broker's plugin %s", s->conf->plugin);
    CM_TRY(make_dir(s, err));
    CM_TRY(cm_registry_open(s->registry_path, NULL, &s->registry, err));
    CM_TRY(cm_registry_open(s->registry_path, NULL, &s->rule, err));
    CM_TRY(make_policy(s, err));
    CM_TRY(register_ca(s, err));
    CM_TRY(cm_ownca_make(cm_when_now(), &s->own, err));
    CM_TRY(cm_allow_open(s->conf->fleet, &s->allow, err));
    s->broker_conf = (struct cm_broker_conf) {
        .plugin = s->plugin, .dir = s->dir, .registry = s->registry_path, .own = s->own
    };
    CM_TRY(cm_broker_start(&s->broker_conf, &s->broker, err));
    with_list.allow = s->allow;
    CM_TRY(cm_activator_new(&with_list, &s->activator, err));
    return cm_activator_start(s->activator, s->own, cm_broker_port(s->broker), err);
}

static cm_err on_turn(void *arg, size_t done, struct cm_error *err)
{
    struct stage *s = arg;

    if (s->conf->on_progress != NULL)
        s->conf->on_progress(s->conf->arg, done);
    const cm_err rc = cm_broker_check(s->broker, err);
    if (rc == CM_OK || s->report->restarts == RESTARTS_MAX)
        return rc;
    s->report->restarts++;
    s->broker_conf.port = cm_broker_port(s->broker);
    s->broker_conf.again = true;
    struct cm_broker *broker = NULL;
    CM_TRY(cm_broker_start(&s->broker_conf, &broker, err));
    cm_broker_stop(s->broker);
    s->broker = broker;
    return CM_OK;
}

static cm_err connect_all(struct stage *s, struct cm_error *err)
{
    const struct cm_devices_conf devices = { .fleet = s->conf->fleet,
                                             .own = s->own,
                                             .port = cm_broker_port(s->broker),
                                             .threads = s->conf->threads,
                                             .timeout_ms = s->conf->timeout_ms,
                                             .stop = s->conf->stop,
                                             .on_turn = on_turn,
                                             .arg = s };

    CM_TRY(cm_devices_gather(s->conf->fleet, s->conf->devices, &s->report->devices, err));
    if (s->conf->on_begin != NULL)
        s->conf->on_begin(s->conf->arg, s->report->devices.count);
    return cm_devices_run(&devices, &s->report->devices, err);
}

/* ---- The report */

static cm_err count_certificate(void *arg, const struct cm_reg_item *item)
{
    struct cm_rehearsal_report *r = arg;

    r->registered++;
    r->activated += strcmp(item->status, cm_reg_status_name(CM_REG_ACTIVE)) == 0;
    return CM_OK;
}

static cm_err list_certificates(struct stage *s, struct cm_error *err)
{
    struct cm_reg_page page = { .of = s->report->ca_id, .rows = CM_REG_PAGE_MAX };
    struct cm_svc_error no = { 0 };

    do {
        int64_t next = 0;
        CM_TRY(told(cm_reg_list(s->registry, CM_REG_LIST_CERTS_BY_CA, &page, count_certificate, s->report,
                                &next, &no),
                    &no, "list-certificates-by-ca", err));
        page.after = next;
    } while (page.after != 0);
    return CM_OK;
}

static int by_time(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static cm_err sum_up(struct cm_rehearsal_report *r, struct cm_error *err)
{
    uint32_t *ms = calloc(r->devices.count + 1, sizeof *ms);

    if (ms == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the report");
    for (size_t i = 0; i < r->devices.count; i++) {
        const struct cm_device *d = &r->devices.item[i];
        ms[i] = d->done_ms;
        r->connected += d->connected;
        r->published += d->published;
        r->refused += !d->connected;
        r->closed += d->closed;
    }
    if (r->devices.count > 0) {
        qsort(ms, r->devices.count, sizeof *ms, by_time);
        r->median_ms = ms[r->devices.count / 2];
        r->most_ms = ms[r->devices.count - 1];
    }
    free(ms);
    return CM_OK;
}

static cm_err rehearse(struct stage *s, struct cm_error *err)
{
    const uint64_t start = now_ms();

    CM_TRY(set_up(s, err));
    CM_TRY(connect_all(s, err));
    s->report->total_ms = now_ms() - start;
    cm_activator_counts(s->activator, &s->report->rule);
    CM_TRY(list_certificates(s, err));
    return sum_up(s->report, err);
}

cm_err cm_rehearsal_run(const struct cm_rehearsal_conf *conf, struct cm_rehearsal_report *out,
                        struct cm_error *err)
{
    struct cm_rehearsal_report report = { 0 };
    struct stage s = { .conf = conf, .report = &report };
    cm_err rc = rehearse(&s, err);

    cm_activator_free(s.activator);
    cm_broker_stop(s.broker);
    cm_allow_close(s.allow);
    cm_ownca_free(s.own);
    cm_registry_close(s.rule);
    cm_registry_close(s.registry);
    const cm_err removed = remove_dir(&s, rc == CM_OK ? err : NULL);
    rc = rc == CM_OK ? removed : rc;
    if (rc != CM_OK)
        cm_rehearsal_done(&report);
    else
        *out = report;
    return rc;
}

void cm_rehearsal_done(struct cm_rehearsal_report *report)
{
    cm_devices_free(&report->devices);
}
