/* plugin.c - the rehearsal in mosquitto: rehearsal.so, a plugin of API 5.
 *
 * A connection is judged (judge.h) and closed without CONNACK unless it is accepted; an unauthorised publish
 * closes too. Events go out of the registry's outbox: what was handed to the broker is marked as sent when
 * the broker's main loop has turned twice, so that a broker that dies between sends them again.
 *
 * One thread: mosquitto's. Options: registry, capath (trust.h), own (the CA of who listens to the events),
 * again (broker.h).
 */
#include "engine/ossl.h"
#include "rehearsal/enroll.h"
#include "rehearsal/judge.h"
#include "rehearsal/trust.h"

#include <mosquitto.h>
#include <mosquitto_broker.h>
#include <mosquitto_plugin.h>
#include <openssl/pem.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

/* The rest of this shared object is its own. */
#define CM_EXPORT __attribute__((visibility("default")))

enum { CA_POLL_MS = 50 };

static struct plugin {
    mosquitto_plugin_id_t *id;
    struct cm_registry *registry;
    const char *capath;
    X509 *own;
    int64_t generation, looked_ms; /* of the CAs */
    int64_t handed, settled;       /* events up to there: given to the broker; gone through its loop */
    int64_t marked;                /* in the registry, as sent */
    bool more;                     /* there may be events to send */
    const char *fault;             /* CM_REHEARSAL_FAULT; NULL: none */
} plugin;

static void say(int level, const char *what, const struct cm_svc_error *no)
{
    mosquitto_log_printf(level, "rehearsal: %s: %s", what, no->base.what);
}

/* CM_REHEARSAL_FAULT=NAME:N kills the broker at the N-th time that it comes by this place: for tests. */
static void point(const char *name)
{
    static unsigned long times;
    const size_t len = strlen(name);

    if (plugin.fault == NULL || strncmp(plugin.fault, name, len) != 0 || plugin.fault[len] != ':')
        return;
    if (++times == strtoul(plugin.fault + len + 1, NULL, 10))
        (void) kill(getpid(), SIGKILL);
}

static cm_err send_events(struct cm_svc_error *no)
{
    struct cm_reg_event e;

    while (plugin.more) {
        const cm_err rc = cm_reg_event_next(plugin.registry, plugin.handed, &e, no);
        plugin.more = rc == CM_OK;
        if (rc != CM_OK)
            return rc == CM_E_END ? CM_OK : rc;
        if (plugin.marked == 0)
            plugin.marked = plugin.settled = e.seq - 1;
        if (mosquitto_broker_publish_copy(NULL, e.topic, (int) strlen(e.payload), e.payload, 1, false,
                                          NULL) != MOSQ_ERR_SUCCESS)
            CM_FAIL(&no->base, CM_E_NOMEM, "the broker does not take event %lld", (long long) e.seq);
        plugin.handed = e.seq;
    }
    return CM_OK;
}

/* Those before `settled` have been through the loop. */
static cm_err mark_events(struct cm_svc_error *no)
{
    while (plugin.marked < plugin.settled) {
        point("event-sent");
        CM_TRY(cm_reg_event_sent(plugin.registry, plugin.marked + 1, no));
        plugin.marked++;
    }
    plugin.settled = plugin.handed;
    return CM_OK;
}

static cm_err refresh_cas(struct cm_svc_error *no)
{
    struct timespec now;
    int64_t generation = 0;

    (void) clock_gettime(CLOCK_MONOTONIC, &now);
    const int64_t ms = (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
    if (plugin.looked_ms != 0 && ms < plugin.looked_ms + CA_POLL_MS)
        return CM_OK;
    plugin.looked_ms = ms;
    CM_TRY(cm_reg_ca_generation(plugin.registry, &generation, no));
    if (generation == plugin.generation)
        return CM_OK;
    CM_TRY(cm_trust_write(plugin.registry, plugin.capath, no));
    plugin.generation = generation;
    return CM_OK;
}

static int on_tick(int event, void *data, void *userdata)
{
    struct cm_svc_error no = { 0 };

    (void) event;
    (void) data;
    (void) userdata;
    if (mark_events(&no) != CM_OK || send_events(&no) != CM_OK || refresh_cas(&no) != CM_OK)
        say(MOSQ_LOG_ERR, "the registry can't be used", &no);
    return MOSQ_ERR_SUCCESS;
}

static int judge(struct mosquitto *client, X509 *leaf)
{
    const char *client_id = mosquitto_client_id(client), *ip = mosquitto_client_address(client);
    struct cm_judgement j = { 0 };
    struct cm_svc_error no = { 0 };

    if (cm_judge_connect(plugin.registry, leaf, client_id, ip != NULL ? ip : "", &j, &no) != CM_OK) {
        say(MOSQ_LOG_ERR, "a connection can't be judged", &no);
        return MOSQ_ERR_CONN_LOST;
    }
    if (cm_judge_accepts(&j))
        return MOSQ_ERR_SUCCESS;
    mosquitto_log_printf(MOSQ_LOG_NOTICE, "rehearsal: %s closed as %s: %s%s%s", j.certificate_id,
                         cm_judge_name(j.reason), cm_judge_words(j.reason), j.more[0] != '\0' ? ": " : "",
                         j.more);
    if (j.event) {
        plugin.more = true;
        point("row-stored");
        if (send_events(&no) != CM_OK)
            say(MOSQ_LOG_ERR, "an event can't be sent", &no);
    }
    return MOSQ_ERR_CONN_LOST;
}

static int on_auth(int event, void *data, void *userdata)
{
    const struct mosquitto_evt_basic_auth *auth = data;
    CM_AUTO(X509) leaf = mosquitto_client_certificate(auth->client);

    (void) event;
    (void) userdata;
    if (leaf == NULL)
        return MOSQ_ERR_CONN_LOST;
    return cm_enroll_issued(plugin.own, leaf) ? MOSQ_ERR_SUCCESS : judge(auth->client, leaf);
}

static const struct access_kind {
    int access;
    const char *action, *kind;
} accesses[] = {
    { MOSQ_ACL_WRITE, "iot:Publish", "topic" },
    { MOSQ_ACL_READ, "iot:Receive", "topic" },
    { MOSQ_ACL_SUBSCRIBE, "iot:Subscribe", "topicfilter" },
};

/* The status may have changed since the connection: as the service does, what isn't ACTIVE may nothing. */
static bool allowed(const struct mosquitto_evt_acl_check *acl, X509 *leaf, const struct access_kind *kind,
                    char id[CM_REG_ID], struct cm_svc_error *no)
{
    const char *ip = mosquitto_client_address(acl->client);
    const struct cm_principal who = { id, leaf, mosquitto_client_id(acl->client), ip != NULL ? ip : "" };
    struct cm_policy_answer answer = { 0 };
    struct cm_reg_cert known = { 0 };

    if (cm_judge_id(leaf, id, &no->base) != CM_OK ||
        cm_reg_cert_find(plugin.registry, id, &known, no) != CM_OK)
        return false;
    const bool active = known.status == CM_REG_ACTIVE;
    cm_reg_cert_done(&known);
    return active &&
           cm_policy_authorize(plugin.registry, &who, kind->action, kind->kind, acl->topic, &answer, no) ==
               CM_OK &&
           answer.effect == CM_POLICY_ALLOW;
}

static int on_acl(int event, void *data, void *userdata)
{
    const struct mosquitto_evt_acl_check *acl = data;
    CM_AUTO(X509) leaf = mosquitto_client_certificate(acl->client);
    struct cm_svc_error no = { 0 };
    char id[CM_REG_ID] = "";

    (void) event;
    (void) userdata;
    if (leaf == NULL)
        return MOSQ_ERR_ACL_DENIED;
    if (acl->access == MOSQ_ACL_UNSUBSCRIBE)
        return MOSQ_ERR_SUCCESS;
    if (cm_enroll_issued(plugin.own, leaf))
        return acl->access == MOSQ_ACL_WRITE ? MOSQ_ERR_ACL_DENIED : MOSQ_ERR_SUCCESS;
    for (size_t i = 0; i < CM_COUNT(accesses); i++) {
        if (acl->access != accesses[i].access)
            continue;
        if (allowed(acl, leaf, &accesses[i], id, &no))
            return MOSQ_ERR_SUCCESS;
        mosquitto_log_printf(MOSQ_LOG_NOTICE, "rehearsal: %s may not %s on %s", id, accesses[i].action,
                             acl->topic);
    }
    /* Any error but this one closes the connection: as the service does after such a publish. */
    return acl->access == MOSQ_ACL_WRITE ? MOSQ_ERR_CONN_LOST : MOSQ_ERR_ACL_DENIED;
}

static X509 *load_own(const char *path)
{
    CM_AUTO(BIO) bio = BIO_new_file(path, "r");

    return bio != NULL ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
}

static const char *option(const struct mosquitto_opt *options, int count, const char *key)
{
    for (int i = 0; i < count; i++)
        if (strcmp(options[i].key, key) == 0)
            return options[i].value;
    return NULL;
}

CM_EXPORT int mosquitto_plugin_version(int count, const int *versions)
{
    for (int i = 0; i < count; i++)
        if (versions[i] == 5)
            return 5;
    return -1;
}

CM_EXPORT int mosquitto_plugin_init(mosquitto_plugin_id_t *id, void **userdata, struct mosquitto_opt *options,
                                    int count)
{
    const char *registry = option(options, count, "registry"), *own = option(options, count, "own");
    const struct cm_registry_conf conf = { 0 };
    struct cm_svc_error no = { 0 };

    (void) userdata;
    plugin.capath = option(options, count, "capath");
    if (registry == NULL || own == NULL || plugin.capath == NULL) {
        mosquitto_log_printf(MOSQ_LOG_ERR, "rehearsal: plugin_opt_registry, _capath and _own are needed");
        return MOSQ_ERR_INVAL;
    }
    const char *again = option(options, count, "again");
    plugin.fault = again != NULL && strcmp(again, "yes") == 0 ? NULL : getenv("CM_REHEARSAL_FAULT");
    plugin.id = id;
    plugin.more = true;
    plugin.generation = -1;
    plugin.own = load_own(own);
    if (plugin.own == NULL)
        (void) cm_fail(&no.base, CM_E_INPUT, CM_HERE, "no certificate in %s", own);
    if (plugin.own == NULL || cm_registry_open(registry, &conf, &plugin.registry, &no.base) != CM_OK ||
        refresh_cas(&no) != CM_OK) {
        say(MOSQ_LOG_ERR, "can't begin", &no);
        return MOSQ_ERR_UNKNOWN;
    }
    if (mosquitto_callback_register(id, MOSQ_EVT_BASIC_AUTH, on_auth, NULL, NULL) != MOSQ_ERR_SUCCESS ||
        mosquitto_callback_register(id, MOSQ_EVT_ACL_CHECK, on_acl, NULL, NULL) != MOSQ_ERR_SUCCESS ||
        mosquitto_callback_register(id, MOSQ_EVT_TICK, on_tick, NULL, NULL) != MOSQ_ERR_SUCCESS)
        return MOSQ_ERR_UNKNOWN;
    return MOSQ_ERR_SUCCESS;
}

CM_EXPORT int mosquitto_plugin_cleanup(void *userdata, struct mosquitto_opt *options, int count)
{
    (void) userdata;
    (void) options;
    (void) count;
    if (plugin.id != NULL) {
        (void) mosquitto_callback_unregister(plugin.id, MOSQ_EVT_BASIC_AUTH, on_auth, NULL);
        (void) mosquitto_callback_unregister(plugin.id, MOSQ_EVT_ACL_CHECK, on_acl, NULL);
        (void) mosquitto_callback_unregister(plugin.id, MOSQ_EVT_TICK, on_tick, NULL);
    }
    cm_registry_close(plugin.registry);
    X509_free(plugin.own);
    plugin = (struct plugin) { 0 };
    return MOSQ_ERR_SUCCESS;
}
