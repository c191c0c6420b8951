#include "rehearsal/rehearsal.h"

#include "aws/kit.h"
#include "io/bundle.h"
#include "rehearsal/caller.h"
#include "rehearsal/function.h"

#include <time.h>

enum { RESTARTS_MAX = 3, PAGE_MARKER = 100 };

static const char policy_name[] = "certmill-device";

struct cm_rehearsal {
    struct cm_rehearsal_conf conf;
    char ca_id[65];
    struct cm_caller *service;    /* this thread's */
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

/* The kit's own: what is rehearsed is what will be used. One that is there, of an earlier rehearsal in this
 * directory or somebody's own, stays. */
static cm_err make_policy(struct cm_rehearsal *s, struct cm_error *err)
{
    const struct cm_stand_address *at = cm_stand_address(s->conf.stand);
    const struct cm_aws_kit kit = { .account = at->account, .region = at->region, .partition = "aws" };
    char text[4096];
    struct cm_writer w = cm_writer(text, sizeof text - 1);
    bool exists = false;

    CM_TRY(cm_aws_kit_text(&kit, "device-policy.json", &w, err));
    text[w.len] = '\0';
    json_t *body = json_pack("{s:s}", "policyDocument", text);
    if (body == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for CreatePolicy");
    const struct cm_call post = { .method = "POST",
                                  .front = "/policies/",
                                  .name = policy_name,
                                  .back = "",
                                  .body = body,
                                  .exists = &exists };
    const cm_err rc = cm_caller_do(s->service, &post, NULL, err);
    json_decref(body);
    return rc;
}

/* The certificate that signs, without the chain above it. *out: the caller's. */
static cm_err ca_body(const struct cm_fleet *fleet, json_t **out, struct cm_error *err)
{
    const struct cm_span bundle = cm_fleet_ca_pem(fleet);
    struct cm_writer w = cm_writer(malloc(bundle.len), bundle.len);
    const bool there = w.data != NULL && cm_bundle_leaf(bundle, false, &w);

    if (there)
        *out = json_pack("{s:s%, s:s}", "caCertificate", w.data, w.len, "certificateMode", "SNI_ONLY");
    const bool room = w.data != NULL;
    free(w.data);
    if (room && !there)
        CM_FAIL(err, CM_E_INPUT, "%s/ca.pem does not begin with a certificate; restore it from a backup",
                cm_fleet_path(fleet));
    if (*out == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for RegisterCACertificate");
    return CM_OK;
}

static cm_err register_ca(struct cm_rehearsal *s, struct cm_error *err)
{
    json_t *body = NULL;
    bool exists = false;

    CM_TRY(ca_body(s->conf.fleet, &body, err));
    const struct cm_call post = { .method = "POST",
                                  .front = "/cacertificate",
                                  .name = "",
                                  .back = "",
                                  .query = "setAsActive=true&allowAutoRegistration=true",
                                  .body = body,
                                  .exists = &exists };
    const struct cm_call put = { .method = "PUT",
                                 .front = "/cacertificate/",
                                 .name = s->ca_id,
                                 .back = "",
                                 .query = "newStatus=ACTIVE&newAutoRegistrationStatus=ENABLE" };

    (void) snprintf(s->ca_id, sizeof s->ca_id, "%s", cm_fleet_run(s->conf.fleet)->ca_certificate_id);
    const cm_err rc = cm_caller_do(s->service, &post, NULL, err);
    json_decref(body);
    if (rc != CM_OK || !exists)
        return rc;
    return cm_caller_do(s->service, &put, NULL, err);
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

    CM_TRY(cm_caller_open(at, &s->service, err));
    CM_TRY(make_policy(s, err));
    CM_TRY(register_ca(s, err));
    CM_TRY(cm_allow_open(s->conf.fleet, &s->allow, err));
    const struct cm_function_conf function = {
        .at = at, .allow = s->allow, .ca_id = s->ca_id, .policy = policy_name
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
    cm_caller_close(s->service);
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

static void count_certificate(const struct cm_allow *allow, const json_t *item, struct cm_rehearsal_report *r)
{
    const char *const id = json_string_value(json_object_get(item, "certificateId"));
    const char *const status = json_string_value(json_object_get(item, "status"));
    const bool ours = id != NULL && cm_allow_find(allow, id, NULL);

    r->registered += ours;
    r->others += !ours;
    r->activated += ours && status != NULL && strcmp(status, "ACTIVE") == 0;
}

/* marker: that of the page, then of the next one; "": there is none. */
static cm_err list_page(struct cm_rehearsal *s, char marker[PAGE_MARKER], struct cm_rehearsal_report *r,
                        struct cm_error *err)
{
    char query[PAGE_MARKER + 32];
    const struct cm_call get = {
        .method = "GET", .front = "/certificates-by-ca/", .name = s->ca_id, .back = "", .query = query
    };
    const json_t *item = NULL;
    json_t *page = NULL;
    size_t i = 0;

    (void) snprintf(query, sizeof query, "pageSize=250%s%s", marker[0] != '\0' ? "&marker=" : "", marker);
    CM_TRY(cm_caller_do(s->service, &get, &page, err));
    json_array_foreach(json_object_get(page, "certificates"), i, item) count_certificate(s->allow, item, r);
    const char *const next = json_string_value(json_object_get(page, "nextMarker"));
    const bool cut = snprintf(marker, PAGE_MARKER, "%s", next != NULL ? next : "") >= PAGE_MARKER;
    json_decref(page);
    if (cut)
        CM_FAIL(err, CM_E_INPUT, "ListCertificatesByCA: the marker of the next page has over %d characters",
                PAGE_MARKER - 1);
    return CM_OK;
}

static cm_err list_certificates(struct cm_rehearsal *s, struct cm_rehearsal_report *report,
                                struct cm_error *err)
{
    char marker[PAGE_MARKER] = "";

    do {
        CM_TRY(list_page(s, marker, report, err));
    } while (marker[0] != '\0');
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
