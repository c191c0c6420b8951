#include "bench/server.h"

#include "io/file.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

/* Parent, and clock ticks: its own, and those of its children that have ended. */
struct process {
    long parent;
    unsigned long long own, ended;
};

static size_t read_proc(long pid, const char *what, char *out, size_t cap)
{
    char path[64];

    (void) snprintf(path, sizeof path, "/proc/%ld/%s", pid, what);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t got = fd >= 0 ? read(fd, out, cap - 1) : -1;
    cm_fd_close(&fd);
    out[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t) got : 0;
}

/* proc(5): the fields behind the name, which is in parentheses and may hold anything. */
static bool look_at(long pid, struct process *out)
{
    char text[1024];
    unsigned long long user = 0, system = 0;
    long long ended_user = 0, ended_system = 0;

    (void) read_proc(pid, "stat", text, sizeof text);
    const char *rest = strrchr(text, ')');
    if (rest == NULL || sscanf(rest + 1, " %*c %ld %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %lld %lld",
                               &out->parent, &user, &system, &ended_user, &ended_system) != 5)
        return false;
    out->own = user + system;
    out->ended = (unsigned long long) (ended_user + ended_system);
    return true;
}

/* --- which server ---------------------------------------------------------- */

/* A server process has in its title the database that it works for, and no other has such a name: a process
 * of the same number on another machine is not taken for it. */
static void find_parent(void *arg, long pid)
{
    struct cm_server *s = arg;
    char title[512];
    struct process p;
    const size_t len = read_proc(pid, "cmdline", title, sizeof title);

    if (len > 0 && memmem(title, len, cm_pgscratch_name(s->scratch), strlen(cm_pgscratch_name(s->scratch))) &&
        look_at(pid, &p))
        s->parent = p.parent;
}

static cm_err try_out(struct cm_server *s, struct cm_error *err)
{
    struct cm_error why;

    CM_TRY(cm_pgscratch_make(s->scratch, err));
    CM_TRY(cm_pgscratch_backend(s->scratch, find_parent, s, err));
    CM_TRY(cm_pgscratch_wait(s->scratch, err));
    if (s->parent == 0)
        (void) snprintf(
            s->why, sizeof s->why,
            "its processes are not to be seen here: it runs on another machine or in a container");
    else if (cm_pgscratch_checkpoint(s->scratch, &why) != CM_OK) {
        s->parent = 0;
        (void) snprintf(s->why, sizeof s->why,
                        "its user may not ask for a checkpoint, without which its writing would not count "
                        "(GRANT pg_checkpoint TO …, from PostgreSQL 15 on; before, a superuser)");
    }
    return cm_pgscratch_drop(s->scratch, err);
}

cm_err cm_server_open(const char *url, struct cm_server *s, struct cm_error *err)
{
    *s = (struct cm_server) { 0 };
    CM_TRY(cm_pgscratch_open(url, &s->scratch, err));
    return try_out(s, err);
}

/* --- what it costs --------------------------------------------------------- */

static cm_err count(const struct cm_server *s, double *out, struct cm_error *err)
{
    DIR *dir = opendir("/proc");
    struct process p;
    unsigned long long ticks = 0;
    bool found = false;

    if (dir == NULL)
        CM_FAIL(err, CM_E_IO, "can't read /proc to see what the server costs");
    for (struct dirent *e = NULL; (e = readdir(dir)) != NULL;) {
        const long pid = strtol(e->d_name, NULL, 10);
        if (pid <= 0 || !look_at(pid, &p) || (pid != s->parent && p.parent != s->parent))
            continue;
        ticks += p.own + (pid == s->parent ? p.ended : 0);
        found = found || pid == s->parent;
    }
    (void) closedir(dir);
    if (!found)
        CM_FAIL(err, CM_E_DB, "the server of --to ended while it was measured; again, when it is there");
    *out = (double) ticks / (double) sysconf(_SC_CLK_TCK);
    return CM_OK;
}

cm_err cm_server_cpu(struct cm_server *s, double *out, struct cm_error *err)
{
    *out = -1;
    CM_TRY(cm_pgscratch_wait(s->scratch, err));
    if (s->parent == 0)
        return CM_OK;
    CM_TRY(cm_pgscratch_checkpoint(s->scratch, err));
    return count(s, out, err);
}

cm_err cm_server_close(struct cm_server *s, struct cm_error *err)
{
    const cm_err rc = s->scratch != NULL ? cm_pgscratch_drop(s->scratch, err) : CM_OK;

    cm_pgscratch_close(s->scratch);
    s->scratch = NULL;
    return rc;
}
