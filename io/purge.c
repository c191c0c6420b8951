#include "io/purge.h"

#include "io/file.h"
#include "io/sys.h"

struct purge {
    const struct cm_purge_conf *conf;
    struct cm_purge_result *out;
};

static cm_err purge_segment(const struct cm_purge_conf *conf, const char *name, struct cm_error *err)
{
    char path[600];
    struct stat st = { 0 };
    int fd = -1;

    (void) snprintf(path, sizeof path, "%.300s/%.256s", conf->path, name);
    CM_TRY(cm_file_open_write(conf->fd, conf->path, name, &fd, err));
    cm_err rc = fstat(fd, &st) == 0 ? cm_file_wipe(fd, path, 0, (uint64_t) st.st_size, err)
                                    : cm_fail(err, CM_E_IO, CM_HERE, "can't look at %s", path);
    if (rc == CM_OK)
        rc = cm_file_sync(fd, path, err);
    cm_fd_close(&fd);
    CM_TRY(rc);
    CM_POINT("keys.wiped");
    if (cm_sys_unlinkat(conf->fd, name, 0) != 0)
        CM_FAIL(err, CM_E_IO, "can't remove %s", path);
    return CM_OK;
}

/* "000012.tar", "000012", and either with ".part". */
static bool is_unit(const struct cm_purge_conf *conf, const char *name)
{
    const unsigned long long n = strtoull(name, NULL, 10);
    char again[32];

    (void) snprintf(again, sizeof again, conf->tree ? "%06llu" : "%06llu.tar", n);
    const size_t len = strlen(again);
    return n <= UINT32_MAX && strncmp(name, again, len) == 0 &&
           (name[len] == '\0' || strcmp(name + len, ".part") == 0);
}

static cm_err take(void *arg, const char *name, struct cm_error *err)
{
    const struct purge *p = arg;
    const struct cm_purge_conf *conf = p->conf;

    if (!is_unit(conf, name)) {
        if (p->out->foreign++ == 0)
            (void) snprintf(p->out->first_foreign, sizeof p->out->first_foreign, "%s", name);
        return CM_OK;
    }
    CM_TRY(conf->tree ? cm_dir_discard(conf->fd, conf->path, name, true, err)
                      : purge_segment(conf, name, err));
    CM_POINT("keys.removed");
    p->out->units++;
    return CM_OK;
}

cm_err cm_purge(const struct cm_purge_conf *conf, struct cm_purge_result *out, struct cm_error *err)
{
    struct purge p = { conf, out };

    *out = (struct cm_purge_result) { 0 };
    CM_TRY(cm_dir_each(conf->fd, ".", conf->path, take, &p, err));
    CM_TRY(cm_dir_sync(conf->fd, conf->path, err));
    CM_POINT("keys.gone");
    return CM_OK;
}
