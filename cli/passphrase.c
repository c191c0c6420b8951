#include "cli/passphrase.h"
#include "engine/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

static const int caught[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP };

static volatile sig_atomic_t arrived;

static void note_signal(int sig)
{
    arrived = sig;
}

/* The first line of the n octets; its length, or -1 when there is no line end yet. */
static ssize_t line_length(const uint8_t *data, size_t n)
{
    const uint8_t *end = memchr(data, '\n', n);

    if (end == NULL)
        return -1;
    return end - data - (end > data && end[-1] == '\r');
}

/* Reads to the end of the first line, or of the file. */
static cm_err read_line(int fd, const char *name, struct cm_secret *s, size_t *len, struct cm_error *err)
{
    size_t used = 0;

    while (line_length(s->base, used) < 0) {
        const ssize_t n = used < s->cap ? read(fd, s->base + used, s->cap - used) : -2;
        if (n == -2)
            CM_FAIL(err, CM_E_INPUT, "%s: its first line is too long for a passphrase", name);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            CM_FAIL(err, CM_E_IO, "can't read the passphrase from %s", name);
        if (n == 0)
            break;
        used += (size_t) n;
    }
    const ssize_t line = line_length(s->base, used);
    *len = line >= 0 ? (size_t) line : used - (used > 0 && s->base[used - 1] == '\r');
    return CM_OK;
}

/* A pipe without a name: its writer has it open, or had. */
static bool is_pipe(int fd)
{
    struct statfs fs;

    return fstatfs(fd, &fs) == 0 && fs.f_type == PIPEFS_MAGIC;
}

static cm_err from_file(const struct cm_passphrase *p, struct cm_secret *s, size_t *len, struct cm_error *err)
{
    struct stat st;
    /* O_NONBLOCK: a named FIFO would keep the open waiting for a writer, perhaps for ever. */
    const int fd = open(p->file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    cm_err rc = CM_OK;

    if (fd < 0 && errno == ENOENT)
        CM_FAIL(err, CM_E_INPUT, "%s %s: there is no such file", p->option, p->file);
    if (fd < 0)
        CM_FAIL(err, CM_E_IO, "can't open the passphrase file %s", p->file);
    if (fstat(fd, &st) != 0)
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't look at the passphrase file %s", p->file);
    else if (!S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode))
        rc = cm_fail(err, CM_E_INPUT, CM_HERE, "%s %s is neither a regular file nor a pipe", p->option,
                     p->file);
    else if (S_ISFIFO(st.st_mode) && !is_pipe(fd))
        rc = cm_fail(err, CM_E_INPUT, CM_HERE,
                     "%s %s is a named FIFO, whose writer may never come; name a regular file, or a pipe: "
                     "<(command), /dev/stdin",
                     p->option, p->file);
    else if (fcntl(fd, F_SETFL, 0) != 0) /* a pipe's writer may be slow */
        rc = cm_fail(err, CM_E_IO, CM_HERE, "can't read the passphrase from %s", p->file);
    else
        rc = read_line(fd, p->file, s, len, err);
    (void) close(fd);
    if (rc == CM_OK && *len == 0)
        CM_FAIL(err, CM_E_INPUT, "%s %s: its first line is empty; write the passphrase there", p->option,
                p->file);
    return rc;
}

/* Waits for a line with the signals let in only while it waits, so that none can
 * slip in between the look at `arrived` and the wait. */
static cm_err wait_line(int tty, const sigset_t *outside, struct cm_secret *s, size_t *len,
                        struct cm_error *err)
{
    struct pollfd ready = { .fd = tty, .events = POLLIN };
    ssize_t n = -1;

    while (arrived == 0) {
        if (ppoll(&ready, 1, NULL, outside) < 0) {
            if (errno == EINTR)
                continue;
            CM_FAIL(err, CM_E_IO, "can't wait for the terminal");
        }
        n = read(tty, s->base, s->cap);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            CM_FAIL(err, CM_E_IO, "can't read the passphrase from the terminal");
        break;
    }
    const ssize_t line = n > 0 ? line_length(s->base, (size_t) n) : 0;
    *len = line >= 0 ? (size_t) line : (size_t) n;
    return CM_OK;
}

/* One prompt with echo off; *sig is the signal that ended it, or 0. */
static cm_err prompt(int tty, const char *what, const sigset_t *outside, struct cm_secret *s, size_t *len,
                     int *sig, struct cm_error *err)
{
    struct termios before, silent;
    cm_err rc = CM_OK;

    if (tcgetattr(tty, &before) != 0)
        CM_FAIL(err, CM_E_IO, "can't ask for the passphrase of the %s on the terminal", what);
    silent = before;
    silent.c_lflag &= ~(tcflag_t) (ECHO | ECHONL);
    silent.c_lflag |= ICANON;
    if (tcsetattr(tty, TCSAFLUSH, &silent) != 0)
        CM_FAIL(err, CM_E_IO, "can't switch off the terminal's echo");

    arrived = 0;
    (void) dprintf(tty, "Passphrase of the %s: ", what);
    rc = wait_line(tty, outside, s, len, err);
    *sig = arrived;
    while (tcsetattr(tty, TCSAFLUSH, &before) != 0 && errno == EINTR)
        ;
    (void) dprintf(tty, "\n");
    return rc;
}

/* The same with our handlers in place; a signal takes its effect after the
 * terminal and the handlers are as they were. */
static cm_err prompt_guarded(int tty, const char *what, struct cm_secret *s, size_t *len, int *sig,
                             struct cm_error *err)
{
    const struct sigaction ours = { .sa_handler = note_signal };
    struct sigaction theirs[CM_COUNT(caught)];
    sigset_t block, outside;
    cm_err rc = CM_OK;

    (void) sigemptyset(&block);
    for (size_t i = 0; i < CM_COUNT(caught); i++)
        (void) sigaddset(&block, caught[i]);
    (void) sigprocmask(SIG_BLOCK, &block, &outside);
    for (size_t i = 0; i < CM_COUNT(caught); i++)
        (void) sigaction(caught[i], &ours, &theirs[i]);
    rc = prompt(tty, what, &outside, s, len, sig, err);
    for (size_t i = 0; i < CM_COUNT(caught); i++)
        (void) sigaction(caught[i], &theirs[i], NULL);
    (void) sigprocmask(SIG_SETMASK, &outside, NULL);
    if (*sig != 0)
        (void) raise(*sig); /* comes back after SIGTSTP and SIGCONT, or where it is handled */
    return rc;
}

static cm_err from_terminal(const struct cm_passphrase *p, struct cm_secret *s, size_t *len,
                            struct cm_error *err)
{
    const int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    int sig = 0;
    cm_err rc = CM_OK;

    if (tty < 0)
        CM_FAIL(err, CM_E_INPUT, "the %s is encrypted and there is no terminal to ask on; give %s FILE",
                p->what, p->option);
    do {
        sig = 0;
        rc = prompt_guarded(tty, p->what, s, len, &sig, err);
    } while (rc == CM_OK && sig == SIGTSTP);
    (void) close(tty);
    if (rc == CM_OK && sig != 0) {
        (void) cm_fail(err, CM_E_CLOSED, CM_HERE,
                       "stopped while the passphrase was asked for; nothing was written");
        if (err != NULL)
            err->os = sig;
        return CM_E_CLOSED;
    }
    if (rc == CM_OK && *len == 0)
        CM_FAIL(err, CM_E_INPUT, "no passphrase was typed; the %s is encrypted (%s FILE gives one too)",
                p->what, p->option);
    return rc;
}

int cm_passphrase_get(void *arg, char *buf, size_t cap, struct cm_error *err)
{
    const struct cm_passphrase *p = arg;
    struct cm_secret s = { 0 };
    size_t len = 0;
    cm_err rc = cm_secret_init(&s, 4096, err);

    if (rc == CM_OK)
        rc = p->file != NULL ? from_file(p, &s, &len, err) : from_terminal(p, &s, &len, err);
    if (rc == CM_OK && len > cap)
        rc = cm_fail(err, CM_E_INPUT, CM_HERE, "the passphrase of the %s is too long: at most %zu bytes",
                     p->what, cap);
    if (rc == CM_OK)
        memcpy(buf, s.base, len);
    cm_secret_done(&s);
    return rc == CM_OK ? (int) len : -1;
}
