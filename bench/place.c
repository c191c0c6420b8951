#include "bench/place.h"

#include "io/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

cm_err cm_place_open(const char *out, struct cm_place *p, struct cm_error *err)
{
    *p = (struct cm_place) { .fd = -1 };
    if (snprintf(p->path, sizeof p->path, "%s/certmill-bench-XXXXXX", out) >= (int) sizeof p->path)
        CM_FAIL(err, CM_E_USAGE, "--out: the path is too long; take a shorter one");
    if (mkdtemp(p->path) == NULL) {
        p->path[0] = '\0';
        CM_FAIL(err, CM_E_IO, "can't make a directory in %s (name another with --out)", out);
    }
    return cm_dir_open(p->path, &p->fd, err);
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void) st;
    (void) kind;
    (void) ftw;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

bool cm_place_remove(const char *path)
{
    return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) == 0 || errno == ENOENT;
}

/* Fleets begin with their number, nothing else here begins with a digit. number: "0001-", "": any. */
static void remove_fleets(const struct cm_place *p, const char *number)
{
    DIR *dir = opendir(p->path);
    char path[PATH_MAX + CM_PLACE_NAME];

    for (struct dirent *e = NULL; dir != NULL && (e = readdir(dir)) != NULL;) {
        if (e->d_name[0] < '0' || e->d_name[0] > '9' || strncmp(e->d_name, number, strlen(number)) != 0)
            continue;
        (void) snprintf(path, sizeof path, "%s/%.63s", p->path, e->d_name);
        (void) cm_place_remove(path); /* place_close tries again, and says so */
    }
    if (dir != NULL)
        (void) closedir(dir);
}

void cm_place_drop(const struct cm_place *p, const char *name)
{
    char number[CM_PLACE_NAME];

    (void) snprintf(number, sizeof number, "%.*s-", (int) strcspn(name, "-"), name);
    remove_fleets(p, number);
}

void cm_place_drop_all(struct cm_place *p)
{
    remove_fleets(p, "");
    p->fleets_gone = p->fleets;
}

static uint64_t room(const struct cm_place *p)
{
    struct statvfs v;

    return fstatvfs(p->fd, &v) == 0 ? (uint64_t) v.f_bavail * v.f_frsize : UINT64_MAX;
}

cm_err cm_place_fleet(struct cm_place *p, const char *what, uint64_t bytes, char name[CM_PLACE_NAME],
                      struct cm_error *err)
{
    if (room(p) / 2 < bytes && p->fleets > p->fleets_gone)
        cm_place_drop_all(p);
    if (room(p) < bytes)
        CM_FAIL(err, CM_E_LIMIT,
                "%s has %llu MiB free, the next fleet needs about %llu; "
                "name another directory with --out, or take fewer devices with --count",
                p->path, (unsigned long long) room(p) >> 20, (unsigned long long) bytes >> 20);
    (void) snprintf(name, CM_PLACE_NAME, "%04u-%s", ++p->fleets, what);
    return CM_OK;
}

cm_err cm_place_close(struct cm_place *p, struct cm_error *err)
{
    cm_fd_close(&p->fd);
    if (p->path[0] != '\0' && !cm_place_remove(p->path))
        CM_FAIL(err, CM_E_IO, "can't remove %s (private keys are in it: remove it by hand)", p->path);
    p->path[0] = '\0';
    return CM_OK;
}
