#include "tests/faults/plan.h"
#include "tests/faults/points.h"

#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* certmill-faulty: certmill with CERTMILL_FAULTS.
 *
 *   certmill-faulty ARGUMENTS…   as certmill
 *   certmill-faulty --points     prints the names of the kill points
 *   certmill-faulty --serve      runs what stdin asks for, each in a fork of this process: a
 *                                line PLAN TAB FILE TAB ARGUMENT TAB … ; its stdout and
 *                                stderr go to FILE. Answers with a line each: the exit code, or -SIGNAL.
 *                                That spares thousands of runs the start of libcrypto.
 */
int certmill_main(int argc, char **argv); /* cli/main.c */

enum { MAX_ARGS = 64 };

static int run_line(char *line)
{
    char *argv[MAX_ARGS + 1] = { NULL }, *rest = line;
    int argc = 0;
    const char *plan = strsep(&rest, "\t"), *file = strsep(&rest, "\t");

    argv[argc++] = (char[]) { "certmill" };
    while (rest != NULL && argc < MAX_ARGS)
        argv[argc++] = strsep(&rest, "\t");
    const int fd = file != NULL ? open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600) : -1;
    if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
        return 99;
    (void) close(fd);
    cm_plan_init(plan);
    return certmill_main(argc, argv);
}

static int serve(void)
{
    char *line = NULL;
    size_t room = 0;
    ssize_t len = 0;

    /* What every run would fetch first. */
    EVP_MD_free(EVP_MD_fetch(NULL, "SHA256", NULL));
    EVP_PKEY_free(EVP_EC_gen("P-256"));
    while ((len = getline(&line, &room, stdin)) > 0) {
        int status = 0;
        line[len - 1] = '\0';
        const pid_t child = fork();
        if (child == 0) {
            const int null = open("/dev/null", O_RDONLY);
            if (null < 0 || dup2(null, 0) < 0)
                _exit(99);
            (void) close(null);
            const int code = run_line(line);
            (void) fflush(NULL);
            _exit(code);
        }
        if (child < 0 || waitpid(child, &status, 0) != child)
            return 1;
        (void) printf("%d\n", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status));
        (void) fflush(stdout);
    }
    free(line);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--points") == 0) {
        for (size_t i = 0; cm_points[i] != NULL; i++)
            (void) puts(cm_points[i]);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--serve") == 0)
        return serve();
    cm_plan_init(getenv("CERTMILL_FAULTS"));
    return certmill_main(argc, argv);
}
