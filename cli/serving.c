#include "cli/serving.h"

#include "cli/msg.h"
#include "cli/signals.h"
#include "engine/random.h"
#include "rehearsal/control.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>
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

static cm_err say(const struct cm_control *control, const struct credentials *c, const char *buckets,
                  const struct cm_common *common, struct cm_error *err)
{
    if (common->json)
        CM_TRY(cm_msg_json(json_pack("{s:s, s:s, s:s, s:s, s:s}", "endpoint_url", cm_control_url(control),
                                     "access_key_id", c->access_key, "secret_access_key", c->secret_key,
                                     "region", "us-east-1", "buckets", buckets),
                           err));
    else
        (void) printf("AWS IoT's control plane is at %s until INT (Ctrl-C) ends it. In another shell:\n"
                      "  export AWS_ACCESS_KEY_ID=%s AWS_SECRET_ACCESS_KEY=%s\n"
                      "  export AWS_DEFAULT_REGION=us-east-1 AWS_EC2_METADATA_DISABLED=true\n"
                      "  aws --endpoint-url %s iot get-registration-code\n",
                      cm_control_url(control), c->access_key, c->secret_key, cm_control_url(control));
    if (fflush(stdout) != 0)
        CM_FAIL(err, CM_E_IO, "can't write to the standard output");
    return CM_OK;
}

static void wait_for_signal(void)
{
    const struct timespec moment = { .tv_nsec = 50000000 };

    while (cm_signals_arrived == 0)
        (void) nanosleep(&moment, NULL);
}

cm_err cm_serving_run(const struct cm_serving *s, const struct cm_common *common, struct cm_error *err)
{
    char registry[PATH_MAX], buckets[PATH_MAX];
    struct cm_control *control = NULL;
    struct credentials c;

    const int n = snprintf(registry, sizeof registry, "%s/registry", s->dir);
    if (n < 0 || (size_t) n >= sizeof registry)
        CM_FAIL(err, CM_E_USAGE, "--serve: the path is too long");
    (void) snprintf(buckets, sizeof buckets, "%.*s/buckets", n - (int) strlen("/registry"), registry);
    CM_TRY(make_dir(s->dir, err));
    CM_TRY(make_dir(buckets, err));
    CM_TRY(draw(c.access_key, sizeof c.access_key, "AKIA", err));
    CM_TRY(draw(c.secret_key, sizeof c.secret_key, "", err));
    cm_signals_catch();
    CM_TRY(cm_control_start(&(struct cm_control_conf) { .registry_path = registry,
                                                        .access_key = c.access_key,
                                                        .secret_key = c.secret_key,
                                                        .buckets_dir = buckets,
                                                        .limits_aws = s->limits_aws,
                                                        .on_failure = on_failure },
                            &control, err));
    const cm_err rc = say(control, &c, buckets, common, err);
    if (rc == CM_OK)
        wait_for_signal();
    cm_control_stop(control);
    return rc;
}
