#include "cli/cmd.h"
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

/* TO ADD A SUBCOMMAND: a file cli/cmd_x.c, a line in cmd.h and a row here. */
static const struct cm_cmd *const cmds[] = {
    &cm_cmd_ca_init,      &cm_cmd_plan,          &cm_cmd_mint,   &cm_cmd_resume,  &cm_cmd_verify,
    &cm_cmd_show,         &cm_cmd_extract,       &cm_cmd_export, &cm_cmd_load,    &cm_cmd_claim,
    &cm_cmd_report,       &cm_cmd_import_status, &cm_cmd_repair, &cm_cmd_reissue, &cm_cmd_purge_keys,
    &cm_cmd_aws_kit,      &cm_cmd_aws_check,     &cm_cmd_bench,  &cm_cmd_doctor,  &cm_cmd_profile_list,
    &cm_cmd_profile_show,
};

static const char intro[] =
    "certmill mints device identities in bulk: for each device a key pair, a certificate\n"
    "signed by your CA, a bundle (leaf first, then the CA chain) and a manifest row.\n"
    "\n"
    "Usage: certmill COMMAND [OPTIONS]\n"
    "\n"
    "A first fleet, in three steps:\n"
    "  certmill ca init --out demo-ca\n"
    "  certmill mint --ca demo-ca/ca.pem --ca-key demo-ca/ca.key --out fleet --count 1000 --plaintext-keys\n"
    "  certmill verify fleet\n"
    "\n"
    "Commands:\n";

static const char outro[] =
    "\n"
    "certmill help COMMAND tells more; certmill --version names the libcrypto in use.\n"
    "Exit codes: 0 done; 1 done, but something was found; 2 the request or its inputs are wrong;\n"
    "3 the environment failed (disk, limits, database); 4 cryptography failed; 128+N stopped by signal N.\n";

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

static void print_overview(FILE *out)
{
    (void) fputs(intro, out);
    for (size_t i = 0; i < CM_COUNT(cmds); i++)
        (void) fprintf(out, "  %-14s %s\n", cmds[i]->name, cmds[i]->summary);
    (void) fputs(outro, out);
}

/* The command that argv begins with; *used: one or two words. */
static const struct cm_cmd *find_cmd(int argc, char **argv, int *used)
{
    for (size_t i = 0; i < CM_COUNT(cmds); i++) {
        const char *name = cmds[i]->name;
        const size_t first = strcspn(name, " ");
        if (argc < 1 || strlen(argv[0]) != first || strncmp(argv[0], name, first) != 0)
            continue;
        *used = name[first] == '\0' ? 1 : 2;
        if (*used == 1 || (argc > 1 && strcmp(argv[1], name + first + 1) == 0))
            return cmds[i];
    }
    return NULL;
}

static cm_err unknown_cmd(int argc, char **argv, struct cm_error *err)
{
    const char *names[CM_COUNT(cmds) + 1] = { NULL };
    char typed[64], second[64] = "";

    for (size_t i = 0; i < CM_COUNT(cmds); i++)
        names[i] = cmds[i]->name;
    (void) snprintf(typed, sizeof typed, "%s", argv[0]);
    if (argc > 1 && argv[1][0] != '-')
        (void) snprintf(second, sizeof second, "%s %s", argv[0], argv[1]);

    /* "ca ini" and "profil list" are near only as two words; "mnt" as one. */
    const char *nearest = second[0] != '\0' ? cm_args_nearest(second, names) : NULL;
    if (nearest == NULL)
        nearest = cm_args_nearest(typed, names);
    for (size_t i = 0; nearest == NULL && i < CM_COUNT(cmds); i++)
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

static cm_err run_help(int argc, char **argv, struct cm_error *err)
{
    const struct cm_cmd *cmd = NULL;
    int used = 0;

    if (argc == 0) {
        print_overview(stdout);
        return CM_OK;
    }
    cmd = find_cmd(argc, argv, &used);
    if (cmd == NULL)
        return unknown_cmd(argc, argv, err);
    cm_args_help(cmd, stdout);
    return CM_OK;
}

static cm_err dispatch(int argc, char **argv, struct cm_error *err)
{
    const struct cm_cmd *cmd = NULL;
    int used = 0;

    if (argc < 1) {
        print_overview(stderr);
        *err = (struct cm_error) { .code = CM_E_USAGE };
        return CM_E_USAGE;
    }
    if (strcmp(argv[0], "--version") == 0 || strcmp(argv[0], "version") == 0) {
        (void) printf("certmill %s (%s)\n", CM_VERSION, cm_sigalg_libcrypto());
        return CM_OK;
    }
    if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0)
        return run_help(0, NULL, err);
    if (strcmp(argv[0], "help") == 0)
        return run_help(argc - 1, argv + 1, err);
    if (argv[0][0] == '-')
        CM_FAIL(err, CM_E_USAGE, "\"%.60s\" stands before the command; write certmill COMMAND %.60s", argv[0],
                argv[0]);
    cmd = find_cmd(argc, argv, &used);
    if (cmd == NULL)
        return unknown_cmd(argc, argv, err);
    return run_cmd(cmd, argc - used, argv + used, err);
}

int main(int argc, char **argv)
{
    struct cm_error err = { 0 }, out_err = { 0 };
    cm_err rc = CM_OK;

    if (!reopen_standard_fds())
        return 3;
    /* A closed pipe and a file size limit are then ordinary failed writes. */
    (void) signal(SIGPIPE, SIG_IGN);
    (void) signal(SIGXFSZ, SIG_IGN);
    harden();

    rc = dispatch(argc - 1, argv + (argc > 0), &err);
    if (rc != CM_OK)
        cm_msg_error(&err);
    if (cm_msg_close_stdout(&out_err) != CM_OK) {
        cm_msg_error(&out_err);
        if (rc == CM_OK || rc == CM_E_FOUND)
            rc = CM_E_IO;
    }
    return cm_msg_exit_code(rc, &err);
}
