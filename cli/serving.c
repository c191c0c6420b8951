#include "cli/serving.h"

#include "cli/elsewhere.h"
#include "cli/msg.h"
#include "cli/signals.h"
#include "engine/random.h"
#include "rehearsal/broker.h"
#include "rehearsal/control.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

/* Good for this rehearsal alone. */
struct credentials {
    char access_key[21], secret_key[41];
};

static cm_err draw(char *out, size_t cap, const char *front, struct cm_error *err)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    uint8_t octets[64];
    const size_t used = (size_t) snprintf(out, cap, "%s", front);

    CM_ASSERT(cap <= sizeof octets);
    for (size_t i = 0; i < sizeof octets; i += 16)
        CM_TRY(cm_random_uuid(octets + i, err));
    for (size_t i = used; i + 1 < cap; i++)
        out[i] = letters[octets[i] % 32];
    out[cap - 1] = '\0';
    return CM_OK;
}

static cm_err make_dir(const char *path, struct cm_error *err)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        CM_FAIL(err, CM_E_IO, "can't make the directory %.300s", path);
    return CM_OK;
}

static void on_failure(void *arg, const char *line)
{
    (void) arg;
    cm_msg_note("the control plane failed: %s", line);
}

/* What runs, and what a person needs to get to it. */
struct served {
    struct credentials credentials;
    char dir[PATH_MAX], registry[PATH_MAX + 32], buckets[PATH_MAX + 32], broker_dir[PATH_MAX + 32];
    struct cm_control *control;
    struct cm_ownca *own;
    struct cm_broker *broker;
};

static cm_err say(const struct served *s, const struct cm_common *common, struct cm_error *err)
{
    const struct cm_control *control = s->control;
    const struct credentials *c = &s->credentials;

    if (common->json)
        CM_TRY(cm_msg_json(
            json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:o}", "endpoint_url", cm_control_url(control),
                      "access_key_id", c->access_key, "secret_access_key", c->secret_key, "region",
                      "us-east-1", "buckets", s->buckets, "broker_host", "127.0.0.1", "broker_port",
                      cm_broker_port(s->broker), "cafile", json_sprintf("%s/own.pem", s->broker_dir)),
            err));
    else
        (void) printf("AWS IoT's control plane is at %s until INT (Ctrl-C) ends it. In another shell:\n"
                      "  export AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s\n"
                      "  export AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true\n"
                      "  aws --endpoint-url %s iot get-registration-code\n"
                      "Devices connect to 127.0.0.1, port %d, with --cafile %s/own.pem\n",
                      cm_control_url(control), c->access_key, c->secret_key, cm_control_url(control),
                      cm_broker_port(s->broker), s->broker_dir);
    if (fflush(stdout) != 0)
        CM_FAIL(err, CM_E_IO, "can't write to the standard output");
    return CM_OK;
}

/* A broker that died is told, not replaced: who works by hand wants to see it. */
static cm_err wait_for_signal(struct served *s, struct cm_error *err)
{
    const struct timespec moment = { .tv_nsec = 50000000 };

    while (cm_signals_arrived == 0) {
        CM_TRY(cm_broker_check(s->broker, err));
        (void) nanosleep(&moment, NULL);
    }
    return CM_OK;
}

/* Absolute: the paths go into the configuration of the broker. */
static cm_err make_dirs(const char *asked, struct served *s, struct cm_error *err)
{
    CM_TRY(make_dir(asked, err));
    if (realpath(asked, s->dir) == NULL)
        CM_FAIL(err, CM_E_IO, "can't resolve the directory %.300s", asked);
    (void) snprintf(s->registry, sizeof s->registry, "%s/registry", s->dir);
    (void) snprintf(s->buckets, sizeof s->buckets, "%s/buckets", s->dir);
    (void) snprintf(s->broker_dir, sizeof s->broker_dir, "%s/broker", s->dir);
    CM_TRY(make_dir(s->buckets, err));
    return make_dir(s->broker_dir, err);
}

static cm_err start(const struct cm_serving *asked, struct served *s, struct cm_error *err)
{
    char plugin[PATH_MAX];

    CM_TRY(cm_elsewhere_file("rehearsal.so", plugin, err));
    CM_TRY(make_dirs(asked->dir, s, err));
    CM_TRY(draw(s->credentials.access_key, sizeof s->credentials.access_key, "AKIA", err));
    CM_TRY(draw(s->credentials.secret_key, sizeof s->credentials.secret_key, "", err));
    cm_signals_catch();
    CM_TRY(cm_ownca_make(cm_when_now(), &s->own, err));
    CM_TRY(cm_control_start(&(struct cm_control_conf) { .registry_path = s->registry,
                                                        .access_key = s->credentials.access_key,
                                                        .secret_key = s->credentials.secret_key,
                                                        .buckets_dir = s->buckets,
                                                        .limits_aws = asked->limits_aws,
                                                        .on_failure = on_failure },
                            &s->control, err));
    return cm_broker_start(
        &(struct cm_broker_conf) {
            .plugin = plugin, .dir = s->broker_dir, .registry = s->registry, .own = s->own },
        &s->broker, err);
}

cm_err cm_serving_run(const struct cm_serving *asked, const struct cm_common *common, struct cm_error *err)
{
    struct served s = { 0 };
    cm_err rc = start(asked, &s, err);

    if (rc == CM_OK)
        rc = say(&s, common, err);
    if (rc == CM_OK)
        rc = wait_for_signal(&s, err);
    cm_broker_stop(s.broker);
    cm_control_stop(s.control);
    cm_ownca_free(s.own);
    return rc;
}
