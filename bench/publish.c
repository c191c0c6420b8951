#include "bench/publish.h"

#include "bench/csv.h"
#include "bench/draw.h"
#include "bench/json.h"
#include "bench/page.h"
#include "bench/place.h"
#include "bench/textfile.h"
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char page[] = "index.html", data[] = "bench.json", table[] = "bench.csv";
static const char *const suffixes[] = { "dat", "gp", "svg", "png" };

/* Where the report is made. */
struct stage {
    const char *dir;
    int dir_fd;
    char path[PATH_MAX]; /* below dir */
    int fd;
};

static cm_err open_stage(const char *dir, struct stage *s, struct cm_error *err)
{
    *s = (struct stage) { .dir = dir, .dir_fd = -1, .fd = -1 };
    CM_TRY(cm_dir_open(dir, &s->dir_fd, err));
    if (snprintf(s->path, sizeof s->path, "%s/certmill-report-XXXXXX", dir) >= (int) sizeof s->path)
        CM_FAIL(err, CM_E_USAGE, "--report: the path is too long; take a shorter one");
    if (mkdtemp(s->path) == NULL) {
        s->path[0] = '\0';
        CM_FAIL(err, CM_E_IO, "--report %s: can't make a directory in it", dir);
    }
    return cm_dir_open(s->path, &s->fd, err);
}

static void close_stage(struct stage *s)
{
    cm_fd_close(&s->fd);
    cm_fd_close(&s->dir_fd);
    if (s->path[0] != '\0')
        (void) cm_place_remove(s->path);
}

/* --- is it ours? ----------------------------------------------------------- */

static cm_err note_name(void *arg, const char *name, struct cm_error *err)
{
    bool *empty = arg;

    (void) name;
    (void) err;
    *empty = false;
    return CM_OK;
}

/* An earlier report says so in the first octets of its JSON. */
static bool is_report(int dirfd)
{
    static const char begin[] = "{\"format\":\"certmill-bench\"";
    char got[sizeof begin - 1];
    int fd = openat(dirfd, data, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    const bool same = fd >= 0 && pread(fd, got, sizeof got, 0) == (ssize_t) sizeof got &&
                      memcmp(got, begin, sizeof got) == 0;

    cm_fd_close(&fd);
    return same;
}

cm_err cm_publish_check(const char *dir, struct cm_error *err)
{
    bool empty = true;
    struct stage s;
    struct stat st;

    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        CM_FAIL(err, CM_E_IO, "--report %s can't be made", dir);
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
        CM_FAIL(err, CM_E_USAGE, "--report %s is no directory; name a new one, or an empty one", dir);
    int fd = -1;
    CM_TRY(cm_dir_open(dir, &fd, err));
    cm_err rc = cm_dir_each(fd, ".", dir, note_name, &empty, err);
    if (rc == CM_OK && !empty && !is_report(fd))
        rc = cm_fail(err, CM_E_USAGE, CM_HERE,
                     "--report %s holds something else than an earlier report; name a new directory", dir);
    cm_fd_close(&fd);
    if (rc != CM_OK)
        return rc;
    rc = open_stage(dir, &s, err);
    close_stage(&s);
    return rc;
}

/* --- making it ------------------------------------------------------------- */

static cm_err write_json(const json_t *report, const struct stage *s, struct cm_error *err)
{
    struct cm_textfile text;

    CM_TRY(cm_textfile_open(&text, err));
    (void) json_dumpf(report, text.out, JSON_COMPACT | JSON_REAL_PRECISION(CM_BENCH_DIGITS));
    (void) fputc('\n', text.out);
    return cm_textfile_save(&text, s->fd, s->path, data, err);
}

static cm_err write_csv(const json_t *report, const struct stage *s, struct cm_error *err)
{
    struct cm_textfile text;

    CM_TRY(cm_textfile_open(&text, err));
    cm_bench_csv(report, text.out);
    return cm_textfile_save(&text, s->fd, s->path, table, err);
}

static cm_err make(const json_t *report, const struct stage *s, volatile sig_atomic_t *stop,
                   struct cm_error *err)
{
    const bool drawn = cm_draw_possible();

    CM_TRY(write_json(report, s, err));
    CM_TRY(write_csv(report, s, err));
    for (size_t i = 0; i < CM_DRAW_PLOTS; i++) {
        const char *name = cm_draw_names[i];
        if (!cm_draw_has(report, name))
            continue;
        CM_TRY(cm_draw_write(report, name, s->fd, s->path, err));
        if (drawn)
            CM_TRY(cm_draw_run(name, s->fd, s->path, stop, err));
    }
    return cm_page_write(report, drawn, s->fd, s->path, err);
}

/* --- moving it ------------------------------------------------------------- */

/* Takes the new file's place, or removes an earlier one that has no successor. */
static cm_err move(const struct stage *s, const char *name, struct cm_error *err)
{
    if (renameat(s->fd, name, s->dir_fd, name) == 0)
        return CM_OK;
    if (errno != ENOENT)
        CM_FAIL(err, CM_E_IO, "can't move %s into %s", name, s->dir);
    if (unlinkat(s->dir_fd, name, 0) != 0 && errno != ENOENT)
        CM_FAIL(err, CM_E_IO, "can't remove %s/%s, which an earlier report left", s->dir, name);
    return CM_OK;
}

static cm_err move_all(const struct stage *s, struct cm_error *err)
{
    char name[32];

    if (unlinkat(s->dir_fd, page, 0) != 0 && errno != ENOENT)
        CM_FAIL(err, CM_E_IO, "can't remove %s/%s, the page of an earlier report", s->dir, page);
    CM_TRY(move(s, data, err));
    CM_TRY(move(s, table, err));
    for (size_t i = 0; i < CM_DRAW_PLOTS; i++)
        for (size_t k = 0; k < CM_COUNT(suffixes); k++) {
            (void) snprintf(name, sizeof name, "%s.%s", cm_draw_names[i], suffixes[k]);
            CM_TRY(move(s, name, err));
        }
    CM_TRY(move(s, page, err));
    return cm_dir_sync(s->dir_fd, s->dir, err);
}

cm_err cm_publish(const json_t *report, const char *dir, volatile sig_atomic_t *stop, struct cm_error *err)
{
    struct stage s;
    cm_err rc = open_stage(dir, &s, err);

    if (rc == CM_OK)
        rc = make(report, &s, stop, err);
    if (rc == CM_OK)
        rc = move_all(&s, err);
    close_stage(&s);
    return rc;
}
