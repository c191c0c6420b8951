#include "cli/cmd.h"
#include "cli/program.h"

/* certmill-aws: the commands that need libmicrohttpd and libmosquitto. certmill runs it
 * (elsewhere.h). TO ADD A SUBCOMMAND: a file cli/cmd_x.c, a line in cmd.h, a row here, and in elsewhere.c
 * what certmill --help says. */
static const struct cm_cmd *const cmds[] = { &cm_cmd_rehearse };

static const char intro[] =
    "Usage: certmill COMMAND [OPTIONS]\n\nCommands of certmill that this program does:\n";
static const char outro[] = "\ncertmill help COMMAND tells more.\n";

int main(int argc, char **argv)
{
    static const struct cm_program online = {
        .cmds = cmds, .count = CM_COUNT(cmds), .intro = intro, .outro = outro
    };

    return cm_program_main(&online, argc, argv);
}
