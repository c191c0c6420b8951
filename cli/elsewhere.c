#include "cli/elsewhere.h"

#include "cli/cmd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROGRAM "certmill-aws"

const struct cm_cmd cm_cmd_rehearse_elsewhere = {
    .name = "rehearse",
    .summary = "play AWS IoT on this machine, for a fleet's first connections or for your own steps",
    .elsewhere = true,
};

/* From where the running program is: in the build, and installed. */
static const char *const places[] = { PROGRAM, "../" CM_LIBEXECDIR "/certmill/" PROGRAM };

static cm_err find_self(char dir[PATH_MAX], struct cm_error *err)
{
    const ssize_t len = readlink("/proc/self/exe", dir, PATH_MAX - 1);

    if (len < 0)
        CM_FAIL(err, CM_E_IO, "can't find out where certmill lies (/proc/self/exe)");
    dir[len] = '\0';
    *strrchr(dir, '/') = '\0';
    return CM_OK;
}

cm_err cm_elsewhere_file(const char *name, char out[PATH_MAX], struct cm_error *err)
{
    char dir[PATH_MAX];

    CM_TRY(find_self(dir, err));
    if (snprintf(out, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX || access(out, R_OK) != 0)
        CM_FAIL(err, CM_E_IO, "%s does not lie beside this program, in %.300s: install it again", name, dir);
    return CM_OK;
}

cm_err cm_elsewhere_run(bool help, int argc, char **argv, struct cm_error *err)
{
    char dir[PATH_MAX], path[PATH_MAX + 64];
    char **const args = calloc((size_t) argc + 3, sizeof *args);
    static char name[] = PROGRAM, word[] = "help";
    size_t count = 0;

    if (args == NULL)
        CM_FAIL(err, CM_E_NOMEM, "out of memory for the arguments");
    args[count++] = name;
    if (help)
        args[count++] = word;
    for (int i = 0; i < argc; i++)
        args[count++] = argv[i];
    cm_err rc = find_self(dir, err);
    for (size_t i = 0; rc == CM_OK && i < CM_COUNT(places); i++) {
        (void) snprintf(path, sizeof path, "%s/%s", dir, places[i]);
        (void) execv(path, args);
        if (errno != ENOENT && errno != ENOTDIR)
            rc = cm_fail(err, CM_E_IO, CM_HERE, "can't run %.300s", path);
    }
    free(args);
    if (rc != CM_OK)
        return rc;
    CM_FAIL(err, CM_E_LIMIT,
            PROGRAM
            " is missing, which does this command: it is built where libmicrohttpd and libmosquitto are "
            "(scripts/deps aws installs them), and lies beside certmill or in %.100s/../" CM_LIBEXECDIR
            "/certmill",
            dir);
}
