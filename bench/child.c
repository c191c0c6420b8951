#include "bench/child.h"

#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_s(void)
{
    struct timespec t = { 0 };

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static double seconds(struct timeval t)
{
    return (double) t.tv_sec + (double) t.tv_usec / 1e6;
}

static bool confine(const int *cpus, size_t count)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    for (size_t i = 0; i < count; i++)
        CPU_SET((size_t) cpus[i], &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

/* In the child: becomes the program, or says why not and ends. */
_Noreturn static void become(const struct cm_child *c, pid_t parent, int out, int err)
{
    const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
    char *argv[64];
    size_t n = 0;

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(3);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0 ||
        fchdir(c->dir_fd) != 0 || (c->cpu_count > 0 && !confine(c->cpus, c->cpu_count))) {
        (void) dprintf(err, "can't prepare: %s\n", strerror(errno));
        _exit(3);
    }
    for (; c->argv[n] != NULL && n + 1 < CM_COUNT(argv); n++)
        argv[n] = (char *) (uintptr_t) c->argv[n]; /* exec takes it without const, and changes nothing */
    argv[n] = NULL;
    if (c->exe_fd >= 0)
        (void) fexecve(c->exe_fd, argv, environ);
    else
        (void) execvp(argv[0], argv);
    (void) dprintf(err, "can't be started: %s\n", strerror(errno));
    _exit(3);
}

/* Waits for the end; a stop that comes meanwhile kills it. The last word is wait4's. */
static bool wait_for(pid_t pid, volatile sig_atomic_t *stop, int *status, struct rusage *use)
{
    int fd = (int) syscall(SYS_pidfd_open, pid, 0);
    struct pollfd p = { .fd = fd, .events = POLLIN };
    bool killed = false;
    pid_t got = 0;

    while (fd >= 0 && !killed) {
        const int n = poll(&p, 1, 200);
        if (n > 0 || (n < 0 && errno != EINTR))
            break;
        killed = *stop != 0;
    }
    if (killed)
        (void) kill(pid, SIGKILL);
    cm_fd_close(&fd);
    do {
        got = wait4(pid, status, 0, use);
        if (got < 0 && errno == EINTR && *stop != 0 && !killed) {
            killed = true;
            (void) kill(pid, SIGKILL);
        }
    } while (got < 0 && errno == EINTR);
    return got == pid;
}

/* The last line that the child left on stderr, which is its reason behind all notes, without "certmill: ". */
static void words_of(const struct cm_child *c, char *out, size_t cap)
{
    static const char name[] = "certmill: ";
    int fd = openat(c->dir_fd, "err", O_RDONLY | O_CLOEXEC);
    const off_t size = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    char text[2 * CM_ERROR_TEXT] = "";
    const off_t from = size < (off_t) sizeof text ? 0 : size - (off_t) sizeof text + 1;
    const ssize_t got = fd >= 0 ? pread(fd, text, sizeof text - 1, from) : -1;
    size_t len = got > 0 ? (size_t) got : 0;

    cm_fd_close(&fd);
    while (len > 0 && strchr("\n ", text[len - 1]) != NULL)
        len--;
    text[len] = '\0';
    const char *at = strrchr(text, '\n');
    at = at != NULL ? at + 1 : text;
    if (strncmp(at, name, sizeof name - 1) == 0)
        at += sizeof name - 1;
    (void) snprintf(out, cap, "%s", at);
    struct rlimit l = { .rlim_cur = RLIM_INFINITY };
    (void) getrlimit(RLIMIT_FSIZE, &l);
    if ((rlim_t) size >= l.rlim_cur)
        (void) snprintf(out, cap, "what it said is cut short by RLIMIT_FSIZE too (raise it: ulimit -f)");
    if (out[0] == '\0')
        (void) snprintf(out, cap, "it said nothing; run it by hand");
}

static cm_err judge(const struct cm_child *c, int status, struct cm_error *err)
{
    char words[300];

    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return CM_OK;
    if (*c->stop != 0) {
        *err = (struct cm_error) { .code = CM_E_CLOSED, .os = *c->stop };
        return CM_E_CLOSED;
    }
    words_of(c, words, sizeof words);
    if (WIFSIGNALED(status))
        CM_FAIL(err, CM_E_LIMIT, "%s %s was killed by signal %d (%s)%s", c->argv[0], c->argv[1],
                WTERMSIG(status), strsignal(WTERMSIG(status)),
                c->exe_fd >= 0 ? "; is memory short? try fewer devices with --count" : "");
    const int code = WEXITSTATUS(status);
    CM_FAIL(err,
            code == 2   ? CM_E_USAGE
            : code == 4 ? CM_E_CRYPTO
                        : CM_E_LIMIT,
            "%s %s failed (exit %d): %s", c->argv[0], c->argv[1], code, words);
}

static cm_err run(const struct cm_child *c, int out, int errfd, struct cm_child_use *use,
                  struct cm_error *err)
{
    const double start = now_s();
    const pid_t parent = getpid(), pid = fork();
    struct rusage r = { 0 };
    int status = 0;

    if (pid < 0)
        CM_FAIL(err, CM_E_IO, "can't start a process to measure");
    if (pid == 0)
        become(c, parent, out, errfd);
    if (!wait_for(pid, c->stop, &status, &r))
        CM_FAIL(err, CM_E_IO, "lost sight of the process that is measured");
    const double end = now_s();
    CM_TRY(judge(c, status, err));
    *use = (struct cm_child_use) { .user_s = seconds(r.ru_utime),
                                   .system_s = seconds(r.ru_stime),
                                   .wall_s = end - start,
                                   .rss_kib = r.ru_maxrss };
    return CM_OK;
}

cm_err cm_child_run(const struct cm_child *c, struct cm_child_use *use, struct cm_error *err)
{
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC;
    int out = openat(c->dir_fd, "out", flags, 0600), errfd = openat(c->dir_fd, "err", flags, 0600);
    cm_err rc = CM_OK;

    if (out < 0 || errfd < 0)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't write where %s is to run (is the disk full?)", c->argv[0]);
    else
        rc = run(c, out, errfd, use, err);
    cm_fd_close(&out);
    cm_fd_close(&errfd);
    return rc;
}

cm_err cm_child_json(const struct cm_child *c, struct json_t **out, struct cm_error *err)
{
    int fd = openat(c->dir_fd, "out", O_RDONLY | O_CLOEXEC);
    json_t *json = fd >= 0 ? json_loadfd(fd, 0, NULL) : NULL;

    cm_fd_close(&fd);
    if (json == NULL)
        CM_FAIL(err, CM_E_LIMIT,
                "certmill %s ended well but printed no JSON object; run it by hand with --json", c->argv[1]);
    *out = json;
    return CM_OK;
}
