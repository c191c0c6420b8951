#include "rehearsal/stand.h"

#include "engine/random.h"
#include "io/file.h"
#include "rehearsal/broker.h"
#include "rehearsal/control.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAME_ROOM = 32 }; /* of a name below the directory */

struct cm_stand {
    char access_key[21], secret_key[41];
    char dir[PATH_MAX], plugin[PATH_MAX];
    char registry[PATH_MAX + NAME_ROOM], buckets[PATH_MAX + NAME_ROOM];
    char broker_dir[PATH_MAX + NAME_ROOM], cafile[PATH_MAX + 2 * NAME_ROOM];
    bool temporary;
    struct cm_control *control;
    struct cm_ownca *own;
    struct cm_broker_conf broker_conf;
    struct cm_broker *broker;
    struct cm_stand_address address;
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

static cm_err make_temporary(struct cm_stand *s, struct cm_error *err)
{
    const char *asked = getenv("TMPDIR");
    const char *const tmp = asked != NULL && asked[0] == '/' ? asked : "/tmp";
    char path[PATH_MAX];

    (void) snprintf(path, sizeof path, "%.3000s/certmill-rehearsal.XXXXXX", tmp);
    if (mkdtemp(path) == NULL)
        CM_FAIL(err, CM_E_IO, "can't make a directory for the rehearsal in %.200s (TMPDIR)", tmp);
    (void) snprintf(s->dir, sizeof s->dir, "%s", path);
    s->temporary = true;
    return CM_OK;
}

/* Absolute: the paths go into the configuration of the broker. */
static cm_err make_dirs(const char *asked, struct cm_stand *s, struct cm_error *err)
{
    if (asked == NULL)
        CM_TRY(make_temporary(s, err));
    else
        CM_TRY(make_dir(asked, err));
    if (asked != NULL && realpath(asked, s->dir) == NULL)
        CM_FAIL(err, CM_E_IO, "can't resolve the directory %.300s", asked);
    (void) snprintf(s->registry, sizeof s->registry, "%s/registry", s->dir);
    (void) snprintf(s->buckets, sizeof s->buckets, "%s/buckets", s->dir);
    (void) snprintf(s->broker_dir, sizeof s->broker_dir, "%s/broker", s->dir);
    (void) snprintf(s->cafile, sizeof s->cafile, "%s/own.pem", s->broker_dir);
    CM_TRY(make_dir(s->buckets, err));
    return make_dir(s->broker_dir, err);
}

static cm_err start(const struct cm_stand_conf *conf, struct cm_stand *s, struct cm_error *err)
{
    if (realpath(conf->plugin, s->plugin) == NULL)
        CM_FAIL(err, CM_E_IO, "can't find the broker's plugin %s", conf->plugin);
    CM_TRY(make_dirs(conf->dir, s, err));
    CM_TRY(draw(s->access_key, sizeof s->access_key, "AKIA", err));
    CM_TRY(draw(s->secret_key, sizeof s->secret_key, "", err));
    CM_TRY(cm_ownca_make(cm_when_now(), &s->own, err));
    CM_TRY(cm_control_start(&(struct cm_control_conf) { .registry_path = s->registry,
                                                        .access_key = s->access_key,
                                                        .secret_key = s->secret_key,
                                                        .buckets_dir = s->buckets,
                                                        .limits_aws = conf->limits_aws,
                                                        .on_failure = conf->on_failure,
                                                        .arg = conf->arg },
                            &s->control, err));
    s->broker_conf = (struct cm_broker_conf) {
        .plugin = s->plugin, .dir = s->broker_dir, .registry = s->registry, .own = s->own
    };
    CM_TRY(cm_broker_start(&s->broker_conf, &s->broker, err));
    s->address = (struct cm_stand_address) { .endpoint_url = cm_control_url(s->control),
                                             .access_key = s->access_key,
                                             .secret_key = s->secret_key,
                                             .account = cm_control_account(s->control),
                                             .region = cm_control_region(s->control),
                                             .buckets = s->buckets,
                                             .broker_port = cm_broker_port(s->broker),
                                             .cafile = s->cafile,
                                             .registry = s->registry };
    return CM_OK;
}

cm_err cm_stand_start(const struct cm_stand_conf *conf, struct cm_stand **out, struct cm_error *err)
{
    struct cm_stand *s = calloc(1, sizeof *s);

    if (s == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the stand-in for AWS IoT");
    const cm_err rc = start(conf, s, err);
    if (rc == CM_OK) {
        *out = s;
        return CM_OK;
    }
    const cm_err stopped = cm_stand_stop(s, NULL);
    (void) stopped; /* the first failure is the one to tell */
    return rc;
}

const struct cm_stand_address *cm_stand_address(const struct cm_stand *s)
{
    return &s->address;
}

const struct cm_ownca *cm_stand_own(const struct cm_stand *s)
{
    return s->own;
}

cm_err cm_stand_check(struct cm_stand *s, struct cm_error *err)
{
    return cm_broker_check(s->broker, err);
}

cm_err cm_stand_replace_broker(struct cm_stand *s, struct cm_error *err)
{
    struct cm_broker *broker = NULL;

    s->broker_conf.port = cm_broker_port(s->broker);
    s->broker_conf.again = true;
    CM_TRY(cm_broker_start(&s->broker_conf, &broker, err));
    cm_broker_stop(s->broker);
    s->broker = broker;
    return CM_OK;
}

static cm_err discard(const char *dir, const char *name, struct cm_error *err)
{
    int fd = -1;

    CM_TRY(cm_dir_open(dir, &fd, err));
    const cm_err rc = cm_dir_discard(fd, dir, name, false, err);
    cm_fd_close(&fd);
    return rc;
}

/* Only what is known to be there: anything else stays, and is told. */
static cm_err remove_dir(const struct cm_stand *s, struct cm_error *err)
{
    const char *name = strrchr(s->dir, '/');
    char parent[PATH_MAX];

    (void) snprintf(parent, sizeof parent, "%.*s", (int) (name - s->dir), s->dir);
    CM_TRY(discard(s->broker_dir, "capath", err));
    CM_TRY(discard(s->dir, "broker", err));
    CM_TRY(discard(s->dir, "buckets", err));
    return discard(parent[0] != '\0' ? parent : "/", name + 1, err);
}

cm_err cm_stand_stop(struct cm_stand *s, struct cm_error *err)
{
    if (s == NULL)
        return CM_OK;
    cm_broker_stop(s->broker);
    cm_control_stop(s->control);
    cm_ownca_free(s->own);
    const cm_err rc = s->temporary ? remove_dir(s, err) : CM_OK;
    OPENSSL_cleanse(s->secret_key, sizeof s->secret_key);
    free(s);
    return rc;
}
