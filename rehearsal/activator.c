#include "io/jsonread.h"
#include "rehearsal/activator_impl.h"

enum { LOST_PERCENT = 20, TWICE_PERCENT = 10, LATE_PERCENT = 10 };

cm_err cm_activator_new(const struct cm_activator_conf *conf, struct cm_activator **out, struct cm_error *err)
{
    struct cm_activator *a = calloc(1, sizeof *a);

    if (a != NULL)
        a->finding = calloc(CM_ACTIVATOR_FINDINGS, sizeof *a->finding);
    if (a == NULL || a->finding == NULL || pthread_mutex_init(&a->lock, NULL) != 0) {
        if (a != NULL)
            free(a->finding);
        free(a);
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the rule's worker");
    }
    a->conf = *conf;
    a->random = conf->fault_seed;
    *out = a;
    return CM_OK;
}

void cm_activator_free(struct cm_activator *a)
{
    if (a == NULL)
        return;
    cm_activator_stop(a);
    (void) pthread_mutex_destroy(&a->lock);
    free(a->finding);
    free(a);
}

void cm_activator_counts(struct cm_activator *a, struct cm_activator_counts *out)
{
    (void) pthread_mutex_lock(&a->lock);
    *out = a->counts;
    (void) pthread_mutex_unlock(&a->lock);
}

static void count(struct cm_activator *a, uint64_t *what)
{
    (void) pthread_mutex_lock(&a->lock);
    (*what)++;
    (void) pthread_mutex_unlock(&a->lock);
}

bool cm_activator_finding(struct cm_activator *a, size_t number, struct cm_activator_finding *out)
{
    (void) pthread_mutex_lock(&a->lock);
    const bool there = number < a->findings;
    if (there)
        *out = a->finding[number];
    (void) pthread_mutex_unlock(&a->lock);
    return there;
}

/* With the lock. */
static void find(struct cm_activator *a, const char *what, const char *id, const struct cm_function_result *r)
{
    if (a->findings == CM_ACTIVATOR_FINDINGS)
        return;
    struct cm_activator_finding *f = &a->finding[a->findings++];
    f->what = what;
    (void) snprintf(f->certificate_id, sizeof f->certificate_id, "%s", id);
    (void) snprintf(f->device_id, sizeof f->device_id, "%s", r->device_id);
    (void) snprintf(f->other, sizeof f->other, "%s", r->other);
}

static void keep(struct cm_activator *a, const char *id, const struct cm_function_result *r)
{
    struct cm_activator_counts *n = &a->counts;

    (void) pthread_mutex_lock(&a->lock);
    if (r->done == CM_FUNCTION_DENIED) {
        n->denied[r->standing]++;
        find(a, cm_standing_name(r->standing), id, r);
    } else if (r->done == CM_FUNCTION_ACTIVATED) {
        n->activated++;
        (void) snprintf(n->last_activated, sizeof n->last_activated, "%s", id);
        if (r->other[0] != '\0') {
            n->doubled++;
            find(a, "doubled", id, r);
        }
    } else {
        n->left_alone++;
    }
    (void) pthread_mutex_unlock(&a->lock);
}

static void handle(struct cm_activator *a, const struct cm_activator_event *event)
{
    struct cm_function_result r = { 0 };
    struct cm_error err = { 0 };

    if (a->conf.handle(a->conf.arg, event->certificate_id, event->ca_id, &r, &err) == CM_OK) {
        keep(a, event->certificate_id, &r);
        return;
    }
    (void) pthread_mutex_lock(&a->lock);
    a->counts.failed++;
    (void) snprintf(a->counts.last_failure, sizeof a->counts.last_failure, "%s", err.what);
    (void) pthread_mutex_unlock(&a->lock);
}

/* xorshift64*: the same seed, the same faults. */
static unsigned percent(struct cm_activator *a)
{
    a->random ^= a->random >> 12;
    a->random ^= a->random << 25;
    a->random ^= a->random >> 27;
    return (unsigned) ((a->random * 2685821657736338717u) >> 33) % 100;
}

static void take(struct cm_activator *a, const struct cm_activator_event *event)
{
    const unsigned at = a->conf.fault_seed != 0 ? percent(a) : 100;

    if (at < LOST_PERCENT) {
        count(a, &a->counts.lost);
        return;
    }
    if (at < LOST_PERCENT + LATE_PERCENT && a->held.certificate_id[0] == '\0') {
        a->held = *event;
        return;
    }
    handle(a, event);
    if (at < LOST_PERCENT + LATE_PERCENT + TWICE_PERCENT)
        handle(a, event);
    cm_activator_idle(a);
}

void cm_activator_idle(struct cm_activator *a)
{
    if (a->held.certificate_id[0] != '\0')
        handle(a, &a->held);
    a->held = (struct cm_activator_event) { 0 };
}

static bool copy_id(const json_t *root, const char *key, char out[65])
{
    const char *const text = json_string_value(json_object_get(root, key));

    return text != NULL && snprintf(out, 65, "%s", text) == 64;
}

/* The rule's words: SELECT * … WHERE certificateStatus = "PENDING_ACTIVATION". */
void cm_activator_message(struct cm_activator *a, struct cm_span payload)
{
    struct cm_activator_event event = { 0 };
    json_t *root = NULL;
    const char *status = NULL;

    count(a, &a->counts.events);
    if (cm_json_read(payload, &root, NULL, NULL) == CM_OK && json_is_object(root))
        status = json_string_value(json_object_get(root, "certificateStatus"));
    if (status == NULL || strcmp(status, "PENDING_ACTIVATION") != 0 ||
        !copy_id(root, "certificateId", event.certificate_id) ||
        !copy_id(root, "caCertificateId", event.ca_id))
        count(a, &a->counts.malformed);
    else
        take(a, &event);
    json_decref(root);
}
