#include "rehearsal/broker.h"

#include "engine/when.h"
#include "io/file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    READY_MS = 15000, /* to take connections */
    STOP_MS = 5000,   /* to end when asked, before it is killed */
    POLL_MS = 10,
    PORT_TRIES = 5, /* somebody else may take a port that was free */
    KEY_FD = 3,     /* where the child finds the key of its certificate */
    TAIL = 240,     /* octets of its log in a message */
};

struct cm_broker {
    pid_t pid; /* 0: gone, and reaped */
    int status;
    int port;
    char log[PATH_MAX];
};

static void nap(void)
{
    const struct timespec t = { 0, POLL_MS * 1000000L };

    (void) nanosleep(&t, NULL);
}

static cm_err find_program(const char *asked, char out[PATH_MAX], struct cm_error *err)
{
    const char *path = getenv("PATH");
    char list[PATH_MAX], *rest = list, *dir = NULL;

    if (asked != NULL) {
        (void) snprintf(out, PATH_MAX, "%s", asked);
        return CM_OK;
    }
    /* sbin is not on everybody's path. */
    (void) snprintf(list, sizeof list, "%.3000s:/usr/sbin:/usr/local/sbin", path != NULL ? path : "/usr/bin");
    while ((dir = strsep(&rest, ":")) != NULL)
        if (snprintf(out, PATH_MAX, "%s/mosquitto", dir) < PATH_MAX && access(out, X_OK) == 0)
            return CM_OK;
    CM_FAIL(err, CM_E_LIMIT, "no mosquitto on the path: install it (Debian: apt install mosquitto)");
}

static cm_err free_port(int *out, struct cm_error *err)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *) &at, sizeof at) != 0 ||
        getsockname(fd, (struct sockaddr *) &at, &len) != 0) {
        cm_fail(err, CM_E_IO, CM_HERE, "no free port on 127.0.0.1 for the broker");
        cm_fd_close(&fd);
        return CM_E_IO;
    }
    cm_fd_close(&fd);
    *out = ntohs(at.sin_port);
    return CM_OK;
}

static bool answers(int port)
{
    const struct sockaddr_in at = { .sin_family = AF_INET,
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                    .sin_port = htons((uint16_t) port) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool there = fd >= 0 && connect(fd, (const struct sockaddr *) &at, sizeof at) == 0;

    cm_fd_close(&fd);
    return there;
}

/* Queues are without limits: a burst of events must not be cut. per_listener_settings stays off, since the
 * plugin would get no ticks. */
static cm_err write_files(const struct cm_broker_conf *conf, int port, struct cm_error *err)
{
    char text[4 * PATH_MAX];
    int dirfd = -1;
    const int len = snprintf(text, sizeof text,
                             "listener %d 127.0.0.1\n"
                             "user root\n" /* stays who it is; without privileges this has no effect */
                             "allow_anonymous false\n"
                             "persistence false\n"
                             "max_queued_messages 0\n"
                             "max_queued_bytes 0\n"
                             "log_dest stderr\n"
                             "log_type error\nlog_type warning\nlog_type notice\nlog_type information\n"
                             "cafile %s/own.pem\n"
                             "capath %s/capath\n"
                             "certfile %s/server.pem\n"
                             "keyfile /proc/self/fd/%d\n"
                             "require_certificate true\n"
                             "plugin %s\n"
                             "plugin_opt_registry %s\n"
                             "plugin_opt_capath %s/capath\n"
                             "plugin_opt_own %s/own.pem\n"
                             "plugin_opt_again %s\n",
                             port, conf->dir, conf->dir, conf->dir, KEY_FD, conf->plugin, conf->registry,
                             conf->dir, conf->dir, conf->again ? "yes" : "no");

    if (len < 0 || (size_t) len >= sizeof text)
        CM_FAIL(err, CM_E_USAGE, "the paths of the rehearsal are too long; use a directory near the root");
    CM_TRY(cm_dir_open(conf->dir, &dirfd, err));
    cm_err rc = cm_file_replace(dirfd, conf->dir, "own.pem", cm_ownca_pem(conf->own), 0644, err);
    if (rc == CM_OK)
        rc = cm_file_replace(dirfd, conf->dir, "server.pem", cm_ownca_server_pem(conf->own), 0644, err);
    if (rc == CM_OK)
        rc = cm_file_replace(dirfd, conf->dir, "mosquitto.conf", cm_span(text, (size_t) len), 0600, err);
    if (rc == CM_OK && mkdirat(dirfd, "capath", 0700) != 0 && errno != EEXIST)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't make directory %s/capath", conf->dir);
    cm_fd_close(&dirfd);
    return rc;
}

/* After fork: nothing but system calls. Whoever was gone before prctl is seen by its pid. */
static _Noreturn void become(const char *program, char *const argv[], int key, int log, pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(127);
    sigset_t none;
    (void) sigemptyset(&none);
    (void) sigprocmask(SIG_SETMASK, &none, NULL);
    /* A key on descriptor 3 already would keep close-on-exec by dup2. */
    const int null = open("/dev/null", O_RDONLY);
    if (null < 0 || dup2(log, STDERR_FILENO) < 0 || dup2(log, STDOUT_FILENO) < 0 ||
        dup2(null, STDIN_FILENO) < 0 || (key == KEY_FD ? fcntl(key, F_SETFD, 0) : dup2(key, KEY_FD)) < 0)
        _exit(127);
    /* libmosquitto's sockets are not close-on-exec: a broker that is started again would hold the devices'
     * ends. */
    if (close_range(KEY_FD + 1, ~0U, 0) != 0)
        _exit(127);
    if (setpgid(0, 0) != 0) /* a terminal's Ctrl-C is the driver's, which then stops the broker */
        _exit(127);
    (void) execv(program, argv);
    _exit(127);
}

static cm_err spawn(const struct cm_broker_conf *conf, const char *program, struct cm_broker *b,
                    struct cm_error *err)
{
    char config[PATH_MAX], name[] = "mosquitto", option[] = "-c";
    char *const argv[] = { name, option, config, NULL };

    (void) snprintf(config, sizeof config, "%s/mosquitto.conf", conf->dir);
    int log = open(b->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log < 0)
        CM_FAIL(err, CM_E_IO, "can't open %s", b->log);
    const pid_t parent = getpid();
    b->pid = fork();
    if (b->pid == 0)
        become(program, argv, cm_ownca_server_key(conf->own), log, parent);
    if (b->pid < 0) {
        b->pid = 0;
        (void) cm_fail(err, CM_E_IO, CM_HERE, "can't start %s", program);
        cm_fd_close(&log);
        return CM_E_IO;
    }
    cm_fd_close(&log);
    return CM_OK;
}

static bool gone(struct cm_broker *b)
{
    if (b->pid > 0 && waitpid(b->pid, &b->status, WNOHANG) == b->pid)
        b->pid = 0;
    return b->pid == 0;
}

/* The end of its log, on one line. */
static void tail(const char *path, char out[TAIL + 1])
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t got = 0;

    if (fd >= 0 && fstat(fd, &st) == 0)
        got = pread(fd, out, TAIL, st.st_size > TAIL ? st.st_size - TAIL : 0);
    cm_fd_close(&fd);
    out[got > 0 ? got : 0] = '\0';
    for (char *c = out; *c != '\0'; c++)
        if (*c == '\n')
            *c = c[1] != '\0' ? '|' : '\0';
}

cm_err cm_broker_check(struct cm_broker *b, struct cm_error *err)
{
    char said[TAIL + 1];

    if (!gone(b))
        return CM_OK;
    tail(b->log, said);
    if (WIFSIGNALED(b->status))
        CM_FAIL(err, CM_E_IO, "the broker was killed by signal %d; its log ends: %s", WTERMSIG(b->status),
                said);
    CM_FAIL(err, CM_E_IO, "the broker ended by itself (exit %d); its log ends: %s", WEXITSTATUS(b->status),
            said);
}

static cm_err wait_ready(struct cm_broker *b, struct cm_error *err)
{
    for (int ms = 0; ms < READY_MS; ms += POLL_MS) {
        CM_TRY(cm_broker_check(b, err));
        if (answers(b->port))
            return cm_broker_check(b, err);
        nap();
    }
    CM_FAIL(err, CM_E_LIMIT, "the broker takes no connections after %d s: %s has its log", READY_MS / 1000,
            b->log);
}

static void end(struct cm_broker *b)
{
    if (gone(b))
        return;
    (void) kill(b->pid, SIGTERM);
    for (int ms = 0; ms < STOP_MS && !gone(b); ms += POLL_MS)
        nap();
    if (b->pid > 0) {
        (void) kill(b->pid, SIGKILL);
        while (waitpid(b->pid, &b->status, 0) < 0 && errno == EINTR)
            ;
        b->pid = 0;
    }
}

static cm_err start(const struct cm_broker_conf *conf, struct cm_broker *b, struct cm_error *err)
{
    char program[PATH_MAX];

    CM_TRY(find_program(conf->program, program, err));
    if (access(conf->plugin, R_OK) != 0)
        CM_FAIL(err, CM_E_IO, "can't read the broker's plugin %s", conf->plugin);
    (void) snprintf(b->log, sizeof b->log, "%s/broker.log", conf->dir);
    for (int i = 1;; i++) {
        b->port = conf->port;
        if (b->port == 0)
            CM_TRY(free_port(&b->port, err));
        CM_TRY(write_files(conf, b->port, err));
        CM_TRY(spawn(conf, program, b, err));
        const cm_err rc = wait_ready(b, err);
        if (rc == CM_OK || conf->port != 0 || i == PORT_TRIES)
            return rc;
        end(b);
    }
}

cm_err cm_broker_start(const struct cm_broker_conf *conf, struct cm_broker **out, struct cm_error *err)
{
    struct cm_broker *b = calloc(1, sizeof *b);

    if (b == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the broker");
    const cm_err rc = start(conf, b, err);
    if (rc != CM_OK) {
        cm_broker_stop(b);
        return rc;
    }
    *out = b;
    return CM_OK;
}

int cm_broker_port(const struct cm_broker *b)
{
    return b->port;
}

pid_t cm_broker_pid(const struct cm_broker *b)
{
    return b->pid;
}

void cm_broker_stop(struct cm_broker *b)
{
    if (b == NULL)
        return;
    end(b);
    free(b);
}
