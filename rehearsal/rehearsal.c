#include "rehearsal/rehearsal.h"

#include "aws/kit.h"
#include "rehearsal/enroll.h"

#include <time.h>

enum { RESTARTS_MAX = 3 };

static const char policy_name[] = "certmill-device";

struct cm_rehearsal {
    struct cm_rehearsal_conf conf;
    char ca_id[65];
    struct cm_registry *registry; /* this thread's */
    struct cm_function *function; /* the worker's */
    struct cm_allow *allow;
    struct cm_activator *activator;
    unsigned restarts; /* of the broker */
};

static uint64_t now_ms(void)
{
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000 + (uint64_t) t.tv_nsec / 1000000;
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
static cm_err make_policy(struct cm_rehearsal *s, struct cm_error *err)
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
    if (rc == CM_E_INPUT && no.kind == CM_SVC_EXISTS)
        return CM_OK; /* of an earlier rehearsal in this directory, or somebody's own */
    return told(rc, &no, "create-policy", err);
}

static cm_err register_ca(struct cm_rehearsal *s, struct cm_error *err)
{
    const struct cm_span pem = cm_fleet_ca_pem(s->conf.fleet);
    struct cm_svc_error no = { 0 };
    char *text = strndup((const char *) pem.data, pem.len);

    if (text == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the CA");
    const struct cm_enroll_ca ca = {
        .pem = text, .sni_only = true, .active = true, .auto_registration = true
    };
    cm_err rc = cm_enroll_ca(s->registry, &ca, s->ca_id, &no);
    free(text);
    if (rc != CM_E_INPUT || no.kind != CM_SVC_EXISTS)
        return told(rc, &no, "register-ca-certificate", err);
    (void) snprintf(s->ca_id, sizeof s->ca_id, "%.64s", cm_fleet_run(s->conf.fleet)->ca_certificate_id);
    const struct cm_reg_ca_change on = { .active = CM_REG_ON, .auto_registration = CM_REG_ON };
    rc = cm_reg_ca_update(s->registry, s->ca_id, &on, &no);
    return told(rc, &no, "update-ca-certificate", err);
}

static cm_err handle(void *arg, const char *certificate_id, const char *ca_id, struct cm_function_result *out,
                     struct cm_error *err)
{
    const struct cm_rehearsal *s = arg;

    return cm_function_handle(s->function, certificate_id, ca_id, out, err);
}

static cm_err set_up(struct cm_rehearsal *s, struct cm_error *err)
{
    const struct cm_stand_address *at = cm_stand_address(s->conf.stand);

    CM_TRY(cm_registry_open(at->registry, NULL, &s->registry, err));
    CM_TRY(make_policy(s, err));
    CM_TRY(register_ca(s, err));
    CM_TRY(cm_allow_open(s->conf.fleet, &s->allow, err));
    const struct cm_function_conf function = {
        .registry = at->registry, .allow = s->allow, .ca_id = s->ca_id, .policy = policy_name
    };
    CM_TRY(cm_function_open(&function, &s->function, err));
    const struct cm_activator_conf rule = { .handle = handle, .arg = s, .fault_seed = s->conf.fault_seed };
    CM_TRY(cm_activator_new(&rule, &s->activator, err));
    return cm_activator_start(s->activator, cm_stand_own(s->conf.stand), at->broker_port, err);
}

cm_err cm_rehearsal_open(const struct cm_rehearsal_conf *conf, struct cm_rehearsal **out,
                         struct cm_error *err)
{
    struct cm_rehearsal *s = calloc(1, sizeof *s);

    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the rehearsal");
    s->conf = *conf;
    const cm_err rc = set_up(s, err);
    if (rc != CM_OK)
        cm_rehearsal_close(s);
    else
        *out = s;
    return rc;
}

struct cm_activator *cm_rehearsal_rule(struct cm_rehearsal *s)
{
    return s->activator;
}

void cm_rehearsal_close(struct cm_rehearsal *s)
{
    if (s == NULL)
        return;
    cm_activator_free(s->activator);
    cm_function_close(s->function);
    cm_allow_close(s->allow);
    cm_registry_close(s->registry);
    free(s);
}

static cm_err on_turn(void *arg, size_t done, struct cm_error *err)
{
    struct cm_rehearsal *s = arg;

    if (s->conf.on_progress != NULL)
        s->conf.on_progress(s->conf.arg, done);
    const cm_err rc = cm_stand_check(s->conf.stand, err);
    if (rc == CM_OK || s->restarts == RESTARTS_MAX)
        return rc;
    s->restarts++;
    return cm_stand_replace_broker(s->conf.stand, err);
}

static cm_err connect_all(struct cm_rehearsal *s, struct cm_devices *list, struct cm_error *err)
{
    const struct cm_devices_conf devices = { .fleet = s->conf.fleet,
                                             .own = cm_stand_own(s->conf.stand),
                                             .port = cm_stand_address(s->conf.stand)->broker_port,
                                             .threads = s->conf.threads,
                                             .timeout_ms = s->conf.timeout_ms,
                                             .stop = s->conf.stop,
                                             .on_turn = on_turn,
                                             .arg = s };

    CM_TRY(cm_devices_gather(s->conf.fleet, s->conf.devices, list, err));
    if (s->conf.on_begin != NULL)
        s->conf.on_begin(s->conf.arg, list->count);
    return cm_devices_run(&devices, list, err);
}

/* ---- The report */

struct counting {
    const struct cm_allow *allow;
    struct cm_rehearsal_report *report;
};

static cm_err count_certificate(void *arg, const struct cm_reg_item *item)
{
    const struct counting *c = arg;
    const bool ours = cm_allow_find(c->allow, item->name, NULL);

    c->report->registered += ours;
    c->report->others += !ours;
    c->report->activated += ours && strcmp(item->status, cm_reg_status_name(CM_REG_ACTIVE)) == 0;
    return CM_OK;
}

static cm_err list_certificates(struct cm_rehearsal *s, struct cm_rehearsal_report *report,
                                struct cm_error *err)
{
    struct cm_reg_page page = { .of = s->ca_id, .rows = CM_REG_PAGE_MAX };
    struct counting counting = { s->allow, report };
    struct cm_svc_error no = { 0 };

    do {
        int64_t next = 0;
        CM_TRY(told(cm_reg_list(s->registry, CM_REG_LIST_CERTS_BY_CA, &page, count_certificate, &counting,
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

static cm_err rehearse(struct cm_rehearsal *s, struct cm_rehearsal_report *r, struct cm_error *err)
{
    const uint64_t start = now_ms();

    CM_TRY(connect_all(s, &r->devices, err));
    r->total_ms = now_ms() - start;
    r->restarts = s->restarts;
    (void) snprintf(r->ca_id, sizeof r->ca_id, "%s", s->ca_id);
    cm_activator_counts(s->activator, &r->rule);
    CM_TRY(list_certificates(s, r, err));
    return sum_up(r, err);
}

cm_err cm_rehearsal_run(struct cm_rehearsal *s, struct cm_rehearsal_report *out, struct cm_error *err)
{
    struct cm_rehearsal_report report = { 0 };
    const cm_err rc = rehearse(s, &report, err);

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
