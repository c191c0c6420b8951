#include "cli/program.h"

#include "cli/elsewhere.h"
#include "cli/msg.h"
#include "engine/sigalg.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

/* Descriptors 0 to 2 that were closed at the start would go to the first files we
 * open, and messages into them. They become /dev/null, each opened the wrong way
 * round, so that a result for a closed stdout is still a failed write. */
static bool reopen_standard_fds(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) != -1 || errno != EBADF)
            continue;
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
            return false;
    }
    return true;
}

/* No core dump, no ptrace by others: keys and passphrases are in this process.
 * Sanitizers keep the second, since their leak check attaches to the process. */
static void harden(void)
{
    const struct rlimit none = { 0, 0 };

    (void) setrlimit(RLIMIT_CORE, &none);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    (void) prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

static void print_overview(const struct cm_program *p, FILE *out)
{
    (void) fputs(p->intro, out);
    for (size_t i = 0; i < p->count; i++)
        (void) fprintf(out, "  %-14s %s\n", p->cmds[i]->name, p->cmds[i]->summary);
    (void) fputs(p->outro, out);
}

/* The command that argv begins with; *used: one or two words. */
static const struct cm_cmd *find_cmd(const struct cm_program *p, int argc, char **argv, int *used)
{
    for (size_t i = 0; i < p->count; i++) {
        const char *name = p->cmds[i]->name;
        const size_t first = strcspn(name, " ");
        if (argc < 1 || strlen(argv[0]) != first || strncmp(argv[0], name, first) != 0)
            continue;
        *used = name[first] == '\0' ? 1 : 2;
        if (*used == 1 || (argc > 1 && strcmp(argv[1], name + first + 1) == 0))
            return p->cmds[i];
    }
    return NULL;
}

static cm_err unknown_cmd(const struct cm_program *p, int argc, char **argv, struct cm_error *err)
{
    const char *names[CM_PROGRAM_CMDS + 1] = { NULL };
    char typed[64], second[64] = "";

    for (size_t i = 0; i < p->count; i++)
        names[i] = p->cmds[i]->name;
    (void) snprintf(typed, sizeof typed, "%s", argv[0]);
    if (argc > 1 && argv[1][0] != '-')
        (void) snprintf(second, sizeof second, "%s %s", argv[0], argv[1]);

    /* "ca ini" and "profil list" are near only as two words; "mnt" as one. */
    const char *nearest = second[0] != '\0' ? cm_args_nearest(second, names) : NULL;
    if (nearest == NULL)
        nearest = cm_args_nearest(typed, names);
    for (size_t i = 0; nearest == NULL && i < p->count; i++)
        if (strncmp(names[i], typed, strlen(typed)) == 0)
            nearest = names[i];
    if (nearest != NULL)
        CM_FAIL(err, CM_E_USAGE, "no command \"%s\"; did you mean certmill %s?", second[0] ? second : typed,
                nearest);
    CM_FAIL(err, CM_E_USAGE, "no command \"%s\"; certmill --help lists them", typed);
}

static cm_err run_cmd(const struct cm_cmd *cmd, int argc, char **argv, struct cm_error *err)
{
    struct cm_strs operands = { 0 };
    struct cm_common common = { 0 };
    bool help = false;
    void *opts = calloc(1, cmd->opts_size > 0 ? cmd->opts_size : 1);
    cm_err rc = CM_OK;

    if (opts == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the options");
    rc = cm_args_parse(cmd, argc, argv, opts, &operands, &common, &help, err);
    if (rc == CM_OK && help)
        cm_args_help(cmd, stdout);
    else if (rc == CM_OK)
        rc = cmd->run(opts, &operands, &common, err);
    cm_args_done(cmd, opts, &operands);
    free(opts);
    return rc;
}

static cm_err run_help(const struct cm_program *p, int argc, char **argv, struct cm_error *err)
{
    const struct cm_cmd *cmd = NULL;
    int used = 0;

    if (argc == 0) {
        print_overview(p, stdout);
        return CM_OK;
    }
    cmd = find_cmd(p, argc, argv, &used);
    if (cmd == NULL)
        return unknown_cmd(p, argc, argv, err);
    if (cmd->elsewhere)
        return cm_elsewhere_run(true, argc, argv, err);
    cm_args_help(cmd, stdout);
    return CM_OK;
}

static cm_err dispatch(const struct cm_program *p, int argc, char **argv, struct cm_error *err)
{
    const struct cm_cmd *cmd = NULL;
    int used = 0;

    if (argc < 1) {
        print_overview(p, stderr);
        *err = (struct cm_error) { .code = CM_E_USAGE };
        return CM_E_USAGE;
    }
    if (strcmp(argv[0], "--version") == 0 || strcmp(argv[0], "version") == 0) {
        (void) printf("certmill %s (%s)\n", CM_VERSION, cm_sigalg_libcrypto());
        return CM_OK;
    }
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)
        return run_help(p, 0, NULL, err);
    if (strcmp(argv[0], "help") == 0)
        return run_help(p, argc - 1, argv + 1, err);
    if (argv[0][0] == '-')
        CM_FAIL(err, CM_E_USAGE, "\"%.60s\" stands before the command; write certmill COMMAND %.60s", argv[0],
                argv[0]);
    cmd = find_cmd(p, argc, argv, &used);
    if (cmd == NULL)
        return unknown_cmd(p, argc, argv, err);
    if (cmd->elsewhere)
        return cm_elsewhere_run(false, argc, argv, err);
    return run_cmd(cmd, argc - used, argv + used, err);
}

int cm_program_main(const struct cm_program *p, int argc, char **argv)
{
    struct cm_error err = { 0 }, out_err = { 0 };
    cm_err rc = CM_OK;

    CM_ASSERT(p->count <= CM_PROGRAM_CMDS);
    if (!reopen_standard_fds())
        return 3;
    /* A closed pipe and a file size limit are then ordinary failed writes. */
    (void) signal(SIGPIPE, SIG_IGN);
    (void) signal(SIGXFSZ, SIG_IGN);
    harden();

    rc = dispatch(p, argc - 1, argv + (argc > 0), &err);
    if (rc != CM_OK)
        cm_msg_error(&err);
    if (cm_msg_close_stdout(&out_err) != CM_OK) {
        cm_msg_error(&out_err);
        if (rc == CM_OK || rc == CM_E_FOUND)
            rc = CM_E_IO;
    }
    return cm_msg_exit_code(rc, &err);
}
