#include "io/jsonread.h"
#include "rehearsal/activator_impl.h"

enum { LOST_PERCENT = 20, TWICE_PERCENT = 10, LATE_PERCENT = 10 };

cm_err cm_activator_new(const struct cm_activator_conf *conf, struct cm_activator **out, struct cm_error *err)
{
    struct cm_activator *a = calloc(1, sizeof *a);

    if (a != NULL)
        a->activated = calloc(1, cm_allow_count(conf->allow) + 1);
    if (a == NULL || a->activated == NULL || pthread_mutex_init(&a->lock, NULL) != 0) {
        if (a != NULL)
            free(a->activated);
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
    free(a->activated);
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

static void note(struct cm_activator *a, char *where, size_t cap, const char *text)
{
    (void) pthread_mutex_lock(&a->lock);
    (void) snprintf(where, cap, "%s", text);
    (void) pthread_mutex_unlock(&a->lock);
}

static void activate(struct cm_activator *a, const char *id)
{
    struct cm_error err = { 0 };
    size_t number = 0;

    if (!cm_allow_find(a->conf.allow, id, &number)) {
        count(a, &a->counts.denied);
        note(a, a->counts.last_denied, sizeof a->counts.last_denied, id);
    } else if (a->conf.activate(a->conf.arg, id, &err) != CM_OK) {
        count(a, &a->counts.failed);
        note(a, a->counts.last_failure, sizeof a->counts.last_failure, err.what);
    } else {
        note(a, a->counts.last_activated, sizeof a->counts.last_activated, id);
        count(a, a->activated[number] ? &a->counts.again : &a->counts.activated);
        a->activated[number] = 1;
    }
}

/* xorshift64*: the same seed, the same faults. */
static unsigned percent(struct cm_activator *a)
{
    a->random ^= a->random >> 12;
    a->random ^= a->random << 25;
    a->random ^= a->random >> 27;
    return (unsigned) ((a->random * 2685821657736338717u) >> 33) % 100;
}

static void handle(struct cm_activator *a, const char *id)
{
    const unsigned at = a->conf.fault_seed != 0 ? percent(a) : 100;

    if (at < LOST_PERCENT) {
        count(a, &a->counts.lost);
        return;
    }
    if (at < LOST_PERCENT + LATE_PERCENT && a->held[0] == '\0') {
        (void) snprintf(a->held, sizeof a->held, "%s", id);
        return;
    }
    activate(a, id);
    if (at < LOST_PERCENT + LATE_PERCENT + TWICE_PERCENT)
        activate(a, id);
    cm_activator_idle(a);
}

void cm_activator_idle(struct cm_activator *a)
{
    if (a->held[0] != '\0')
        activate(a, a->held);
    a->held[0] = '\0';
}

/* The rule's words: SELECT * … WHERE certificateStatus = "PENDING_ACTIVATION". */
void cm_activator_message(struct cm_activator *a, struct cm_span payload)
{
    json_t *root = NULL;
    const char *id = NULL, *status = NULL;

    count(a, &a->counts.events);
    if (cm_json_read(payload, &root, NULL, NULL) == CM_OK && json_is_object(root)) {
        id = json_string_value(json_object_get(root, "certificateId"));
        status = json_string_value(json_object_get(root, "certificateStatus"));
    }
    if (id == NULL || strlen(id) != 64 || status == NULL || strcmp(status, "PENDING_ACTIVATION") != 0)
        count(a, &a->counts.malformed);
    else
        handle(a, id);
    json_decref(root);
}
