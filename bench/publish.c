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
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char page[] = "index.html", data[] = "bench.json", table[] = "bench.csv";
static const char *const suffixes[] = { "dat", "gp", "svg", "png" }; /* from PICTURES on gnuplot makes them */
enum { PICTURES = 2 };
static const char stage_name[] = "certmill-report-"; /* and STAGE_RANDOM more */
enum { STAGE_RANDOM = 6 };

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
    if (snprintf(s->path, sizeof s->path, "%s/%sXXXXXX", dir, stage_name) >= (int) sizeof s->path)
        CM_FAIL(err, CM_E_USAGE, "--report: the path is too long; take a shorter one");
    if (mkdtemp(s->path) == NULL) {
        s->path[0] = '\0';
        CM_FAIL(err, CM_E_IO, "--report %s: can't make a directory in it", dir);
    }
    CM_TRY(cm_dir_open(s->path, &s->fd, err));
    (void) flock(s->fd, LOCK_EX | LOCK_NB); /* in use, for remove_left; not every file system can */
    return CM_OK;
}

static void close_stage(struct stage *s)
{
    cm_fd_close(&s->fd);
    cm_fd_close(&s->dir_fd);
    if (s->path[0] != '\0')
        (void) cm_place_remove(s->path);
}

/* --- is it ours? ----------------------------------------------------------- */

/* What a directory holds. */
struct contents {
    int fd;
    bool left;  /* stages of a bench that was killed */
    bool other; /* anything else */
};

/* Is it a name that a stage holds? .part: cm_file_replace was at it. */
static cm_err note_made(void *arg, const char *name, struct cm_error *err)
{
    static const char *const fixed[] = { page, data, table, "out", "err" };
    const size_t len = strlen(name), part = strlen(".part");
    const int n = (int) (len > part && strcmp(name + len - part, ".part") == 0 ? len - part : len);
    bool *foreign = arg, ours = false;
    char base[NAME_MAX + 1], made[32];

    (void) err;
    (void) snprintf(base, sizeof base, "%.*s", n, name);
    for (size_t i = 0; i < CM_COUNT(fixed); i++)
        ours = ours || strcmp(base, fixed[i]) == 0;
    for (size_t i = 0; i < CM_DRAW_PLOTS * CM_COUNT(suffixes); i++) {
        (void) snprintf(made, sizeof made, "%s.%s", cm_draw_names[i / CM_COUNT(suffixes)],
                        suffixes[i % CM_COUNT(suffixes)]);
        ours = ours || strcmp(base, made) == 0;
    }
    *foreign = *foreign || !ours;
    return CM_OK;
}

/* The directory, opened, if it is a stage by its name and all that it holds; else -1. */
static int open_left(int dirfd, const char *name)
{
    const size_t len = sizeof stage_name - 1;
    bool foreign = false;
    int fd = -1;

    if (strncmp(name, stage_name, len) == 0 && strlen(name) == len + STAGE_RANDOM)
        fd = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && (cm_dir_each(fd, ".", name, note_made, &foreign, NULL) != CM_OK || foreign))
        cm_fd_close(&fd);
    return fd;
}

static cm_err note_name(void *arg, const char *name, struct cm_error *err)
{
    struct contents *c = arg;
    int fd = open_left(c->fd, name);

    (void) err;
    c->left = c->left || fd >= 0;
    c->other = c->other || fd < 0;
    cm_fd_close(&fd);
    return CM_OK;
}

struct leftovers {
    const char *dir;
    int fd;
};

static cm_err remove_left(void *arg, const char *name, struct cm_error *err)
{
    const struct leftovers *l = arg;
    char path[PATH_MAX];
    int fd = open_left(l->fd, name);
    const bool ours = fd >= 0, used = ours && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;

    cm_fd_close(&fd);
    if (used)
        CM_FAIL(err, CM_E_LIMIT, "--report %s: another bench writes its report there; name another directory",
                l->dir);
    if (ours &&
        (snprintf(path, sizeof path, "%s/%s", l->dir, name) >= (int) sizeof path || !cm_place_remove(path)))
        CM_FAIL(err, CM_E_IO, "can't remove %s/%s, which a bench that was killed left", l->dir, name);
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

/* Refuses what is not ours; removes what a bench that was killed has left. */
static cm_err look_inside(int fd, const char *dir, struct cm_error *err)
{
    struct contents c = { .fd = fd };
    struct leftovers l = { .dir = dir, .fd = fd };

    CM_TRY(cm_dir_each(fd, ".", dir, note_name, &c, err));
    if (c.other && !is_report(fd))
        CM_FAIL(err, CM_E_USAGE,
                "--report %s holds something else than an earlier report; name a new directory", dir);
    return c.left ? cm_dir_each(fd, ".", dir, remove_left, &l, err) : CM_OK;
}

cm_err cm_publish_check(const char *dir, struct cm_error *err)
{
    struct stage s;
    struct stat st;

    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        CM_FAIL(err, CM_E_IO, "--report %s can't be made", dir);
    if (stat(dir, &st) != 0 || !S_ISDIR(st.st_mode))
        CM_FAIL(err, CM_E_USAGE, "--report %s is no directory; name a new one, or an empty one", dir);
    int fd = -1;
    CM_TRY(cm_dir_open(dir, &fd, err));
    cm_err rc = look_inside(fd, dir, err);
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

static cm_err draw_all(const json_t *report, const struct stage *s, volatile sig_atomic_t *stop,
                       struct cm_error *err)
{
    for (size_t i = 0; i < CM_DRAW_PLOTS; i++)
        if (cm_draw_has(report, cm_draw_names[i]))
            CM_TRY(cm_draw_run(cm_draw_names[i], s->fd, s->path, stop, err));
    return CM_OK;
}

/* Some pictures would look like all; and a full disk has room again for the page. */
static void drop_pictures(const struct stage *s)
{
    char name[32];

    for (size_t i = 0; i < CM_DRAW_PLOTS; i++)
        for (size_t k = PICTURES; k < CM_COUNT(suffixes); k++) {
            (void) snprintf(name, sizeof name, "%s.%s", cm_draw_names[i], suffixes[k]);
            (void) unlinkat(s->fd, name, 0);
        }
}

/* *undrawn: why gnuplot failed, though all else was made; its code is CM_OK where it did not. */
static cm_err make(const json_t *report, const struct stage *s, volatile sig_atomic_t *stop,
                   struct cm_error *undrawn, struct cm_error *err)
{
    enum cm_page_plots plots = CM_PAGE_NO_GNUPLOT;

    CM_TRY(write_json(report, s, err));
    CM_TRY(write_csv(report, s, err));
    for (size_t i = 0; i < CM_DRAW_PLOTS; i++)
        if (cm_draw_has(report, cm_draw_names[i]))
            CM_TRY(cm_draw_write(report, cm_draw_names[i], s->fd, s->path, err));
    if (cm_draw_possible()) {
        const cm_err rc = draw_all(report, s, stop, undrawn);
        plots = rc == CM_OK ? CM_PAGE_DRAWN : CM_PAGE_GNUPLOT_FAILED;
        if (rc == CM_E_CLOSED) {
            *err = *undrawn;
            return rc;
        }
        if (rc != CM_OK)
            drop_pictures(s);
    }
    return cm_page_write(report, plots, s->fd, s->path, err);
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
    struct cm_error undrawn = { 0 };
    struct stage s;
    cm_err rc = open_stage(dir, &s, err);

    if (rc == CM_OK)
        rc = make(report, &s, stop, &undrawn, err);
    if (rc == CM_OK)
        rc = move_all(&s, err);
    close_stage(&s);
    if (rc == CM_OK && undrawn.code != CM_OK)
        CM_FAIL(
            err, CM_E_LIMIT,
            "%.160s\nthe report has its tables and no plots; to draw them: cd '%.200s' && for f in *.gp; do "
            "gnuplot \"$f\"; done",
            undrawn.what, dir);
    return rc;
}
